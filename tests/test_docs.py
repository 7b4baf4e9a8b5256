"""The pages against the code: the module map, the import law, and what is quoted from the code."""

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from problems import needs_jit

import sk_softmax
from sk_softmax._objective import make_objective
from sk_softmax._solvers import cost, table
from sk_softmax._threads import Workers

PACKAGE = Path(sk_softmax.__path__[0])
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = DOCS / "contributing.rst"

# From the bottom.  A module imports from its own layer (without cycles) and from those below.
LAYERS = (
    ("_version", "_typing", "_threads", "_kernels"),
    ("_design",),
    ("_curvature",),
    ("_objective",),
    ("_factor",),
    ("_preconditioner",),
    ("_solvers",),
    ("_validation", "_callbacks", "_prediction", "_base", "_classifiers"),
    ("_smallest_c",),
    ("_grid",),
    ("_path",),
    ("_cross_validation",),
    ("_classifiers_cv",),
    ("__init__",),
    ("__main__", "plotting"),
)
ABOVE_SOLVERS = LAYERS[LAYERS.index(("_solvers",)) + 1 :]
DYNAMIC = {"import_module", "__import__"}


def modules(package):
    """Names of a package's modules, relative to it, and their files."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py"))
    }


def imports(package):
    """All imports of a package: (importer, imported, inside a function), anywhere in the code.

    Modules of the package are named relative to it, others as they are.  A breach of what the
    walk can follow is an ``AssertionError``.
    """
    known = modules(package)
    found = []
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nested = {
            inner
            for outer in ast.walk(tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for inner in ast.walk(outer)
        }
        for node in ast.walk(tree):
            called = getattr(node, "func", None)
            called = getattr(called, "attr", getattr(called, "id", None))
            assert called not in DYNAMIC, f"{name}: {called}() hides an import from the law"
            for target in _targets(node, name, package.name, known):
                found.append((name, target, node in nested))
    return found


def _targets(node, importer, package, known):
    """What one statement imports."""
    if isinstance(node, ast.Import):
        return [_relative(alias.name, package, known) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        here = importer.split(".")
        parts = [package, *here[: len(here) - node.level]]
        assert len(here) >= node.level, f"{importer} imports from outside the package"
        base = ".".join(parts + ([node.module] if node.module else []))
    else:
        base = node.module
    inside = [f"{base}.{alias.name}" for alias in node.names]
    return [
        _relative(name if _relative(name, package, known) in known else base, package, known)
        for name in inside
    ]


def _relative(name, package, known):
    """A dotted name as the package's modules are named here; foreign names unchanged."""
    if name != package and not name.startswith(package + "."):
        return name
    short = name[len(package) + 1 :]
    as_package = f"{short}.__init__" if short else "__init__"
    return as_package if as_package in known else short


def layer(module):
    top = module.split(".")[0]
    for number, names in enumerate(LAYERS):
        if top in names:
            return number
    raise AssertionError(f"{module} has no layer: say where it belongs, in LAYERS and {PAGE.name}")


def breaches(package):
    """What in a package breaks the import law, one line a breach."""
    known = modules(package)
    found = []
    edges = {name: set() for name in known}
    for importer, imported, in_function in imports(package):
        line = f"{importer} imports {imported}"
        if imported in known:
            edges[importer].add(imported)
            if layer(imported) > layer(importer):
                found.append(f"{line}: upward")
            own = ".".join([*importer.split(".")[:-1], "__init__"])
            if imported == own:
                found.append(f"{line}: its own package")
            continue
        top = imported.split(".")[0]
        if top == "sklearn" and LAYERS[layer(importer)] not in ABOVE_SOLVERS:
            found.append(f"{line}: below the classifiers")
        if top == "matplotlib" and not in_function:
            found.append(f"{line}: outside a function")
        in_kernels = importer.startswith("_kernels.")
        if top == "numba" and not in_kernels and not (importer == "_threads" and in_function):
            found.append(f"{line}: outside the kernels")
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        found.append("cycle: " + " <- ".join(error.args[1]))
    return found


def test_import_law():
    assert breaches(PACKAGE) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"_objective": "from ._solvers.newton import f", "_solvers/newton": ""}, "upward"),
        ({"_design": "def f():\n    from ._base import g", "_base": ""}, "upward"),
        ({"_design": "from pack._base import g", "_base": ""}, "upward"),
        ({"_design": "from . import _base", "_base": ""}, "upward"),
        ({"__init__": "", "__main__": "from pack import name"}, "its own package"),
        ({"__init__": "", "__main__": "from . import name"}, "its own package"),
        ({"__init__": "", "__main__": "import pack"}, "its own package"),
        ({"_kernels/__init__": "", "_kernels/csr": "from . import name"}, "its own package"),
        ({"_solvers/a": "from .b import f", "_solvers/b": "from . import a"}, "cycle"),
        ({"_solvers/newton": "from sklearn.utils import f"}, "below the classifiers"),
        ({"_base": "import matplotlib.pyplot as plt"}, "outside a function"),
        ({"_base": "def f():\n    import numba"}, "outside the kernels"),
        ({"_threads": "from numba import f"}, "outside the kernels"),
    ],
)
def test_import_law_sees_a_breach(tmp_path, files, expected):
    package = write_package(tmp_path, files)
    (breach,) = breaches(package)
    assert expected in breach


def test_import_law_lets_the_lawful_pass(tmp_path):
    files = {
        "__init__": "from ._base import f",
        "__main__": "from ._base import f\ndef g():\n    import matplotlib",
        "_base": "from sklearn.base import f\nfrom ._solvers import f",
        "_solvers/__init__": "from .newton import f",
        "_solvers/newton": "from .._objective import f\nfrom . import lbfgs",
        "_solvers/lbfgs": "",
        "_objective": "import numpy.linalg",
        "_kernels/jit": "import numba",
        "_threads": "def f():\n    import numba",
    }
    assert breaches(write_package(tmp_path, files)) == []


def test_import_law_refuses_what_it_cannot_follow(tmp_path):
    package = write_package(tmp_path, {"_base": "importlib.import_module(name)"})
    with pytest.raises(AssertionError, match="hides an import"):
        breaches(package)
    package = write_package(tmp_path, {"_base": "", "_news": "import numpy\nimport sklearn"})
    with pytest.raises(AssertionError, match="has no layer"):
        breaches(package)


def write_package(folder, files):
    package = folder / "pack"
    for name, text in files.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def listed(ending):
    """First column of the module map: names that end as asked."""
    if not PAGE.exists():
        pytest.skip("the documentation is not beside the tests")
    _, _, section = PAGE.read_text(encoding="utf-8").partition(".. _module-map:")
    section, _, _ = section.partition(".. _import-law:")
    return [
        name for name in re.findall(r"^   \* - ``(.+)``$", section, re.M) if name[-1:] == ending
    ]


def test_module_map_lists_every_module_once():
    tree = [path.relative_to(PACKAGE).as_posix() for path in modules(PACKAGE).values()]
    assert sorted(listed("y")) == sorted(tree)


def test_module_map_lists_every_folder():
    folders = listed("/")
    assert len(folders) == len(set(folders))
    of_package = {path.parent.relative_to(PACKAGE.parent) for path in modules(PACKAGE).values()}
    named = {Path(folder) for folder in folders}
    assert {folder for folder in named if folder.parts[0] == PACKAGE.name} == of_package
    # what begins with a dot is not part of a source distribution
    missing = [folder for folder in folders if folder[0] != "." and not (ROOT / folder).is_dir()]
    assert missing == []


def test_import_law_on_the_page_names_every_layer():
    if not PAGE.exists():
        pytest.skip("the documentation is not beside the tests")
    _, _, section = PAGE.read_text(encoding="utf-8").partition(".. _import-law:")
    steps = re.findall(r"^#\. .*$", section, re.M)
    written = {name for step in steps for name in re.findall(r"``(\w+)/?``", step)}
    assert written == {name for names in LAYERS for name in names if name != "plotting"}


@pytest.fixture
def quotations():
    """docs/quotations.py: what the pages quote from the code."""
    if not (DOCS / "quotations.py").exists():
        pytest.skip("the documentation is not beside the tests")
    spec = spec_from_file_location("quotations", DOCS / "quotations.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quoted(pattern):
    """What the pages of the user guide quote from the code in some way."""
    pages = [page.read_text(encoding="utf-8") for page in DOCS.glob("user_guide/*.rst")]
    return set(re.findall(pattern, "\n".join(pages), re.M))


def test_pages_quote_what_there_is(quotations):
    names = quoted(r"(?<!\w)\|(\w+\.[A-Z_]+(?:\[\d\])?)\|")
    assert names
    assert names <= set(quotations.constants())
    tables = quoted(r"^\.\. from-code:: (\w+)$")
    assert tables == {"solver_table", "cost_table", "choice_table", "kernel_results"}
    assert tables <= set(vars(quotations))


def test_quotations_follow_the_code(monkeypatch, quotations):
    monkeypatch.setattr(cost, "CALLS", 1.25e7)
    assert ".. |cost.CALLS| replace:: 12,500,000" in quotations.substitutions().splitlines()
    assert "12,500,000" in quotations.cost_table()
    other = replace(table.SOLVERS[0], name="other", best_for="nothing yet")
    monkeypatch.setattr(quotations, "SOLVERS", (*table.SOLVERS, other))
    assert "nothing yet" in quotations.solver_table()


@pytest.mark.parametrize(
    ("value", "text"),
    [(20_000, "20,000"), (4.0, "4"), (5e6, "5,000,000"), (0.05, "0.05"), (1e-10, "1e-10"),
     ((16, 4), "16, 4"), ("word", ""), (0, "0")],
)  # fmt: skip
def test_numbers_as_pages_show_them(quotations, value, text):
    assert quotations.as_text(value) == text


STAGES = {"in one call": "newton in cache", "L-BFGS": "lbfgs", "exact Newton": "newton"}


@needs_jit
@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("size", [(150, 4, 3), (900, 60, 5), (70_000, 8, 2)])
def test_plans_on_the_page_are_what_fits_do(quotations, size, coupled):
    plan = quotations.plan(quotations.of_size(*size, coupled))
    (stage,) = (stage for words, stage in STAGES.items() if words.lower() in plan.lower())
    n, p, K = size
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    y = (X @ rng.normal(size=(p, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)
    objective = make_objective(
        X, y, np.ones(n), n_classes=K, coupled=coupled, balanced=False, C=1.0, l1_ratio=0.0,
        fit_intercept=True, workers=Workers(1),
    )  # fmt: skip
    assert quotations.plan(objective) == plan
    assert table.solve(objective).trace[0]["stage"] == stage


def test_solvers_page_shows_the_solvers_and_the_costs(tmp_path, quotations):
    """As Sphinx builds it, and not as it is written."""
    pytest.importorskip("sphinx")
    page = (DOCS / "user_guide" / "solvers.rst").read_text(encoding="utf-8")
    (tmp_path / "index.rst").write_text(page, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphinx", "-Q", "-b", "xml", "-c", DOCS, tmp_path, out]
    subprocess.run(command, check=True)
    rows = {
        tuple("".join(entry.itertext()).strip() for entry in row.iter("entry"))
        for row in ElementTree.parse(out / "index.xml").iter("row")
    }
    for entry in table.SOLVERS:
        penalties = {(True, False): "L2, none", (False, True): "L1, elastic net"}
        shown = (f'"{entry.name}"', penalties[entry.smooth, entry.nonsmooth], entry.best_for)
        assert shown in {row[:3] for row in rows}
    pairs = [[cell.split(", ") for cell in row[:2]] for row in rows if row[0].isupper()]
    shown = {
        name: value for names, values in pairs for name, value in zip(names, values, strict=True)
    }
    for name in re.findall(r"^([A-Z_]+)\b.* = ", inspect.getsource(cost), re.M):
        assert shown[name] == quotations.as_text(getattr(cost, name))


def test_the_readme_s_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    exec("\n".join(blocks), {})
    assert "coefficients are used" in capsys.readouterr().out

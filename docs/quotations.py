"""What these pages quote from the code: the table of solvers, constants, choices.

Nothing of it is typed by hand.  ``conf.py`` hands it to Sphinx; ``tests/test_docs.py`` compares the
pages with the code.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sk_softmax._objective import Objective
from sk_softmax._preconditioner.make import can_factor
from sk_softmax._solvers import cost
from sk_softmax._solvers.in_cache import fits_in_cache
from sk_softmax._solvers.row_space import wide
from sk_softmax._solvers.table import SOLVERS, choose

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
MODULES = (
    "_curvature.hessians",
    "_curvature.outputs",
    "_curvature.supports",
    "_design.chunks",
    "_design.csr",
    "_design.dense",
    "_design.single",
    "_factor",
    "_kernels.l1_model",
    "_kernels.l1_newton",
    "_kernels.prefetch",
    "_kernels.tiles",
    "_kernels.transpose",
    "_kernels.turn",
    "_prediction",
    "_preconditioner.make",
    "_preconditioner.rows",
    "_solvers.bounded",
    "_solvers.by_feature",
    "_solvers.conjugate_gradient",
    "_solvers.continuation",
    "_solvers.cost",
    "_solvers.in_cache",
    "_solvers.l1_in_cache",
    "_solvers.lbfgs",
    "_solvers.newton",
    "_solvers.orthants",
    "_solvers.prox_newton",
    "_solvers.row_space",
    "_solvers.samples",
    "_solvers.separation",
    "_solvers.run",
    "_solvers.support",
    "_solvers.support_cg",
    "_solvers.support_step",
    "_solvers.table",
    "_solvers.whitened_rows",
    "_solvers.working_set",
)
SIZES = (  # rows, features, classes
    (150, 4, 3),
    (1797, 64, 10),
    (58_000, 9, 7),
    (20_000, 16, 26),
    (20_000, 20, 300),
    (1_000_000, 20, 5),
    (70_000, 784, 10),
    (83, 2308, 4),
    (10_000, 30_000, 5),
)
ASSIGNED = re.compile(r"^([A-Z][A-Z_]*(?:, [A-Z_]+)*) = [^#\n]*(?:# (.*))?$", re.M)


def constants():
    """The constants' values as text, by module and name: ``cost.CALLS``."""
    found = {}
    for path in MODULES:
        module = import_module(f"sk_softmax.{path}")
        short = path.rpartition(".")[2].lstrip("_")
        for name in re.findall(r"[A-Z][A-Z_]*", " ".join(dict(assigned(module)))):
            value = getattr(module, name)
            if text := as_text(value):
                found[f"{short}.{name}"] = text
            for number, part in enumerate(value if isinstance(value, tuple) else ()):
                found[f"{short}.{name}[{number}]"] = as_text(part)
    return found


def assigned(module):
    """Where a module's source assigns to constants: their names, and the remark on the line."""
    return ASSIGNED.findall(inspect.getsource(module))


def as_text(value):
    """A number, or several, as a page shows them; of anything else nothing."""
    if isinstance(value, tuple):
        return ", ".join(filter(None, map(as_text, value)))
    if not isinstance(value, int | float):
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return re.sub(r"e([+-])0", r"e\1", f"{value:.3g}")


def substitutions():
    """Definitions by which a page shows a constant: ``|cost.CALLS|``."""
    lines = [f".. |{name}| replace:: {text}" for name, text in constants().items() if text]
    return "\n".join(lines)


def solver_table():
    """The solvers that ``solve`` chooses from; each is explained in a section ``solver-NAME``."""
    rows = [("``solver``", "Penalty", "Best for", "Method")]
    for entry in SOLVERS:
        penalties = ["L2, none"] * entry.smooth + ["L1, elastic net"] * entry.nonsmooth
        method = f":ref:`solver-{entry.minimise.__name__}`"
        rows.append((f'``"{entry.name}"``', ", ".join(penalties), entry.best_for, method))
    return list_table(rows, (15, 25, 30, 30))


def cost_table():
    """The cost model's constants, with what the code says of each."""
    rows = [("Name", "Value", "What it counts")]
    values = constants()
    for names, remark in assigned(cost):
        shown = [values[f"cost.{name}"] for name in names.split(", ")]
        in_words = names.lower().replace("_", " ")
        rows.append((f"``{names}``", ", ".join(shown), remark or in_words))
    return list_table(rows, (30, 15, 55))


def choice_table():
    """What the default fit does for problems of some sizes: dense X, L2, an intercept."""
    rows = [("Rows", "Features", "Classes", "Softmax", "One-vs-all")]
    for size in SIZES:
        plans = [plan(of_size(*size, coupled)) for coupled in (True, False)]
        rows.append((*(f"{number:,}" for number in size), *plans))
    return list_table(rows, (12, 11, 10, 33, 34))


def kernel_results():
    """The committed report of the benchmarks of the kernels, and its figure."""
    report, figure = RESULTS / "kernels.md", RESULTS / "roofline.svg"
    if not report.exists():
        return "No results of theirs are beside these pages.\n"
    text = from_markdown(report.read_text(encoding="utf-8"))
    if figure.exists():
        text += f"""
.. figure:: ../../{figure.relative_to(RESULTS.parents[1]).as_posix()}
   :alt: Two log-log plots, float64 and float32: operations a second of sweeps against operations
         a byte. A roof of two lines, and below it two points a shape, ours and scikit-learn's.
   :width: 100%

   The roofline. A point is a sweep of softmax; the roof is what memory (where it rises) and
   arithmetic (where it is level) allow.
"""
    return text


def from_markdown(text):
    """A report of the benchmarks as reStructuredText, without its title."""
    parts = []
    for block in re.split(r"\n{2,}", text.strip()):
        if block.startswith("## "):
            parts.append(f".. rubric:: {block[3:]}\n")
        elif block.startswith("|"):
            head, _, *lines = [
                [cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")
            ]
            widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
            parts.append(list_table([head, *lines], widths))
        elif not block.startswith("# "):
            parts.append(block.replace("`", "``") + "\n")
    return "\n".join(parts)


def of_size(n, p, K, coupled):
    """An objective that has a size and no data."""
    outputs = 1 if K == 2 else K
    coupled = coupled and K > 2
    lambda2 = np.full(1 if coupled else outputs, 1 / n)
    return Objective(
        design=SimpleNamespace(n=n, p=p),
        target=SimpleNamespace(softmax=coupled, columns=np.arange(outputs)),
        lambda1=0 * lambda2,
        lambda2=lambda2,
        fit_intercept=True,
        class_sums=None,
        means=None,
        center=None,
        workers=None,
    )


def plan(objective):
    """What ``solver="auto"`` does with an objective of this size."""
    if wide(objective):
        n = objective.design.n
        inside = of_size(n, n, max(objective.K, 2), objective.coupled)
        return f"In the row space: {plan(inside)}"
    if fits_in_cache(objective):
        return "Newton in one call"
    if not can_factor(objective):
        if cost.by_class(objective):
            return "L-BFGS, class by class"
        return "Conjugate gradients or L-BFGS, without factors"
    start = "parts of the rows, then " if cost.sampled(objective) else ""
    if choose("auto", objective).name == "newton" or cost.exact(objective):
        return sentence(start + "exact Newton steps")
    how = "class by class" if cost.by_class(objective) else "whole Hessians"
    return sentence(f"{start}L-BFGS, {how}")


def sentence(text):
    return text[0].upper() + text[1:]


def list_table(rows, widths):
    """A reStructuredText table; the first row is its head."""
    shares = " ".join(map(str, widths))
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {shares}", ""]
    for row in rows:
        for cell, mark in zip(row, ["   * -", *["     -"] * (len(row) - 1)], strict=True):
            lines.append(f"{mark} {cell}".rstrip())
    return "\n".join(lines) + "\n"

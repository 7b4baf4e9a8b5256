"""The problems, as data: where the rows come from, what is done to them, C and l1_ratio."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.synthetic import draw

__all__ = ["PROBLEMS", "Case", "Problem", "load_case", "select", "synthetic"]


@dataclass(frozen=True)
class Problem:
    """One problem by name; it is pickled on its way to a worker, so no lambdas or closures.

    Attributes
    ----------
    name : str
    source : callable
        ``source(data_dir)`` returns X and y as stored.
    transform : callable
        What is done to X before any library sees it; not part of the time.
    C, l1_ratio : float
    fit_intercept : bool
    formulations : tuple of {"softmax", "ova"}
    groups : tuple of str
        The groups it is in, by which ``--problems`` may call it.
    files : tuple of str
        The files it needs in the data folder; none for what scikit-learn bundles.
    """

    name: str
    source: Callable
    transform: Callable
    C: float = 1.0
    l1_ratio: float = 0.0
    formulations: tuple[str, ...] = ("softmax", "ova")
    groups: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    fit_intercept: bool = True

    def missing(self, data_dir):
        """Say why this problem cannot be loaded; empty if it can."""
        if not self.files:
            return ""
        if data_dir is None:
            return f"needs {' and '.join(self.files)}: pass --data-dir"
        absent = [name for name in self.files if not (Path(data_dir) / name).exists()]
        return f"{' and '.join(absent)} not found in {data_dir}" if absent else ""


@dataclass(frozen=True)
class Case:
    """A loaded problem in one formulation, with what an adapter needs to choose its solvers."""

    X: np.ndarray | sparse.csr_matrix
    y: np.ndarray
    formulation: str
    C: float
    l1_ratio: float
    n_classes: int
    fit_intercept: bool = True

    @property
    def is_binary(self):
        """Whether both formulations are one binary problem."""
        return self.n_classes == 2

    @property
    def n_rows(self):
        """Rows of coefficients that are coupled with each other: K for softmax, else 1."""
        return self.n_classes if self.formulation == "softmax" and not self.is_binary else 1


def load_case(problem, formulation, data_dir=None):
    """Load a problem, everything in float64 so that each library solves the same one."""
    X, y = problem.source(data_dir)
    X = problem.transform(X)
    if sparse.issparse(X):
        X = sparse.csr_matrix(X, dtype=np.float64)
    else:
        X = np.ascontiguousarray(X, dtype=np.float64)
    n_classes = len(np.unique(y))
    return Case(X, y, formulation, problem.C, problem.l1_ratio, n_classes, problem.fit_intercept)


def select(names):
    """Return the problems of the given names or groups ("all" is every one), in table order."""
    known = {group for problem in PROBLEMS for group in (problem.name, *problem.groups)}
    unknown = sorted(set(names) - known - {"all"})
    if unknown:
        raise ValueError(f"Unknown problems {unknown}; choose from {sorted(known | {'all'})}.")
    wanted = set(names)
    return [problem for problem in PROBLEMS if wanted & {"all", problem.name, *problem.groups}]


def synthetic(name, n, p, K):
    """Return a problem that is not in the table: n rows, p features and K classes, drawn."""
    return Problem(name, partial(_synthetic, n, p, K), _raw)


def _bundled(name, data_dir):
    """A data set that scikit-learn carries."""
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(return_X_y=True)


def _table(name, data_dir):
    """A dense table NAME.npz with X and y."""
    with np.load(Path(data_dir) / f"{name}.npz") as stored:
        return stored["X"], stored["y"]


def _one_hot_table(name, data_dir):
    """A table NAME.npz whose categorical columns, stored as codes, become sparse one-hot."""
    with np.load(Path(data_dir) / f"{name}.npz") as stored:
        X, y = stored["X"].astype(np.float64), stored["y"]
        categorical, levels = stored["categorical"], stored["levels"]
    rows = np.arange(len(X))
    blocks = [sparse.csr_matrix(X[:, ~categorical])]
    for j, level in zip(np.flatnonzero(categorical), levels, strict=True):
        shape = (len(X), len(str(level).split("=", 1)[1].split("|")))
        entries = (np.ones(len(X)), (rows, X[:, j].astype(np.int64)))
        blocks.append(sparse.csr_matrix(entries, shape=shape))
    return sparse.hstack(blocks, format="csr"), y


def _sparse(name, data_dir):
    """Sparse counts NAME_X.npz with labels NAME_y.npy."""
    folder = Path(data_dir)
    return sparse.load_npz(folder / f"{name}_X.npz"), np.load(folder / f"{name}_y.npy")


def _synthetic(n, p, K, data_dir):
    """Rows of `benchmarks.synthetic`."""
    return draw(n, p, K)


def _raw(X):
    return X


def _standardised(X):
    centred = X - X.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)


def _divided_by(constant, X):
    return X.astype(np.float64) / constant


def _tfidf(X):
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True).fit_transform(X.astype(np.float64))


# "quick" is what --quick runs, "floors" the default: where we must never be slower.
_QUICK, _FLOOR, _DENSE, _L1, _LARGE_L1, _TEXT = (
    ("quick", "floors"),
    ("floors",),
    ("dense",),
    ("l1",),
    ("l1_large",),
    ("text",),
)
_NEWS, _LANGID = ("news20_X.npz", "news20_y.npy"), ("langid_X.npz", "langid_y.npy")
_MNIST, _LETTER, _KHAN = ("mnist.npz",), ("letter.npz",), ("khan.npz",)
# Source and transform of what is in the table more than once.
_WINE_STD = partial(_bundled, "wine"), _standardised
_CANCER_STD = partial(_bundled, "breast_cancer"), _standardised
_DIGITS16 = partial(_bundled, "digits"), partial(_divided_by, 16)
_LETTER_STD = partial(_table, "letter"), _standardised
_KHAN_STD = partial(_table, "khan"), _standardised
_MNIST255 = partial(_table, "mnist"), partial(_divided_by, 255)
_NEWS_TFIDF, _LANGID_TFIDF = (
    (partial(_sparse, "news20"), _tfidf),
    (partial(_sparse, "langid"), _tfidf),
)
_BY_CLASS, _ONCE = ("ova",), ("softmax",)

PROBLEMS = (
    Problem("iris", partial(_bundled, "iris"), _raw, groups=_QUICK),
    Problem("wine", partial(_bundled, "wine"), _raw, groups=_QUICK),
    Problem("breast_cancer", partial(_bundled, "breast_cancer"), _raw, groups=_QUICK),
    Problem("digits", partial(_bundled, "digits"), _raw, groups=_QUICK),
    Problem("letter", partial(_table, "letter"), _raw, groups=_FLOOR, files=_LETTER),
    Problem("khan", partial(_table, "khan"), _raw, groups=_FLOOR, files=_KHAN),
    Problem("digits16_l1", *_DIGITS16, 1.0, 1.0, groups=_FLOOR + _L1),
    Problem("spambase", partial(_table, "spambase"), _raw, groups=_DENSE, files=("spambase.npz",)),
    Problem("adult", partial(_one_hot_table, "adult"), _raw, groups=_DENSE, files=("adult.npz",)),
    Problem("shuttle", partial(_table, "shuttle"), _raw, groups=_DENSE, files=("shuttle.npz",)),
    Problem("digits16", *_DIGITS16, groups=_DENSE),
    Problem("mnist", *_MNIST255, groups=_DENSE, files=_MNIST),
    Problem("wine_std_l1", *_WINE_STD, 1.0, 1.0, groups=_L1),
    Problem("breast_cancer_std_l1", *_CANCER_STD, 1.0, 1.0, _ONCE, groups=_L1),
    Problem("digits16_enet", *_DIGITS16, 0.1, 0.5, groups=_L1),
    Problem("letter_std_l1", *_LETTER_STD, 0.1, 1.0, groups=_L1, files=_LETTER),
    Problem("khan_std_l1", *_KHAN_STD, 0.2, 1.0, groups=_L1, files=_KHAN),
    Problem("khan_std_enet", *_KHAN_STD, 0.1, 0.5, groups=_L1, files=_KHAN),
    Problem("mnist_l1", *_MNIST255, 0.1, 1.0, _ONCE, groups=_LARGE_L1, files=_MNIST),
    Problem("news20_l1", *_NEWS_TFIDF, 1.0, 1.0, groups=_LARGE_L1, files=_NEWS),
    Problem("langid_l1", *_LANGID_TFIDF, 1.0, 1.0, _ONCE, groups=_LARGE_L1, files=_LANGID),
    # "origin": without intercepts, which liblinear would penalise: hyperplanes pass through it
    *(
        Problem(f"{name}_origin", *of, C, 1.0, how, groups, files, fit_intercept=False)
        for name, of, C, how, groups, files in (
            ("breast_cancer_std_l1", _CANCER_STD, 1.0, _ONCE, _L1, ()),
            ("digits16_l1", _DIGITS16, 1.0, _BY_CLASS, _L1, ()),
            ("letter_std_l1", _LETTER_STD, 0.1, _BY_CLASS, _L1, _LETTER),
            ("news20_l1", _NEWS_TFIDF, 1.0, _BY_CLASS, _LARGE_L1, _NEWS),
        )
    ),
    Problem("news20", *_NEWS_TFIDF, groups=_TEXT, files=_NEWS),
    Problem("news20_c100", *_NEWS_TFIDF, 100.0, groups=_TEXT, files=_NEWS),
    Problem("langid", *_LANGID_TFIDF, groups=_TEXT, files=_LANGID),
)

"""Cross-validation's fits: the path of every fold's training rows, and for every l1_ratio.

Folds share X.  Where it is small a fold copies its rows: they fit in the memory that a fit takes
anyway, and a sweep over them is shorter.  A large X is not copied: there the rows that a fold
leaves out have weight 0, which costs the time to read them.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from traceback import format_exc
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .._base import LinearClassifier
from .._grid import solve_grid
from .._threads import Workers, one_blas_thread, thread_count
from .._typing import Array
from .._validation import TrainingData, weighted
from .tasks import FoldTasks, GridTasks

if TYPE_CHECKING:
    from .._design.make import Design
    from .._objective import Objective

COPIED = 2**26  # bytes of X up to which a fold has a copy of its rows
WORTH = 2**19  # multiplications in a sweep from which paths side by side pay


@dataclass(frozen=True)
class Rows:
    """What all folds share.

    Attributes
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    y : ndarray of shape (n,)
        Labels.
    s : ndarray of shape (n,)
        Sample weights, not negative.
    design : Design or None
        Of X, where folds do not copy their rows.
    """

    X: Any
    y: Array
    s: Array
    design: "Design | None"

    @classmethod
    def of(cls, X: Any, y: Array, s: Array, finite: bool) -> "Rows":
        """``finite``: whether every C is.

        Without a penalty it matters which rows there are: their classes may be separated.
        """
        from .._design.csr import CSRDesign
        from .._design.make import make_design

        parts = (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)
        if sum(part.nbytes for part in parts) <= COPIED or not finite:
            return cls(X, y, s, None)
        design = make_design(X)
        if isinstance(design, CSRDesign):
            _ = design.blocks  # X transposed, once and not by several folds at a time
        return cls(X, y, s, design)

    def training_data(self, model: LinearClassifier, train: Array) -> TrainingData:
        """What ``model`` would make of the rows ``train``; all rows, where none are copied.

        Raises
        ------
        ValueError
            As `fit` would.
        """
        y, s = self.y[train], self.s[train]
        weights = model.class_weight, model._balances_rows
        if self.design is None:
            return weighted(self.X[train], y, s, *weights)
        some = weighted(train, y, s, *weights)  # the rows' numbers for X
        codes = np.zeros(self.y.size, dtype=np.int64)
        codes[some.X] = some.y
        return TrainingData(self.X, codes, np.bincount(some.X, some.s, self.y.size), some.classes)


@dataclass(frozen=True)
class FoldPath:
    """What a fold's training rows give for one l1_ratio.

    Attributes
    ----------
    classes : ndarray
        Of the training rows.
    models : list of dict
        The fitted attributes of a classifier, in the order of the grid.
    error : str
        Why there are none; empty where there are.
    """

    classes: Array
    models: list[dict[str, Any]] = field(repr=False)
    error: str = ""


class Fold:
    """A fold's training rows, made when its first path begins and dropped after its last.

    Parameters
    ----------
    rows : Rows
    number : int
    train, test : ndarray of int
    n_paths : int
    """

    def __init__(self, rows: Rows, number: int, train: Array, test: Array, n_paths: int) -> None:
        self.rows, self.number, self.train, self.test = rows, number, train, test
        self._lock, self._left = Lock(), n_paths
        self._data: TrainingData | None = None
        self._objective: Objective | None = None
        self._tasks: FoldTasks | None = None
        self._error = ""

    def path(self, search: "Search", number: int, workers: Workers) -> FoldPath:
        """The path of the ``number``-th l1_ratio."""
        model = search.models[number]
        with self._lock:
            if self._data is None and not self._error:
                self._begin(search, model, workers)
        if self._data is None or self._objective is None or self._tasks is None:
            return FoldPath(np.empty(0), [], self._error)
        try:
            return self._fit(search, number, self._data, self._objective, self._tasks, workers)
        finally:
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._tasks.close()
                    self._data = self._objective = None

    def _begin(self, search: "Search", model: LinearClassifier, workers: Workers) -> None:
        try:
            self._data = self.rows.training_data(model, self.train)
        except ValueError:  # too few classes, or weights that do not suit them
            self._error = format_exc()
            return
        self._objective = model._objective(self._data, workers, self.rows.design)
        self._tasks = search.tasks.fold(self.number, self.train, self._data.classes)

    def _fit(
        self,
        search: "Search",
        number: int,
        data: TrainingData,
        objective: "Objective",
        tasks: FoldTasks,
        workers: Workers,
    ) -> FoldPath:
        model, order = search.models[number], np.argsort(search.Cs, kind="stable")
        models: list[dict[str, Any]] = [{}] * order.size
        S = float(data.s.sum())
        path = solve_grid(model, replace(objective, workers=workers), S, search.Cs[order])
        for at in order.tolist():
            C = search.Cs[at]
            name = f"C={C:.4g}, l1_ratio={model.l1_ratio:.4g}"
            task = tasks.point(number * search.Cs.size + at, name)
            models[at] = attributes = model._attributes(data, next(path))
            choice = {"C_": float(C), "l1_ratio_": float(model.l1_ratio)}
            task.close(partial(dict, attributes, **choice))
            if model.verbose:
                optimality = np.max(attributes["optimality_"])
                print(f"[sk_softmax] fold {self.number + 1}  {name}  optimality {optimality:.3g}")
        return FoldPath(data.classes, models)


@dataclass(frozen=True)
class Search:
    """The grid, and who is told of it.

    Attributes
    ----------
    models : list of LinearClassifier
        Not fitted, one an l1_ratio.
    Cs : ndarray of shape (n_Cs,)
    tasks : GridTasks
    """

    models: list[LinearClassifier]
    Cs: Array
    tasks: GridTasks

    @classmethod
    def of(cls, model: LinearClassifier, l1_ratios: Array, Cs: Array, tasks: GridTasks) -> "Search":
        models = [copy(model).set_params(l1_ratio=float(value)) for value in l1_ratios]
        return cls(models, Cs, tasks)


def fit_folds(
    search: Search, rows: Rows, folds: list[tuple[Array, Array]], n_jobs: int | None
) -> list[list[FoldPath]]:
    """Every fold's path for every l1_ratio, side by side where a sweep is worth a thread.

    Parameters
    ----------
    search : Search
    rows : Rows
    folds : list of (ndarray of int, ndarray of int)
        Training and test rows.
    n_jobs : int or None

    Returns
    -------
    paths : list of list of FoldPath
        By fold, then by l1_ratio; they do not depend on ``n_jobs``.
    """
    n_paths = len(search.models)
    made = [Fold(rows, number, *fold, n_paths) for number, fold in enumerate(folds)]
    parts = [(fold, number) for fold in made for number in range(n_paths)]
    n_threads = thread_count(n_jobs)
    n, p = rows.X.shape
    entries = rows.X.nnz if sparse.issparse(rows.X) else n * p
    worth = entries * np.unique(rows.y).size >= WORTH
    outer = min(n_threads, len(parts)) if worth else 1
    inner = n_threads // outer

    def fit(part: tuple[Fold, int]) -> FoldPath:
        with Workers(inner) as workers:
            return part[0].path(search, part[1], workers)

    with Workers(outer) as workers, one_blas_thread():
        paths = workers.map(fit, parts, worth)
    return [paths[at : at + n_paths] for at in range(0, len(paths), n_paths)]

"""Callbacks of scikit-learn for a cross-validated fit.

The tasks are nested: the fit; below it each fold, and below that each point of the grid; and after
the folds the refit, with its iterations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any

from .._callbacks import FitTasks, TrainingRows, has_callbacks
from .._typing import Array

if TYPE_CHECKING:
    from .._solvers.solution import Solution


class GridTasks:
    """The tasks of a fit over a grid, which has begun; nothing where nobody has set a callback.

    Folds and points may begin and end in any order and thread; hooks are called one at a time.
    A callback that asks for a stop at the end of a fold or a point is not heard, as in
    `sklearn.model_selection.GridSearchCV`: the scores of a grid are compared, so none is left out.

    Parameters
    ----------
    estimator : object
        Supports callbacks.
    X, y, sample_weight
        As passed to ``fit``.
    classes : ndarray of shape (n_classes,)
    n_folds, n_points : int
        Points of the grid are those of each fold.
    refit : bool
        Whether a refit follows.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: Array,
        *,
        n_folds: int,
        n_points: int,
        refit: bool,
    ) -> None:
        self.estimator, self.n_folds, self.n_points = estimator, n_folds, n_points
        self.rows = TrainingRows(X, y, sample_weight, classes)
        self.context = None
        self.lock = RLock()
        if has_callbacks(estimator):
            self.context = estimator._init_callback_context(
                max_subtasks=n_folds + refit, sequential_subtasks=False
            )
            self.context.call_on_fit_task_begin(estimator=estimator, **self.rows.hook_arguments())

    def fold(self, number: int, train: Array, classes: Array) -> "FoldTasks":
        """The task of a fold, which begins.

        Parameters
        ----------
        number : int
            From 0.
        train : ndarray of int
            Its training rows.
        classes : ndarray
            Those that its models know.
        """
        rows = TrainingRows(self.rows.X, self.rows.y, self.rows.sample_weight, classes, train)
        tasks = FoldTasks(self, None, rows)
        if self.context is not None:
            with self.lock:
                tasks.context = self.context.subcontext(
                    task_name="fold",
                    task_id=number,
                    max_subtasks=self.n_points,
                    sequential_subtasks=False,
                )
                tasks.context.call_on_fit_task_begin(
                    estimator=self.estimator, **rows.hook_arguments()
                )
        return tasks

    def refit(
        self, max_iter: int, attributes: Callable[["Solution"], dict[str, Any]]
    ) -> FitTasks | None:
        """The task of the refit, which begins; None where nobody has set a callback.

        Parameters
        ----------
        max_iter : int
        attributes : callable
            See `FitTasks`.
        """
        if self.context is None:
            return None
        context = self.context.subcontext(
            task_name="refit", task_id=self.n_folds, max_subtasks=max_iter
        )
        context.call_on_fit_task_begin(estimator=self.estimator, **self.rows.hook_arguments())
        return FitTasks(self.estimator, context, self.rows, attributes)

    def close(self, *, usable: bool = True) -> None:
        """The fit has ended, and the estimator has its attributes.

        Parameters
        ----------
        usable : bool, default=True
            Whether it can predict now.
        """
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                **self.rows.hook_arguments(),
                reconstruction_attributes={} if usable else None,
            )


@dataclass
class FoldTasks:
    """The task of a fold, and below it one for each point of the grid."""

    grid: GridTasks
    context: Any
    rows: TrainingRows

    def point(self, number: int, name: str) -> "PointTask":
        """The task of a point of the grid, which begins.

        Parameters
        ----------
        number : int
            In the grid, from 0.
        name : str
        """
        task = PointTask(self, None)
        if self.context is not None:
            with self.grid.lock:
                task.context = self.context.subcontext(task_name=name, task_id=number)
                task.context.call_on_fit_task_begin(
                    estimator=self.grid.estimator, **self.rows.hook_arguments()
                )
        return task

    def close(self) -> None:
        """All its points have ended."""
        if self.context is not None:
            with self.grid.lock:
                self.context.call_on_fit_task_end(
                    estimator=self.grid.estimator, **self.rows.hook_arguments()
                )


@dataclass
class PointTask:
    """The task of a point of the grid, in a fold."""

    fold: FoldTasks
    context: Any

    def close(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """The model is fitted; ``attributes`` makes what the estimator would have if it were it."""
        if self.context is not None:
            with self.fold.grid.lock:
                self.context.call_on_fit_task_end(
                    estimator=self.fold.grid.estimator,
                    **self.fold.rows.hook_arguments(),
                    reconstruction_attributes=attributes,
                )

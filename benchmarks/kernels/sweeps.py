"""Loss with gradient: time of a sweep beside scikit-learn's and the limit; two threads over one."""

from dataclasses import dataclass

from benchmarks.kernels.timing import in_turns
from sk_softmax._threads import Workers

__all__ = ["Sweep", "measure"]


@dataclass(frozen=True)
class Sweep:
    """Times of one case.

    Attributes
    ----------
    name, formulation, dtype : str
    ours, peer : float
        Seconds of a sweep on one thread, from the same run.
    operations, n_bytes : float
        What a sweep must do and read at least.
    goal : float or None
        What ``peer / ours`` is aimed at.
    two_threads : float or None
        One thread over two; None where a sweep is short.
    """

    name: str
    formulation: str
    dtype: str
    ours: float
    peer: float
    operations: float
    n_bytes: float
    goal: float | None = None
    two_threads: float | None = None

    @property
    def ratio(self):
        return self.peer / self.ours

    @property
    def intensity(self):
        """Operations a byte of X."""
        return self.operations / self.n_bytes


def measure(case, settings):
    """Compare values, then time.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    Sweep

    Raises
    ------
    AssertionError
        If the two libraries' losses or gradients differ by more than rounding.
    """
    objective = case.objective()
    case.check_sweep(objective)
    ours, peer = in_turns([lambda: objective.loss_gradient(case.point), case.peer_sweep], settings)
    return Sweep(
        case.name,
        case.shape.formulation,
        case.dtype,
        ours,
        peer,
        case.operations,
        case.n_bytes,
        case.shape.goals[case.dtype == "float32"] if case.shape.goals else None,
        _two_threads(case, objective, settings) if ours >= settings.long_sweep else None,
    )


def _two_threads(case, objective, settings):
    """How much faster two threads are than one; they must give the same bits."""
    with Workers(2) as workers:
        both = case.objective(workers)
        for one, two in zip(
            objective.loss_gradient(case.point), both.loss_gradient(case.point), strict=True
        ):
            if not (one == two).all():
                raise AssertionError("two threads and one give different bits")
        one, two = in_turns(
            [lambda: objective.loss_gradient(case.point), lambda: both.loss_gradient(case.point)],
            settings,
        )
    return one / two

"""What was measured so far, question by question."""

from dataclasses import dataclass, field

from benchmarks.kernels.limits import Limits
from benchmarks.kernels.prediction import Prediction
from benchmarks.kernels.processes import FirstFit, Memory
from benchmarks.kernels.second_order import Hessian, Product
from benchmarks.kernels.sweeps import Sweep

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """Rows of the report's tables.

    Attributes
    ----------
    long_sweep : float
        Seconds from which sweeps were timed on two threads.
    limits : Limits or None
        Measured with the sweeps.
    sweeps, products, hessians, predictions, first_fits, memory : list
    skipped : list of str
        What was not measured, and why.
    """

    long_sweep: float
    limits: Limits | None = None
    sweeps: list[Sweep] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    hessians: list[Hessian] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    first_fits: list[FirstFit] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

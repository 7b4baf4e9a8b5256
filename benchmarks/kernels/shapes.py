"""The shapes, as data: what is measured, and what ratio to scikit-learn is aimed at."""

from dataclasses import dataclass

__all__ = ["HESSIANS", "OVA", "SOFTMAX", "TEXT", "Shape", "Text"]


@dataclass(frozen=True)
class Shape:
    """Dense rows of normal numbers.

    Attributes
    ----------
    n, p, K : int
        Rows, features, classes; two classes are one output.
    formulation : {"softmax", "ova"}
    goals : tuple of float
        The ratio to scikit-learn that is aimed at, in float64 and float32; empty if none is.
    """

    n: int
    p: int
    K: int
    formulation: str = "softmax"
    goals: tuple[float, ...] = ()

    @property
    def name(self):
        return f"{self.n} x {self.p}, K={self.K}"


@dataclass(frozen=True)
class Text:
    """Sparse rows: a problem of `benchmarks.problems` in the data folder."""

    name: str
    formulation: str = "softmax"
    goals: tuple[float, ...] = ()


SOFTMAX = (
    Shape(60_000, 784, 10, goals=(2.2, 2.1)),
    Shape(500_000, 54, 7, goals=(3.0, 3.5)),
    Shape(20_000, 16, 26, goals=(4.0, 4.5)),
    Shape(100_000, 100, 100, goals=(4.0, 2.5)),
    Shape(1_000_000, 20, 3, goals=(3.5, 3.0)),
    Shape(5_000, 2_000, 50, goals=(1.0, 1.0)),
    Shape(30_000, 512, 1_000, goals=(2.0, 2.0)),
    Shape(150, 4, 3, goals=(15.0, 15.0)),
)
OVA = tuple(
    Shape(n, p, K, "ova")
    for n, p, K in (
        (60_000, 784, 10),
        (500_000, 54, 7),
        (20_000, 16, 26),
        (100_000, 100, 100),
        (500_000, 54, 2),
        (150, 4, 3),
    )
)
TEXT = tuple(
    Text(name, formulation, goals)
    for formulation, goals in (("softmax", (1.8, 2.0)), ("ova", ()))
    for name in ("news20", "langid")
)
HESSIANS = (  # of the sizes of letter and shuttle
    Shape(20_000, 16, 26, goals=(4.5,)),
    Shape(58_000, 9, 7, goals=(3.0,)),
)
QUICK_SOFTMAX = (Shape(300, 5, 4, goals=(1.0, 1.0)), Shape(60, 40, 3))
QUICK_OVA = (Shape(300, 5, 4, "ova"),)
QUICK_HESSIANS = (Shape(200, 5, 3, goals=(1.0,)),)
PREDICTION = (Shape(1, 54, 7, goals=(1.0, 1.0)), Shape(1_000_000, 54, 7, goals=(2.0, 2.0)))
QUICK_PREDICTION = (Shape(1, 6, 3), Shape(50, 6, 3))

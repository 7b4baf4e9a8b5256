"""Newton systems of a wide sparse X by conjugate gradients, features along the first axis.

There vectors are as large as sweeps are dear, so they are passed over as seldom as can be, in the
order in which products with X transposed leave them, and by threads.

References
----------
Nocedal and Wright (2006), "Numerical Optimization", algorithm 5.3: preconditioned.
"""

from collections.abc import Callable

import numpy as np

from .._design.csr import CSRDesign
from .._kernels.conjugate_gradient import advance, finish_product, turn
from .._objective import Objective
from .._preconditioner.changes import Diagonal
from .._typing import Array

SINGLE = 1e-3  # residual, relative to the gradient, from which single precision is enough
RANGE = 1e8  # of what it takes, up and down from 1


def solve_by_feature(
    part: Objective, state: Array, change: Diagonal, gradient: Array, tol: float, max_iter: int
) -> tuple[Array, Array]:
    """About the solution d of (H + lambda2) d = gradient, lambda2 > 0, and half of their product.

    Parameters
    ----------
    part : Objective
        With a CSR design.
    state : ndarray of shape (n, K)
        What the Hessian is made of; see `logit_state`.
    change : Diagonal
        The preconditioner.
    gradient : ndarray of shape (K, q)
        In the centred coordinates, as the solution.
    tol : float
        Residual that may be left, relative to the gradient, in the scaled variables.
    max_iter : int

    Returns
    -------
    step : ndarray of shape (K, q)
    decrement : ndarray of shape (m,)
    """
    unit = float(np.abs(gradient).max(initial=0.0)) or 1.0  # so that no number is too small
    dtype = np.float32 if single_will_do(part, change.scale, tol) else np.float64
    r: Array = np.ascontiguousarray(gradient.T / unit, dtype)
    work = _Vectors(part, state.astype(dtype, copy=False), r, change.scale.T.astype(dtype, "C"))
    none = np.zeros(part.K)
    size = work.advance(none)
    goal = tol**2 * size
    goes_on, ratio, product = size > goal, none, none
    for _ in range(max_iter):
        if not goes_on.any():
            break
        curvature = work.product(work.turn(ratio))
        goes_on &= curvature > 0
        length = np.where(goes_on, size / np.where(goes_on, curvature, 1.0), 0.0)
        product = product + length * size  # what the step adds to d . gradient
        previous, size = size, work.advance(length)
        goes_on &= size > goal
        ratio = np.where(goes_on, size / np.where(goes_on, previous, 1.0), 0.0)
    step = np.multiply(work.x.T, unit, order="C", dtype=np.float64)
    if part.coupled:  # no step sees what rounding left of a shift of all classes
        step -= step.mean(axis=0)
    return step, product[: part.n_problems] * (unit**2 / 2)


def single_will_do(part: Objective, scale: Array, tol: float) -> bool:
    """Whether single precision is enough for products over a CSR X, as it is for ``tol``.

    It halves what is read from memory, which such products wait for.  ``scale``, of the
    coordinates, says whether numbers are neither too large nor too small for it.
    """
    if tol < SINGLE or not isinstance(part.design, CSRDesign) or not scale.all():
        return False
    sizes = part.design.largest, 1 / float(scale.min()), float(scale.max())
    return max(sizes) <= RANGE


class _Vectors:
    """The vectors of conjugate gradients, (q, K): solution, direction, residual, and its image.

    Dot products are of problems, given once for each of their outputs: (K,).
    """

    def __init__(self, part: Objective, state: Array, residual: Array, scale: Array) -> None:
        assert isinstance(part.design, CSRDesign)
        self.part, self.design, self.state, self.scale = part, part.design, state, scale
        self.residual = residual
        self.x, self.direction, self.image = (np.zeros_like(residual) for _ in range(3))
        self.T = np.empty_like(state)
        self.ridge = np.broadcast_to(part.lambda2, part.K).copy()
        self.at_mean = np.ones(part.q)  # a direction's raw values at the mean
        self.at_mean[: part.p] = -part.center

    def advance(self, length: Array) -> Array:
        """A step along the direction; the square of the residual in the scaled variables."""
        vectors = self.x, self.direction, self.residual, self.image
        softmax = self.part.coupled

        def on(some: slice, dots: Array) -> None:
            advance(*vectors, length, self.scale, softmax, some.start, some.stop, dots)

        return self._of_problems(self._over_features(on))

    def turn(self, ratio: Array) -> Array:
        """A new direction, conjugate to the last; its raw values at x = 0, (K,)."""

        def on(some: slice, dots: Array) -> None:
            turn(self.direction, self.image, ratio, self.at_mean, some.start, some.stop, dots)

        return self._over_features(on)

    def product(self, shift: Array) -> Array:
        """The Hessian times the direction, into the image; the curvature along it."""
        part, d, T = self.part, self.direction, self.T
        self.design.push(part.target, self.state.__getitem__, d, shift, T, part.workers)
        g = T.sum(axis=0, dtype=np.float64)

        def finish(some: slice) -> Array:
            dots = np.zeros(part.K)
            finish_product(
                self.image, d, some.start, some.stop, part.p, g, part.center, self.ridge, dots
            )
            return dots

        parts = self.design.pull(T, self.image, finish, part.workers)
        return self._of_problems(sum(parts) + finish(slice(part.p, part.q)))

    def _over_features(self, on: Callable[[slice, Array], None]) -> Array:
        """Dot products, (K,), added up over ranges of features in their order."""
        K = self.part.K
        ranges = self.design.feature_ranges(K)
        ranges[-1] = slice(ranges[-1].start, self.part.q)

        def on_range(some: slice) -> Array:
            dots = np.zeros(K)
            on(some, dots)
            return dots

        return sum(self.part.workers.map(on_range, ranges, self.design.threaded(K)), np.zeros(K))

    def _of_problems(self, dots: Array) -> Array:
        return np.full(dots.size, dots.sum()) if self.part.coupled else dots

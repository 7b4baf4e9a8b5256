"""Problems for the kernel of proximal Newton in one call, and what slow twins make of them."""

from dataclasses import dataclass

import naive
import numpy as np
import pytest
from kernel_cases import NewtonProblem

from sk_softmax._kernels import l1_newton as kernels

# (K, p, intercept): K = 1 is binary; beside and on multiples of 4
SHAPES = (
    (1, 1, False),
    (1, 4, True),
    (1, 9, False),
    (2, 1, True),
    (2, 5, False),
    (3, 3, True),
    (3, 8, False),
    (5, 4, True),
)
over_shapes = pytest.mark.parametrize(("K", "p", "fit_intercept"), SHAPES)
over_few_shapes = pytest.mark.parametrize(("K", "p", "fit_intercept"), [SHAPES[1], SHAPES[5]])
over_ridges = pytest.mark.parametrize("lambda2", [0.0, 0.02])
over_blocks = pytest.mark.parametrize("blocks", [1, 3])
over_K = pytest.mark.parametrize("K", [1, 3])


@dataclass
class End:
    """What the kernel gives back of each problem."""

    points: np.ndarray
    losses: np.ndarray
    gradients: np.ndarray
    counts: np.ndarray
    far: np.ndarray

    def equals(self, other, chosen=slice(None)):
        """To the bit, in the problems that are chosen of the other."""
        for name, values in vars(self).items():
            np.testing.assert_array_equal(values, getattr(other, name)[chosen], err_msg=name)


class L1Problem(NewtonProblem):
    """What the kernel takes, and what its twins make of that."""

    def __init__(self, K=3, p=3, fit_intercept=True, blocks=1, n=25, lambda1=0.05, **params):
        super().__init__(K, p, fit_intercept, blocks, n, **{"lambda2": 0.0, **params})
        self.lambda1 = lambda1

    def run(
        self,
        start=None,
        tol=0.0,
        goal=0.0,
        limit=50,
        far=True,
        fewest=128,
        known=None,
        dtype=np.float64,
        **several,
    ):
        """``several`` problems are given by their columns, sides and penalties.

        ``known`` : ndarray, gradients at the starts.  ``dtype`` : of Hessians.
        """
        starts = self.point() if start is None else np.asarray(start)
        starts = starts.reshape(-1, self.K, self.q)
        m = len(starts)
        columns = np.full(m, self.column) if self.K == 1 else np.empty(0, np.int64)
        problems = {
            "columns": columns,
            "sides": np.tile(self.sides, (m, 1)),
            "lambda1": np.full(m, self.lambda1),
            "lambda2": np.full(m, self.lambda2),
        } | several
        end = End(
            starts.copy(),
            np.empty(m),
            np.empty_like(starts) if known is None else known.reshape(starts.shape).copy(),
            np.zeros((m, 2), np.int64),
            np.full(m, far),
        )
        kernels.l1_newton(
            self.blocks_A,
            self.center,
            self.blocks_y,
            self.blocks_s,
            *problems.values(),
            np.ones_like(starts),
            end.points,
            tol,
            np.full(m, goal),
            np.full(m, limit),
            fewest,
            known is not None,
            np.empty((0, self.blocks_A.shape[2]), dtype),
            end.far,
            end.losses,
            end.gradients,
            end.counts,
        )
        return end

    def loss_gradient(self, point):
        """Without penalties, in the centred coordinates."""
        return naive.smooth(*self.rows(), 0.0, self.p, point)

    def value(self, point):
        return self.smooth(point)[0] + self.lambda1 * np.abs(naive.wide(point[:, : self.p])).sum()

    def slope(self, point):
        """Of the loss, by the features before they were centred."""
        slope = self.loss_gradient(point)[1]
        slope[:, : self.p] += slope[:, self.p :].sum(axis=1)[:, None] * self.center
        return slope

    def violation(self, point):
        """Distance from 0 to the subdifferential, coordinate by coordinate."""
        slope, penalised = self.slope(point), np.arange(self.q) < self.p
        slope += self.lambda2 * point * penalised
        lambda1 = self.lambda1 * penalised
        at_zero = np.maximum(np.abs(slope) - lambda1, 0)
        return np.where(point == 0, at_zero, np.abs(slope + lambda1 * np.sign(point)))

    def curvature(self, rows=slice(None)):
        """A bound on the Hessian's largest eigenvalue."""
        gram = (self.A * self.s * self.sides.max()) @ self.A.T
        return 0.5 * np.linalg.eigvalsh(gram)[-1] + self.lambda2

    def slow_optimum(self, steps=3000):
        """By accelerated proximal gradients, which begin anew where F rises."""
        step = 1 / self.curvature()
        penalised = np.arange(self.q) < self.p
        x = z = self.point()
        t, value = 1.0, np.inf
        for _ in range(steps):
            moved = z - step * self.smooth(z)[1].astype(float)
            shrunk = np.maximum(np.abs(moved) - step * self.lambda1 * penalised, 0)
            new, before = np.sign(moved) * shrunk, value
            value = self.value(new)
            t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2 if value <= before else 1.0
            z = new + (t - 1) / t_new * (new - x) * (value <= before)
            x, t = new, t_new
        return x


def model_value(H, slope, w, lambda1, lambda2, d):
    """The quadratic with both penalties, at a step d."""
    there = w + d
    penalty = lambda1 * np.abs(there) + lambda2 * there**2 / 2
    return slope @ d + d @ H @ d / 2 + penalty.sum()


def model_step(H, slope, w, lambda1, lambda2):
    """Its minimiser, by coordinate descent for as long as anything moves."""
    d = np.zeros(w.size)
    for _ in range(20_000):
        before = d.copy()
        for j in np.flatnonzero(H.diagonal() + lambda2 > 0):
            curvature = H[j, j] + lambda2[j]
            target = (curvature * (w[j] + d[j]) - slope[j] - H[j] @ d - lambda2[j] * (w + d)[j]) / (
                curvature
            )
            d[j] = np.sign(target) * max(abs(target) - lambda1[j] / curvature, 0) - w[j]
        if np.abs(d - before).max() <= 1e-15:
            break
    return d


def left(problem, point):
    _, gradient = problem.loss_gradient(point)
    every, first = np.tile(np.arange(problem.q), problem.K), np.arange(problem.K + 1) * problem.q
    rest = problem.lambda1, problem.lambda2, float(problem.value(point))
    return kernels._left(point, gradient.astype(float), every, first, problem.center, *rest)

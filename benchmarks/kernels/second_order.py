"""Hessians, and products of Hessians with vectors, of softmax in float64.

Ours are in the variables (coef, intercept + coef @ center); values are compared in scikit-learn's,
(coef, intercept).
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.kernels.case import agree
from benchmarks.kernels.timing import in_turns

__all__ = ["Hessian", "Product", "measure_hessian", "measure_product"]


@dataclass(frozen=True)
class Hessian:
    """Times of one case.

    Attributes
    ----------
    name : str
    ours, with_gradient, peer : float
        Seconds: our Hessian; it and a sweep; scikit-learn's Hessian with its gradient.
    goal : float or None
        What ``peer / ours`` is aimed at.
    """

    name: str
    ours: float
    with_gradient: float
    peer: float
    goal: float | None = None


@dataclass(frozen=True)
class Product:
    """Times of one case: a product of a Hessian with a vector beside a sweep, and scikit-learn's.

    Probabilities are there before, for all but large dense problems, where they are made again.
    """

    name: str
    ours: float
    sweep: float
    peer: float


def measure_hessian(case, settings):
    """Compare values, then time; a `Hessian`."""
    objective, point = case.objective(), case.point
    agree(in_given_variables(objective, point), _by_class(case), case.dtype)

    def both():
        objective.loss_gradient(point)
        objective.hessian(point)

    functions = [lambda: objective.hessian(point), both, case.peer_hessian]
    goals = case.shape.goals
    return Hessian(case.name, *in_turns(functions, settings), goals[0] if goals else None)


def measure_product(case, settings):
    """Compare values, then time; a `Product`."""
    objective, V = case.objective(), case.direction
    product, peer = objective.hessian_product(case.point), case.peer_product()
    direction = case.peer_direction()
    centred = V.copy()
    centred[:, -1] += V[:, :-1] @ objective.center
    ours = product(centred)
    ours[:, :-1] += np.outer(ours[:, -1], objective.center)
    agree(ours, peer(direction), case.dtype)
    functions = [
        lambda: product(centred),
        lambda: objective.loss_gradient(case.point),
        lambda: peer(direction),
    ]
    return Product(case.name, *in_turns(functions, settings))


def in_given_variables(objective, point):
    """Our Hessian (K, q, K, q) in the variables (coef, intercept)."""
    K, q = point.shape
    H = objective.hessian(point)[0].reshape(K, q, K, q)
    T = np.eye(q)
    T[-1, :-1] = objective.center
    return np.einsum("ja,kjlr,rb->kalb", T, H, T, optimize=True)


def _by_class(case):
    """scikit-learn's Hessian as (K, q, K, q): its rows go through the classes first."""
    q = case.p + 1
    return case.peer_hessian()[1].reshape(q, case.K, q, case.K).transpose(1, 0, 3, 2)

"""What the parts of a fit cost, and from that, which solver and which change of variables.

Costs are in multiplications of a large matrix product, of which a core makes some thirty in a
nanosecond.  Other work counts as many as take the same time; the factors were measured.
"""

import numpy as np

from .._design.csr import CSRDesign
from .._design.dense import DenseDesign
from .._objective import Objective
from .._preconditioner.make import can_factor, can_factor_by_class
from .._preconditioner.rows import class_sample, hessian_sample
from .._typing import Array

CALLS = 5e6  # the calls around an evaluation of F
ENTRY = 16  # an entry of a dense X in a sweep: read, and turned
KERNEL = 2  # the same for each output: each entry serves twice
SPARSE_ENTRY, SPARSE_KERNEL = 20, 12  # the same for an entry of a CSR matrix, and each output
TILE, TILE_SIDE = 0.375, 4  # one of q * q in a Hessian's register tiles; and one more of q
SCATTER = 10  # one in a Hessian made entry by entry
PLACE = 50  # one in a class's Hessian on a support, which is too large for the nearest cache
FACTORS = 2  # times that such a Hessian is factored
EXPONENTIAL = 20  # an exponential and what a probability needs beside it
NEWTON_STEPS = 4.0  # on all rows, after those on samples
SMALL_NEWTON_STEPS = 8.0  # where samples would be too small
LBFGS_EVALUATIONS = 25.0  # on all rows, in variables from whole Hessians
LBFGS_CHANGES = 3.0  # of variables
SAMPLES_SAVE = 1.5e8  # in a Newton step on all rows, from which it pays to take parts of them
ROWS_A_COORDINATE = 8  # that a part of the rows must have
SAVED = 4.0  # evaluations of L-BFGS that an exact Newton step saves
SINGLE_WORK = 2**22  # multiplications in a sweep, from which single precision saves time
CLASS_EVALUATIONS = 8.0  # more evaluations in variables that leave classes uncoupled


def sweep(objective: Objective) -> float:
    """Loss and gradient on all rows, with the calls around them."""
    n, K = objective.design.n, objective.K
    if isinstance(objective.design, CSRDesign):
        products = float(objective.design.X.nnz) * (SPARSE_ENTRY + SPARSE_KERNEL * K)
    else:
        products = float(n) * objective.p * (ENTRY + K * KERNEL)
    return CALLS + products + EXPONENTIAL * n * K


def hessian(objective: Objective, rows: float) -> float:
    """Hessians on so many rows."""
    K, q = objective.K, objective.q
    pairs = K * (K + 1) // 2 if objective.coupled else K
    dense = rows * pairs * _products(q)
    if isinstance(objective.design, CSRDesign):
        entries = objective.design.entries_a_row
        return min(SCATTER * rows * entries**2 * pairs, dense)
    return dense


def support_hessian(coordinates: int, rows: int) -> float:
    """Softmax's Hessian on a support of so many coordinates, from so many dense rows."""
    return rows * _products(coordinates)


def class_hessians(objective: Objective, support: Array) -> float:
    """The outputs' own Hessians on a support, a mask (K, q), and their factors; X is CSR."""
    assert isinstance(objective.design, CSRDesign)
    entries = support[:, : objective.p] @ objective.design.entries / max(1, objective.design.n)
    products = float((entries**2).sum()) * objective.design.n / 2
    sizes = support.sum(axis=1).astype(float)
    return PLACE * products + FACTORS * float((sizes**3).sum()) / 3


def factorisation(objective: Objective) -> float:
    """Cholesky factors of the problems' Hessians."""
    return float(objective.n_problems * objective.hessian_size**3) / 3


def newton(objective: Objective) -> float:
    """A fit by exact Newton steps."""
    return (NEWTON_STEPS if sampled(objective) else SMALL_NEWTON_STEPS) * newton_step(objective)


def newton_step(objective: Objective) -> float:
    """One of them, on all rows."""
    step = hessian(objective, objective.design.n) + factorisation(objective)
    return step + 2 * sweep(objective)


def lbfgs(objective: Objective) -> float:
    """A fit by preconditioned L-BFGS."""
    evaluations = LBFGS_EVALUATIONS
    if by_class(objective):
        evaluations += LBFGS_CHANGES * CLASS_EVALUATIONS
    return evaluations * sweep(objective) + LBFGS_CHANGES * change(objective)


def change(objective: Objective) -> float:
    """The change of variables that L-BFGS makes."""
    return class_change(objective) if by_class(objective) else whole_change(objective)


def whole_change(objective: Objective) -> float:
    """A change of variables from whole Hessians on a sample of the rows."""
    return hessian(objective, hessian_sample(objective)) + factorisation(objective)


def class_change(objective: Objective) -> float:
    """A change of variables from the diagonal blocks of softmax's Hessian, class by class."""
    K, q = objective.K, objective.q
    return class_sample(objective) * K * _products(q) + K * q**3 / 3


def by_class(objective: Objective) -> bool:
    """Whether the outputs are preconditioned one by one, each from rows of its own."""
    if not can_factor_by_class(objective):
        return False
    if not objective.coupled:
        return class_sample(objective) < objective.design.n or not can_factor(objective)
    if not can_factor(objective):
        return True
    more = CLASS_EVALUATIONS * sweep(objective)
    return class_change(objective) + more < whole_change(objective)


def exact(objective: Objective) -> bool:
    """Whether a Hessian on all rows costs no more than the evaluations that it saves."""
    if not can_factor(objective):
        return False
    step = hessian(objective, objective.design.n) + factorisation(objective)
    return step <= SAVED * sweep(objective)


def single(objective: Objective) -> bool:
    """Whether sweeps in single precision save time."""
    design = objective.design
    if not isinstance(design, DenseDesign) or objective.K == 1:
        return False
    narrow = design.X.dtype == np.float32 or not design.wide(objective.K)
    return narrow and design.work(objective.K) >= SINGLE_WORK


def stage(objective: Objective, least: int, most: int) -> int:
    """Iterations between renewals of the variables: about as dear as one."""
    if not can_factor_by_class(objective):
        return most
    return int(min(max(change(objective) / sweep(objective), least), most))


def sampled(objective: Objective) -> bool:
    """Whether parts of the rows are large enough to start from, and worth it (see `samples`)."""
    enough = objective.design.n >= 4 * ROWS_A_COORDINATE * objective.hessian_size
    return enough and newton_step(objective) >= SAMPLES_SAVE


def _products(q: int) -> float:
    """A row's products of q features with each other, half of them, in register tiles."""
    return TILE * q * q + TILE_SIDE * q

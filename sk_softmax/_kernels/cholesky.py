"""Newton's equations by Cholesky's method, with rows of the factor in vector registers.

The matrix is given by its upper triangle and becomes U with H = U'U.  Four rows of U at a time are
taken from all rows below, four of those at a time: each number that is loaded serves four times.

References
----------
Golub and Van Loan (2013), "Matrix Computations", 4th ed., section 4.2.6: the factor by blocks.
"""

import numpy as np

from .jit import jit
from .unsigned import FOUR, ONE, THREE, TWO

PIVOT = 1e-12  # of the unit diagonal: below it the Hessian is singular up to rounding


@jit
def definite_step(H, gradient, step):
    """Whether H is positive definite; the step (its negative) and the Newton decrement.

    H is scaled to a unit diagonal first, so units do not matter.  Not positive definite is also
    what is not so up to rounding.

    Parameters
    ----------
    H : ndarray of shape (d, d)
        Its upper triangle is read; overwritten.
    gradient : ndarray of shape (K, q)
        K q = d.
    step : ndarray of shape (d,)
        Result: ``H^-1 gradient``.

    Returns
    -------
    definite : bool
    decrement : float
        Half of ``gradient' H^-1 gradient``.
    """
    d, q = np.uint64(step.size), np.uint64(gradient.shape[1])
    scale, panel = np.empty(d), np.empty((4, d))
    for a in range(d):
        if not H[a, a] > 0.0:
            return False, 0.0
        scale[a] = 1.0 / np.sqrt(H[a, a])
        step[a] = gradient[a // q, a % q] * scale[a]
    for a in range(d):
        for b in range(a, d):
            H[a, b] *= scale[a] * scale[b]
    for first in range(np.uint64(0), d, FOUR):
        last = min(first + FOUR, d)
        for a in range(first, last):
            if not H[a, a] > PIVOT:
                return False, 0.0
            pivot = 1.0 / np.sqrt(H[a, a])
            for b in range(a, d):
                H[a, b] *= pivot
                panel[a - first, b] = H[a, b]
            step[a] *= pivot
            for other in range(a + ONE, last):
                factor = panel[a - first, other]
                for b in range(other, d):
                    H[other, b] -= factor * panel[a - first, b]
                step[other] -= factor * step[a]
        if last < d:
            _take_rows_of_factor(panel, last, H, step)
    decrement = 0.0
    for a in range(d):  # U'^-1 of the gradient: its squares are those of the step, in H's metric
        decrement += 0.5 * step[a] * step[a]
    for after in range(d):
        row = d - ONE - after
        total = step[row]
        for b in range(row + ONE, d):
            total -= H[row, b] * step[b]
        step[row] = total / H[row, row]
    for a in range(d):
        step[a] *= scale[a]
    return True, decrement


@jit
def _take_rows_of_factor(panel, start, H, step):
    """Take what four rows of U explain, those before ``start``, from all rows from there on."""
    d = np.uint64(step.size)
    tiled = d - (d - start) % FOUR
    for a in range(start, tiled, FOUR):
        a0, a1, a2, a3 = panel[0, a], panel[1, a], panel[2, a], panel[3, a]
        b0, b1, b2, b3 = panel[0, a + ONE], panel[1, a + ONE], panel[2, a + ONE], panel[3, a + ONE]
        c0, c1, c2, c3 = panel[0, a + TWO], panel[1, a + TWO], panel[2, a + TWO], panel[3, a + TWO]
        d0, d1 = panel[0, a + THREE], panel[1, a + THREE]
        d2, d3 = panel[2, a + THREE], panel[3, a + THREE]
        for b in range(a, d):
            x0, x1, x2, x3 = panel[0, b], panel[1, b], panel[2, b], panel[3, b]
            H[a, b] -= (a0 * x0 + a1 * x1) + (a2 * x2 + a3 * x3)
            H[a + ONE, b] -= (b0 * x0 + b1 * x1) + (b2 * x2 + b3 * x3)
            H[a + TWO, b] -= (c0 * x0 + c1 * x1) + (c2 * x2 + c3 * x3)
            H[a + THREE, b] -= (d0 * x0 + d1 * x1) + (d2 * x2 + d3 * x3)
    for a in range(tiled, d):
        a0, a1, a2, a3 = panel[0, a], panel[1, a], panel[2, a], panel[3, a]
        for b in range(a, d):
            H[a, b] -= (a0 * panel[0, b] + a1 * panel[1, b]) + (a2 * panel[2, b] + a3 * panel[3, b])
    s0, s1, s2, s3 = step[start - FOUR], step[start - THREE], step[start - TWO], step[start - ONE]
    for b in range(start, d):
        step[b] -= (s0 * panel[0, b] + s1 * panel[1, b]) + (s2 * panel[2, b] + s3 * panel[3, b])

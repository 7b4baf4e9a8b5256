"""L1 and elastic net on a large sparse X: Newton steps, each on one orthant of the coefficients.

There the penalty is linear.  Coordinate descent would pass over all entries of X again and again;
for a step on an orthant conjugate gradients need few products with the Hessian (`support_cg`).
"""

from functools import partial

import numpy as np

from .._design.csr import CSRDesign
from .._objective import Objective
from .._typing import Array
from . import cost
from .evaluated import Evaluated
from .solution import Control
from .support import newton_on_support

LARGE = 1e9  # a sweep, as in `cost`, from which this is the faster way


def by_orthants(objective: Objective) -> bool:
    """Whether X is sparse and so large that this is the faster way; for softmax alone."""
    sparse = isinstance(objective.design, CSRDesign)
    return sparse and objective.coupled and cost.sweep(objective) >= LARGE


def newton_on_set(
    control: Control,
    part: Objective,
    active: Array,
    start: Evaluated,
    working: Array,
    curvature: Array,
) -> tuple[int, Evaluated, bool]:
    """A Newton step on the non-zeros and on the violators in ``working``; as `working_set.Improve`.

    One alone: then the set is chosen anew, for other violators and for signs that were wrong.
    """
    steps, end = newton_on_support(
        part,
        start,
        control.tol,
        control.goal[active],
        max_iter=1,
        enough=np.zeros(part.n_problems),
        ended=partial(control.end, active),
        entering=working,
    )
    return steps, end, False

"""Every solver ends at the optimum, and what it says about where it ends is true.

Certificates are recomputed here by the twins in `problems`; the paths that only large data take are
forced by their module constants, and must lead to the same F.
"""

from dataclasses import replace

import numba
import numpy as np
import pytest
from problems import LOSSES, PENALTIES, CountingWorkers, Problem, make_problem, needs_jit
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)

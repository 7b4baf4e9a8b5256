"""Small unsigned numbers, for positions in arrays.

Numba tests an index that may be negative at each use, for it would count from the end, and a loop
with such a test stays out of vector registers.  A signed number added to an unsigned one makes a
float, so steps are unsigned as well.
"""

import numpy as np

ONE, TWO, THREE, FOUR = np.arange(1, 5, dtype=np.uint64)

"""Rows drawn from a model: unscaled, correlated columns and classes that overlap.

* Neighbouring columns correlate at 0.9, and two columns that are d apart at 0.9^d.
* Each column is in units of its own: its standard deviation is between 0.1 and 10 (log-uniform),
  its mean at most three of them away from 0.
* Labels are drawn from a softmax model on the columns before their change of units, so the classes
  overlap. The raw values of a class have standard deviation 2 whatever p is: more features do not
  tell the classes apart better. Some classes are more frequent than others.
"""

import numpy as np

__all__ = ["draw"]

CORRELATION = 0.9
DECADES = (-1.0, 1.0)  # of the columns' standard deviations
LARGEST_MEAN = 3.0  # in standard deviations
SPREAD = 2.0  # standard deviation of a raw value
SEED = 0


def draw(n, p, K):
    """Draw a problem; the same arguments give the same rows.

    Parameters
    ----------
    n, p, K : int
        Rows, features and classes; at least as many rows as classes.

    Returns
    -------
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,)
        Labels from 0 to K - 1, none of them missing.
    """
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] *= np.sqrt(1.0 - CORRELATION**2)
        X[:, j] += CORRELATION * X[:, j - 1]
    coef = rng.standard_normal((K, p)) * SPREAD / np.sqrt(p)
    # The largest of raw values with Gumbel noise is a draw from their softmax.
    y = np.argmax(X @ coef.T + rng.gumbel(size=(n, K)), axis=1)
    y[:K] = np.arange(K)  # a rare class could be missing by chance
    scale = 10.0 ** rng.uniform(*DECADES, p)
    X *= scale
    X += scale * rng.uniform(-LARGEST_MEAN, LARGEST_MEAN, p)
    return X, y

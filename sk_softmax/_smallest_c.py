"""The smallest C: where L1 and elastic net let go of the null model, and where grids begin."""

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._base import LinearClassifier
from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._threads import Workers, one_blas_thread, thread_count
from ._typing import Array

if TYPE_CHECKING:
    from ._objective import Objective

# Units of rounding in a sum of weighted entries, below which a feature is constant or empty.
ROUNDING = 16 * float(np.finfo(float).eps)
# L2: ridge over curvature at the smallest C of a grid. The first Newton step from the null model
# is there a hundredth of what it is without a penalty, and gains 2% of what it could.
STRONG_RIDGE = 99.0
ILL_POSED = "Ill-posed l1_min_c calculation: l1 will always select zero coefficients for this data"
PARAMETERS = {
    "l1_ratio": [Interval(Real, 0, 1, closed="right")],
    "fit_intercept": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
}


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def softmax_l1_min_c(
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 1.0,
    fit_intercept: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
) -> float:
    """The largest C at which every coefficient of a `SoftmaxClassifier` is 0.

    At the best model without coefficients let G be the gradient of the mean loss by them, (K, p).
    They stay 0 exactly as long as the L1 penalty ``l1_ratio / (C S)`` is at least
    ``max |G|``, so this is ``l1_ratio / (S max |G|)``, with S the sum of the weights: exact for
    any weights, with an intercept or without.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training data.
    y : array-like of shape (n_samples,)
        Class labels.
    l1_ratio : float, default=1.0
        As the classifier's, 0 < l1_ratio <= 1.
    fit_intercept : bool, default=True
        As the classifier's.
    class_weight : dict or "balanced", default=None
        As the classifier's.
    sample_weight : array-like of shape (n_samples,), default=None
        As the classifier's `fit` takes it.

    Returns
    -------
    C : float
        In the classifier's units. A fit with this C or less has no coefficient other than 0; with
        any larger C the optimum has one.

    Raises
    ------
    ValueError
        If no C gives a coefficient other than 0, or the data cannot be fitted.

    See Also
    --------
    ova_l1_min_c : The same for `OvAClassifier`.
    softmax_path : All fits from there on.
    sklearn.svm.l1_min_c : Two classes or one-vs-all, without weights; its intercept is penalised.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import SoftmaxClassifier, softmax_l1_min_c
    >>> X, y = load_iris(return_X_y=True)
    >>> C = softmax_l1_min_c(X, y)
    >>> print(SoftmaxClassifier(C=C, l1_ratio=1.0).fit(X, y).coef_.any())
    False
    >>> print(SoftmaxClassifier(C=1.1 * C, l1_ratio=1.0).fit(X, y).coef_.any())
    True
    """
    model = SoftmaxClassifier(
        l1_ratio=l1_ratio, fit_intercept=fit_intercept, class_weight=class_weight
    )
    return _smallest_c(model, X, y, sample_weight)


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def ova_l1_min_c(
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 1.0,
    fit_intercept: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
) -> float:
    """The largest C at which every coefficient of an `OvAClassifier` is 0.

    The smallest of what the binary problems have: at any larger C at least one of them has a
    coefficient other than 0. See `softmax_l1_min_c` for the mathematics; with two classes the two
    functions agree.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training data.
    y : array-like of shape (n_samples,)
        Class labels.
    l1_ratio : float, default=1.0
        As the classifier's, 0 < l1_ratio <= 1.
    fit_intercept : bool, default=True
        As the classifier's.
    class_weight : dict or "balanced", default=None
        As the classifier's.
    sample_weight : array-like of shape (n_samples,), default=None
        As the classifier's `fit` takes it.

    Returns
    -------
    C : float
        In the classifier's units.

    Raises
    ------
    ValueError
        If no C gives a coefficient other than 0, or the data cannot be fitted.

    See Also
    --------
    softmax_l1_min_c : The same for `SoftmaxClassifier`.
    ova_path : All fits from there on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import OvAClassifier, ova_l1_min_c
    >>> X, y = load_iris(return_X_y=True)
    >>> C = ova_l1_min_c(X, y)
    >>> print(OvAClassifier(C=C, l1_ratio=1.0).fit(X, y).coef_.any())
    False
    """
    model = OvAClassifier(l1_ratio=l1_ratio, fit_intercept=fit_intercept, class_weight=class_weight)
    return _smallest_c(model, X, y, sample_weight)


def _smallest_c(model: LinearClassifier, X: Any, y: Any, sample_weight: Any) -> float:
    data = model._training_data(X, y, sample_weight)
    with Workers(thread_count(None)) as workers, one_blas_thread():
        objective = model._objective(data, workers)
        return smallest_c(objective, float(model.l1_ratio), float(data.s.sum()))


def smallest_c(objective: "Objective", l1_ratio: float, S: float) -> float:
    """The largest C at which all coefficients of ``objective`` are 0, whatever its penalty.

    Parameters
    ----------
    objective : Objective
    l1_ratio : float
        In (0, 1].
    S : float
        Sum of the weights.

    Raises
    ------
    ValueError
        If there is none: the gradient at the null model is 0 up to rounding.
    """
    from ._objective import penalties

    steepest = float(null_slope(objective).max())
    C = l1_ratio / S / steepest
    if not np.isfinite(C * S):
        raise ValueError(ILL_POSED)
    while penalties(C, l1_ratio, S)[0] < steepest:  # rounding: exact means exact
        C = float(np.nextafter(C, 0.0))
    return C


def null_slope(objective: "Objective") -> Array:
    """Sizes of the mean loss's derivatives by the coefficients at the null model, (K, p).

    Raises
    ------
    ValueError
        If all are 0 up to rounding.
    """
    slope = np.abs(objective.loss_gradient(objective.null_point())[1][:, : objective.p])
    if (slope <= ROUNDING * np.sqrt(objective.moments[1])).all():
        raise ValueError(ILL_POSED)
    return slope


def smallest_useful_c(objective: "Objective", l1_ratio: float, S: float) -> float:
    """Where a grid of C begins; see `softmax_path`.

    Parameters
    ----------
    objective : Objective
    l1_ratio : float
    S : float
        Sum of the weights.
    """
    if l1_ratio > 0:
        return smallest_c(objective, l1_ratio, S)
    from ._preconditioner.changes import Centring

    p, null = objective.p, objective.null_point()
    null_slope(objective)  # is there any?
    slope = Centring(objective.center).pull(objective.loss_gradient(null)[1])
    slope[:, p:] = 0.0
    longest = np.sqrt(objective.by_problem(slope**2).max())
    slope = slope / longest  # squares of tiny units are in range then
    curved = objective.by_problem(objective.hessian_product(null)(slope) * slope)
    squares = objective.by_problem(slope**2)
    flat = squares == 0
    curvature = np.where(flat, 0.0, curved / np.where(flat, 1.0, squares)).max()
    C = 1 / (S * STRONG_RIDGE * float(curvature)) if curvature > 0 else np.inf
    if not np.isfinite(C):
        raise ValueError(ILL_POSED)
    return C

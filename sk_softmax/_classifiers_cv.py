"""The two cross-validated classifiers."""

from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._cross_validation.base import LinearClassifierCV


class SoftmaxClassifierCV(LinearClassifierCV, SoftmaxClassifier):
    """Multinomial logistic regression that chooses its penalty by cross-validation.

    Fits `SoftmaxClassifier` to every fold's training rows for every C and l1_ratio, scores it on
    the fold's test rows, and fits all rows with the best. Scores, choice and model are those of
    `sklearn.model_selection.GridSearchCV` around `SoftmaxClassifier`, sooner: each fit starts from
    the one with the next smaller C, folds share X, and they run side by side.

    Parameters
    ----------
    Cs : int or array-like, default=10
        Values of C to try, > 0; an int: so many in geometric progression from 1e-4 to 1e4.
    l1_ratios : array-like, default=(0.0,)
        Values of l1_ratio to try. 0: L2, 1: L1, between: elastic net.
    fit_intercept : bool, default=True
        Whether the models have intercepts. They are never penalised.
    cv : int, cross-validation generator or iterable, default=None
        The folds. None: 5, an int: so many, stratified by class and not shuffled; or what
        `sklearn.model_selection.GridSearchCV` takes.
    scoring : str, callable or None, default="neg_log_loss"
        The score: a name that scikit-learn knows, or ``scorer(estimator, X, y)``. None: accuracy.
    selection : {"best", "1se"}, default="best"
        "best": the point of the grid with the best mean score. "1se": with its l1_ratio, the
        smallest C whose mean score is within one standard error of that: a simpler model that
        the folds cannot tell from the best.
    refit : bool, default=True
        Whether to fit all rows with the choice. Otherwise the coefficients are the folds' mean:
        each at its own best point, or all at that of "1se"; ``C_`` and ``l1_ratio_`` are means
        too.
    class_weight : dict or "balanced", default=None
        As in `SoftmaxClassifier`; "balanced" balances each fold by itself.
    solver : {"auto", "lbfgs", "newton"}, default="auto"
        As in `SoftmaxClassifier`.
    tol : float, default=1e-4
        Largest violation of the optimality conditions allowed, in every fit.
    max_iter : int, default=1000
        Bound on the solver's iterations, in every fit.
    n_jobs : int, default=None
        Threads. None: as many as ``numba.get_num_threads()`` allows; -1: all processors. The
        result does not depend on it.
    verbose : int, default=0
        1: a line for each fit; more: the solver's progress too.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The choice.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        W in the units of X, float64; one row with two classes (for ``classes_[1]``).
    intercept_ : ndarray of shape (n_classes,) or (1,)
        b; sums to 0 over three classes or more.
    Cs_ : ndarray of shape (n_Cs,)
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        The grid, in the order in which it was given.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        nan where a fold could not be fitted or scored, as a fold that misses a class.
    mean_scores_, standard_errors_ : ndarray of shape (n_l1_ratios, n_Cs)
        Over folds: mean, and standard deviation (ddof=1) by the root of their number.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs, n_classes, n_features + 1)
        The folds' coefficients; last the intercept, if there is one. One row with two classes.
        nan for classes that a fold misses.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        Iterations of the folds' fits, each from the last one's end.
    n_evaluations_, converged_, objective_, optimality_, dual_gap_, solver_
        Of the refit; see `SoftmaxClassifier`. Not there with ``refit=False``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.

    See Also
    --------
    SoftmaxClassifier : One fit.
    softmax_path : All fits along a grid of C.
    sklearn.linear_model.LogisticRegressionCV : The same, less precisely.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import SoftmaxClassifierCV
    >>> X, y = load_wine(return_X_y=True)
    >>> clf = SoftmaxClassifierCV(Cs=[0.01, 1.0, 100.0]).fit(X, y)
    >>> clf.scores_.shape
    (5, 1, 3)
    >>> clf.C_ in clf.Cs_
    True
    """

    _plain = SoftmaxClassifier


class OvAClassifierCV(LinearClassifierCV, OvAClassifier):
    """One-vs-all logistic regression that chooses its penalty by cross-validation.

    Fits `OvAClassifier` to every fold's training rows for every C and l1_ratio, the same for all
    classes, scores it on the fold's test rows, and fits all rows with the best. Scores, choice and
    model are those of `sklearn.model_selection.GridSearchCV` around `OvAClassifier`, sooner: each
    fit starts from the one with the next smaller C, folds share X, and they run side by side.

    Parameters
    ----------
    Cs : int or array-like, default=10
        Values of C to try, > 0; an int: so many in geometric progression from 1e-4 to 1e4.
    l1_ratios : array-like, default=(0.0,)
        Values of l1_ratio to try. 0: L2, 1: L1, between: elastic net.
    fit_intercept : bool, default=True
        Whether the models have intercepts. They are never penalised.
    cv : int, cross-validation generator or iterable, default=None
        The folds. None: 5, an int: so many, stratified by class and not shuffled; or what
        `sklearn.model_selection.GridSearchCV` takes.
    scoring : str, callable or None, default="neg_log_loss"
        The score: a name that scikit-learn knows, or ``scorer(estimator, X, y)``. None: accuracy.
    selection : {"best", "1se"}, default="best"
        "best": the point of the grid with the best mean score. "1se": with its l1_ratio, the
        smallest C whose mean score is within one standard error of that: a simpler model that
        the folds cannot tell from the best.
    refit : bool, default=True
        Whether to fit all rows with the choice. Otherwise the coefficients are the folds' mean:
        each at its own best point, or all at that of "1se"; ``C_`` and ``l1_ratio_`` are means
        too.
    class_weight : dict or "balanced", default=None
        As in `OvAClassifier`; "balanced" balances each fold by itself.
    solver : {"auto", "lbfgs", "newton"}, default="auto"
        As in `OvAClassifier`.
    tol : float, default=1e-4
        Largest violation of the optimality conditions allowed, in every problem of every fit.
    max_iter : int, default=1000
        Bound on the solver's iterations, in every fit.
    n_jobs : int, default=None
        Threads. None: as many as ``numba.get_num_threads()`` allows; -1: all processors. The
        result does not depend on it.
    verbose : int, default=0
        1: a line for each fit; more: the solver's progress too.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The choice.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        In the units of X, float64; one row with two classes (for ``classes_[1]``).
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts.
    Cs_ : ndarray of shape (n_Cs,)
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        The grid, in the order in which it was given.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        nan where a fold could not be fitted or scored, as a fold that misses a class.
    mean_scores_, standard_errors_ : ndarray of shape (n_l1_ratios, n_Cs)
        Over folds: mean, and standard deviation (ddof=1) by the root of their number.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs, n_classes, n_features + 1)
        The folds' coefficients; last the intercept, if there is one. One row with two classes.
        nan for classes that a fold misses.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        Iterations of the folds' fits, each from the last one's end; the most of any class.
    n_evaluations_, converged_, objective_, optimality_, dual_gap_, solver_
        Of the refit; see `OvAClassifier`. Not there with ``refit=False``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.

    See Also
    --------
    OvAClassifier : One fit.
    ova_path : All fits along a grid of C.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import OvAClassifierCV
    >>> X, y = load_wine(return_X_y=True)
    >>> clf = OvAClassifierCV(Cs=[0.01, 1.0, 100.0], selection="1se").fit(X, y)
    >>> clf.mean_scores_.shape
    (1, 3)
    >>> clf.converged_
    array([ True,  True,  True])
    """

    _plain = OvAClassifier

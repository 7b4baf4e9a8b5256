"""The two classifiers."""

from typing import Any

import numpy as np

from ._base import LinearClassifier
from ._prediction import in_dtype, log_sigmoid, log_softmax, softmax, two_columns
from ._typing import Array


class SoftmaxClassifier(LinearClassifier):
    """Multinomial logistic regression with L2, L1 or elastic-net penalty.

    Minimises, over coefficients W and intercepts b,

        (1/S) sum_i s_i [logsumexp(W x_i + b) - (W x_i + b)_{y_i}]
        + (1 - l1_ratio) / (2 C S) ||W||^2 + l1_ratio / (C S) ||W||_1

    where s_i is a row's weight times its class weight and S their sum: the objective of
    `sklearn.linear_model.LogisticRegression` divided by C S. With two classes there is one weight
    vector and the loss is the binary one.

    Each fit certifies what it reached: the largest violation of the optimality conditions is at
    most ``tol``, and the objective is within ``0.01 * tol`` of the null model's objective from
    the optimum. It warns where it could not.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength, > 0. ``np.inf``: no penalty.
    l1_ratio : float, default=0.0
        0: L2, 1: L1, between: elastic net.
    fit_intercept : bool, default=True
        Whether the model has intercepts. They are never penalised.
    class_weight : dict or "balanced", default=None
        Weights by class, on top of ``sample_weight``. "balanced": every class has the same
        total weight.
    solver : {"auto", "lbfgs", "newton"}, default="auto"
        Each serves every penalty, storage and size; "auto" is the one that should be faster.
        "lbfgs": L-BFGS, in variables that the Hessian makes round; for L1 and elastic net
        bound-constrained on a working set, finished by Newton steps. "newton": Newton with the
        exact Hessian; for L1 and elastic net proximal Newton on a working set.
    tol : float, default=1e-4
        Largest violation of the optimality conditions allowed.
    max_iter : int, default=1000
        Bound on the solver's iterations, summed over its stages.
    warm_start : bool, default=False
        Whether to start from the last fit's coefficients, matched by class label.
    n_jobs : int, default=None
        Threads. None: as many as ``numba.get_num_threads()`` allows; -1: all processors. The
        result does not depend on it.
    verbose : int, default=0
        If positive, print the solver's progress.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        W in the units of X, float64; one row with two classes (for ``classes_[1]``).
    intercept_ : ndarray of shape (n_classes,) or (1,)
        b; sums to 0 over three classes or more.
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver.
    n_evaluations_ : float
        Evaluations of the objective and its gradient, in passes over all rows.
    converged_ : bool
        Whether the optimum is certified.
    objective_ : float
        The objective at the solution: a mean loss (nats a row) plus the penalty.
    optimality_ : float
        Largest violation of the optimality conditions, in units of the objective by units of the
        coefficient.
    dual_gap_ : float
        Upper bound on ``objective_`` minus the optimum, in the same units; nan without a penalty.
    solver_ : str
        The solver that ran.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.

    See Also
    --------
    OvAClassifier : One binary problem a class.
    sklearn.linear_model.LogisticRegression : The same model.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import SoftmaxClassifier
    >>> X, y = load_wine(return_X_y=True)  # columns from 0.1 to 1680: no scaling needed
    >>> clf = SoftmaxClassifier().fit(X, y)
    >>> clf.converged_
    True
    >>> clf.dual_gap_ < 1e-6
    True
    """

    _coupled = True

    def _probability(self, raw: Array) -> Array:
        return super()._probability(raw) if raw.shape[1] == 1 else softmax(raw)

    def _log_probability(self, raw: Array) -> Array:
        return two_columns(raw) if raw.shape[1] == 1 else log_softmax(raw)


class OvAClassifier(LinearClassifier):
    """One-vs-all logistic regression: one binary problem a class, all fitted in the same passes.

    For each class k minimises, over w_k and b_k, the binary logistic loss of "class k or not"

        (1/S) sum_i s_ik log(1 + exp(-t_ik (w_k x_i + b_k)))
        + (1 - l1_ratio) / (2 C S) ||w_k||^2 + l1_ratio / (C S) ||w_k||_1

    with t_ik = 1 for rows of class k and -1 for the others. The problems share each pass over X
    and nothing else: a class's coefficients, certificate and iterations are its own. With two
    classes there is one problem, and the model is that of `SoftmaxClassifier`.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength, > 0. ``np.inf``: no penalty.
    l1_ratio : float, default=0.0
        0: L2, 1: L1, between: elastic net.
    fit_intercept : bool, default=True
        Whether the model has intercepts. They are never penalised.
    class_weight : dict or "balanced", default=None
        Weights by class, on top of ``sample_weight``. A dict weighs each row by its own class;
        "balanced" gives the two sides of each binary problem the same total weight.
    solver : {"auto", "lbfgs", "newton"}, default="auto"
        Each serves every penalty, storage and size; "auto" is the one that should be faster.
        "lbfgs": L-BFGS, in variables that the Hessian makes round; for L1 and elastic net
        bound-constrained on a working set, finished by Newton steps. "newton": Newton with the
        exact Hessian; for L1 and elastic net proximal Newton on a working set.
    tol : float, default=1e-4
        Largest violation of the optimality conditions allowed, in each problem.
    max_iter : int, default=1000
        Bound on the solver's iterations, summed over its stages.
    warm_start : bool, default=False
        Whether to start from the last fit's coefficients, matched by class label.
    n_jobs : int, default=None
        Threads. None: as many as ``numba.get_num_threads()`` allows; -1: all processors. The
        result does not depend on it.
    verbose : int, default=0
        If positive, print the solver's progress.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        In the units of X, float64; one row with two classes (for ``classes_[1]``).
    intercept_ : ndarray of shape (n_classes,) or (1,)
        Intercepts.
    n_iter_ : ndarray of shape (n_classes,) or (1,)
        Iterations in which each problem took part.
    n_evaluations_ : float
        Evaluations of the objectives and their gradients, in passes over all rows.
    converged_ : ndarray of shape (n_classes,) or (1,), bool
        Whether each problem's optimum is certified.
    objective_ : ndarray of shape (n_classes,) or (1,)
        Each problem's objective: a mean loss (nats a row) plus the penalty.
    optimality_ : ndarray of shape (n_classes,) or (1,)
        Largest violation of the optimality conditions, in units of the objective by units of the
        coefficient.
    dual_gap_ : ndarray of shape (n_classes,) or (1,)
        Upper bound on ``objective_`` minus the optimum, in the same units; nan without a penalty.
    solver_ : str
        The solver that ran.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.

    See Also
    --------
    SoftmaxClassifier : One coupled problem for all classes.
    sklearn.multiclass.OneVsRestClassifier : Any binary classifier, once a class.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import OvAClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> clf = OvAClassifier(l1_ratio=1.0).fit(X, y)
    >>> clf.converged_
    array([ True,  True,  True])
    """

    _coupled = False

    def _log_probability(self, raw: Array) -> Array:
        return two_columns(raw) if raw.shape[1] == 1 else log_softmax(log_sigmoid(raw))

    def predict_ova_proba(self, X: Any) -> Array:
        """The binary problems' own probabilities, which need not sum to 1 over classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            With two classes ``1 - p`` and ``p``. In X's dtype.
        """
        return np.exp(self.predict_log_ova_proba(X))

    def predict_log_ova_proba(self, X: Any) -> Array:
        """Logarithm of `predict_ova_proba`, finite where that underflows to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """

        def logarithms(raw: Array, dtype: Any) -> Array:
            return in_dtype(two_columns(raw) if raw.shape[1] == 1 else log_sigmoid(raw), dtype)

        return self._predicted(X, logarithms)

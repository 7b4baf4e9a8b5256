"""Problems that are hard in many ways at once, and what the fits claim of them.

Values, gradients and bounds are those of the twins in `problems`, in the widest float there is.
"""

import ast
import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from problems import Problem, needs_jit, out_of_cache
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from test_laws import Rows, inseparable
from test_separation import expected

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._solvers import orthants, support_step

pytestmark = [
    needs_jit,
    pytest.mark.skipif(not naive.WIDE_IS_WIDER, reason="no float here is wide enough to judge"),
]

TOL = 1e-4
GOAL = 1e-6  # of the null model's objective: what a fit with TOL certifies
# With weaker penalties than this C the Newton decrement may be all that certifies, and too small by
# far: where the step moves logits by more than 1, or the Hessian's jitter hides a flat direction.
WEAKEST = 1.0
# With larger entries than 2^13, or 8192, the change of F in a step may be lost in rounding, and a
# fit end that meets its goal while the gradient, in the units of the largest columns, is above TOL.
UNITS = (-66, 13)
DAMPING = (0.0, *10.0 ** np.arange(-26, 14, 2))  # of Newton steps, relative
SOME = 64 * float(np.finfo(float).eps)  # rounding errors

# ---- data -----------------------------------------------------------------------------------
#
# Plain features are multiples of 1/8; units, offsets and outliers are powers of 2. So copies,
# combinations and nearly collinear features are exactly that, and a linear programme over the
# plain features is one over X.

COLUMNS = (
    *["new"] * 5,
    *("copy", "copy in other units", "combination", "real combination", "nearly a copy"),
    *("constant", "offset", "one-hot", "rare"),
)
LABELS = ["separable", "nearly separable", "noise", "rare classes", "one large class"]
WEIGHTS = ["none", "none", "wild", "zeros"]
STORED = ["dense", "dense", "Fortran", "CSR"]


@dataclass
class Hard:
    """Training data, with every class in a row of positive weight.

    Attributes
    ----------
    X : ndarray of shape (n, p) or CSR matrix
    y : ndarray of shape (n,)
        Names of classes.
    s : ndarray of shape (n,) or None
    plain : ndarray of shape (n, r)
        Well-scaled features, of which those of X are linear functions, and the other way round.
        With offsets this holds where there is an intercept and no outliers.
    kinds : set of str
        Kinds of X's columns.
    made_of : str
        How X was made.
    """

    X: Any
    y: np.ndarray
    s: np.ndarray | None
    plain: np.ndarray
    kinds: set[str]
    made_of: str


def rounded(values):
    return np.round(values * 8) / 8


def make_columns(rng, kinds, units, n, limits):
    """X (n, p) and the plain features that it is made of."""
    plain, columns, powers = [], [], []
    for kind, unit in zip(kinds, units, strict=True):
        if kind not in ("new", "offset", "constant", "one-hot", "rare") and not columns:
            kind = "new"
        old = rng.integers(len(columns)) if columns else 0
        if kind in ("new", "offset"):
            column = rounded(2 * rng.normal(size=n))
            plain.append(column)
            if kind == "offset":
                column = column + 2.0 ** rng.integers(*limits.offsets)
        elif kind == "constant":
            column = np.ones(n)
            plain.append(column)
        elif kind == "one-hot":
            column = (rng.integers(rng.integers(2, 6), size=n) == 0).astype(float)
            plain.append(column)
        elif kind == "rare":
            column = np.zeros(n)
            column[rng.integers(n, size=rng.integers(1, 4))] = 1.0
            plain.append(column)
        elif kind in ("copy", "copy in other units"):
            column = columns[old]
            unit = powers[old] if kind == "copy" else unit
        elif kind == "nearly a copy":
            noise = rounded(2 * rng.normal(size=n))
            plain.append(noise)
            column = columns[old] + 2.0**-limits.near * noise
        elif kind == "combination":
            among = rng.integers(len(columns), size=3)
            column = sum(c * columns[j] for c, j in zip((1.0, -2.0, 1.0), among, strict=True))
        else:
            column = np.column_stack(columns) @ rng.normal(size=len(columns))
        columns.append(column)
        powers.append(unit)
    return np.column_stack(columns) * 2.0 ** np.array(powers), np.column_stack(plain)


def make_labels(rng, kind, K, plain):
    """Codes, each of which occurs."""
    n = len(plain)
    if kind in ("separable", "nearly separable"):
        y = (plain @ rng.normal(size=(plain.shape[1], K)) + rng.normal(size=K)).argmax(axis=1)
        if kind == "nearly separable":
            flipped = rng.integers(n, size=rng.integers(1, 4))
            y[flipped] = rng.integers(K, size=flipped.size)
    elif kind == "noise":
        y = rng.integers(K, size=n)
    elif kind == "rare classes":
        y = np.zeros(n, dtype=int)
        rare = np.repeat(np.arange(1, K), rng.integers(1, 4, K - 1))[: n - 1]
        y[rng.permutation(n)[: rare.size]] = rare
    else:
        y = np.where(rng.random(n) < 0.99, 0, rng.integers(K, size=n))
    if np.unique(y).size < 2:
        y[rng.integers(n)] = (y[0] + 1) % K
    return np.unique(y, return_inverse=True)[1]


@dataclass(frozen=True)
class Limits:
    """How hard data may be."""

    columns: tuple[str, ...] = COLUMNS
    units: tuple[int, int] = (-66, 31)  # of columns, as powers of 2; the last bounds entries, too
    offsets: tuple[int, int] = (10, 21)  # of a column, in units of its spread, as powers of 2
    near: int = 20  # nearly a copy is a column with noise of its spread over 2 to this power
    outliers: int = 10  # the power of 2 by which rows are longer, at most
    weights: int = 6  # the powers of 10, up and down, between which weights are


def make_hard(seed, limits):
    """Data that are hard in several ways, chosen at random."""
    rng = np.random.default_rng(seed)
    n = rng.choice([rng.integers(5, 41), rng.integers(5, 201)])
    K = rng.integers(2, min(6, n - 1) + 1)
    kinds = rng.choice(limits.columns, size=rng.choice([rng.integers(1, 6), rng.integers(1, 31)]))
    units = rng.integers(*limits.units, kinds.size) * (rng.random(kinds.size) < rng.choice(3) / 2)
    labels, weights = rng.choice(LABELS), rng.choice(WEIGHTS)
    storage = rng.choice(STORED)
    tails = rng.choice([0, 0, min(3, limits.outliers), limits.outliers])
    X, plain = make_columns(rng, kinds, units, n, limits)
    y = make_labels(rng, labels, K, plain)
    far = 2.0 ** np.rint(np.abs(rng.standard_t(2, n)).clip(0, 10) * tails / 10)
    X, plain = X * far[:, None], plain * far[:, None]
    excess = np.frexp(np.abs(X).max(axis=0))[1] - limits.units[1]
    X = X * 2.0 ** -np.maximum(excess, 0)
    s = None
    if weights == "wild":
        s = 10.0 ** rng.uniform(-limits.weights, limits.weights, n)
        s /= s.mean()
    elif weights == "zeros":
        s = np.where(rng.random(n) < 0.6, 0.0, rng.uniform(0.5, 2, n))
        s[[0, np.argmax(y != y[0])]] = 1.0
    if rng.random() < 0.2 and (X.astype(np.float32) == X).all():
        X = X.astype(np.float32)
    made_of = f"{n=} {K=} {labels=!s} {weights=!s} {storage=!s} {tails=} {X.dtype}: " + ", ".join(
        f"{kind} {unit:+}" for kind, unit in zip(kinds, units, strict=True)
    )
    if storage == "CSR":
        X = sparse.csr_matrix(X)
    elif storage == "Fortran":
        X = np.asfortranarray(X)
    return Hard(X, np.array(list("abcdef"))[y], s, plain, set(kinds.tolist()), made_of)


def hard(**limits):
    """Strategy: `make_hard`."""
    return st.integers(0, 2**32 - 1).map(lambda seed: make_hard(seed, Limits(**limits)))


strengths = st.sampled_from([1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6])
balancing = st.sampled_from([None, None, "balanced"])


# ---- what is true of a fit ------------------------------------------------------------------


def fitted(model, hard):
    """A fit, and the texts of its warnings, which are all of convergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = clone(model).fit(hard.X, hard.y, hard.s)
    assert all(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return classifier, [str(warning.message) for warning in caught]


def problem_of(classifier, hard):
    """The twin of what was fitted, without rows of weight 0, and the rows that are left."""
    s = np.ones(len(hard.y)) if hard.s is None else hard.s
    kept = s > 0
    y, s = np.searchsorted(classifier.classes_, hard.y[kept]), s[kept]
    coupled = isinstance(classifier, SoftmaxClassifier)
    balanced = classifier.class_weight == "balanced"
    if coupled and balanced:
        s = s * (s.sum() / (classifier.classes_.size * np.bincount(y, s)))[y]
    problem = Problem(
        hard.X[kept],
        y,
        s,
        n_classes=classifier.classes_.size,
        coupled=coupled,
        balanced=balanced and not coupled,
        C=classifier.C,
        l1_ratio=classifier.l1_ratio,
        fit_intercept=classifier.fit_intercept,
    )
    return problem, kept


def point_of(problem, classifier):
    point = np.column_stack([classifier.coef_, classifier.intercept_])
    return point[:, : problem.shape[1]]


def rounding(problem, point):
    """What float64 may leave undecided of F, (m,), and of its gradient, (K, q).

    A logit has some errors of the size of the terms that it is a sum of, a probability some of
    size 1.  So have weights, unless they balance a side that has little weight itself: that is
    what the other side leaves of 1.
    """
    A, (lambda1, lambda2) = np.abs(problem.features()), problem.lambdas
    logits = SOME * (A @ np.abs(naive.wide(point)).T).max(axis=1, keepdims=True)
    balance = SOME * max(problem.sides[1]) if problem.balanced else 0.0
    values, gradients = [], []
    for Y, P, weights, columns in problem.as_simplex(point):
        weights = weights[:, None]
        residual = weights * np.abs(P - Y)
        values.append((residual * logits).sum() + SOME + balance)
        slope = weights * (2 * P * (1 - P) * logits + SOME) + balance * residual
        gradients.append(slope[:, columns].T @ A)
    penalty = SOME * (lambda1 + lambda2 * np.abs(point))
    return np.array(values), np.vstack(gradients) + penalty


def assert_true(classifier, problem, point):
    """What the fit says of itself is what the twins compute."""
    value_error, gradient_error = rounding(problem, point)
    value = problem.value(point)
    objective, optimality = np.atleast_1d(classifier.objective_, classifier.optimality_)
    assert (np.abs(objective - value) <= 1e-9 * value + value_error).all()
    error = gradient_error.max(axis=None if problem.softmax else 1)
    assert (np.abs(optimality - problem.optimality(point)) <= error).all()


def assert_finite(classifier, hard):
    assert np.isfinite(classifier.coef_).all()
    assert np.isfinite(classifier.intercept_).all()
    assert np.isfinite(classifier.objective_).all()
    probability = classifier.predict_proba(hard.X)
    assert np.isfinite(probability).all()
    rtol = 1e-12 if probability.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=rtol)


# ---- bounds on the optimum ------------------------------------------------------------------


def parts(problem):
    """The problem's parts that converge by themselves, each as a problem, and their rows."""
    if len(problem.columns) == 1 or problem.softmax:
        return [(problem, slice(None))]
    return [
        (replace(problem, y=(problem.y == k).astype(int), n_classes=2), slice(k, k + 1))
        for k in range(problem.n_classes)
    ]


@dataclass
class NewtonSystem:
    """The Hessian J'J of a problem at a point, by rows that are centred with their curvature."""

    sizes: np.ndarray  # (d,), singular values of J
    vectors: np.ndarray  # (d, K, q), right singular vectors as steps
    pulled: np.ndarray  # (d,), the gradient along them
    reach: float  # how far a step of length 1 in the Hessian's norm can move logits apart
    whole: bool  # whether rounding hides the curvature of no direction

    @classmethod
    def at(cls, problem, point):
        lambda2, (K, q), p = problem.lambdas[1], problem.shape, problem.X.shape[1]
        ((_, P, weights, columns),) = problem.as_simplex(point)
        curvature = weights * (P * (1 - P)).sum(axis=1)
        X, center = naive.wide(problem.features()), np.zeros(q, dtype=naive.WIDE)
        if problem.fit_intercept and curvature.any():
            center[:p] = curvature @ X[:, :p] / curvature.sum()
        _, gradient = problem.loss_gradient(point)
        gradient[:, :p] += lambda2 * point[:, :p]
        gradient = gradient - gradient[:, p:].sum(axis=1, keepdims=True) * center
        X = (X - center).astype(float)
        ridge = np.sqrt(lambda2) * np.diag(np.tile(np.arange(q) < p, K).astype(float))
        J = np.vstack([*curvature_roots(P.astype(float), weights.astype(float), columns, X), ridge])
        if problem.softmax:  # shifts of all classes, which neither the loss nor an optimum has
            J = np.vstack([J, np.tile(np.diag(np.linalg.norm(J, axis=0)[:q]), K)])
        scale = np.linalg.norm(J, axis=0)
        scale = 1 / np.where(scale > 0, scale, np.inf)
        J = J * scale
        J = J[np.argsort(-np.linalg.norm(J, axis=1))]  # QR keeps small rows that are below
        _, sizes, V = np.linalg.svd(np.linalg.qr(J, mode="r"), full_matrices=False)
        kept = sizes > 1e-14 * sizes[0]
        sizes, V = sizes[kept], V[kept] * scale
        pulled = V @ gradient.ravel()
        V = V.reshape(-1, K, q)
        Z = (V / sizes[:, None, None]) @ X.T  # (d, K, n), the logits of unit steps
        if problem.softmax:
            Z = Z - Z[:, problem.y, np.arange(len(X))][:, None]
        reach = (2 if problem.softmax else 1) * np.sqrt((Z**2).sum(axis=0).max())
        V = naive.wide(V)
        if problem.softmax:
            V = V - V.mean(axis=1, keepdims=True)
        V[:, :, p:] -= (V @ center)[:, :, None]
        return cls(sizes, V, pulled, float(reach), sizes.size == scale.size)

    @property
    def decrement(self):
        """The gradient's length in the norm of the inverse Hessian."""
        return float(np.linalg.norm((self.pulled / self.sizes).astype(float)))

    def step(self, damping):
        """-(H + damping)^-1 gradient."""
        return -np.tensordot(self.pulled / (self.sizes**2 + damping), self.vectors, 1)


def curvature_roots(P, weights, columns, X):
    """Blocks of rows whose squares add up to the Hessian of the loss: (n, K q) for each class.

    diag(p) - pp' is the sum of p_k (e_k - p)(e_k - p)'.
    """
    for k in range(P.shape[1]):
        direction = ((np.arange(P.shape[1]) == k) - P)[:, columns]
        rows = np.sqrt(weights * P[:, k])[:, None] * direction
        yield (rows[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def optimum(problem, point):
    """Where Newton steps from the point, in wide floats, end: the point, F there and the system."""
    point, value = naive.wide(point), problem.value(point)[0]
    system = NewtonSystem.at(problem, point)
    for _ in range(100):
        far = system.decrement * system.reach > 0.1
        trials = [point + system.step(damping) for damping in (DAMPING if far else (0.0,))]
        values = [problem.value(trial)[0] for trial in trials]
        best = int(np.argmin(values))
        then = NewtonSystem.at(problem, trials[best])
        stuck = values[best] >= value if far else then.decrement > system.decrement / 2
        if stuck:
            break
        point, value, system = trials[best], values[best], then
    return point, value, system


def lower_bound(problem, point, value, system):
    """A value that F has nowhere.

    A dual value is one.  Another does not divide by the penalty.  Along a step that moves the
    logits of no row apart by more than r, the loss's curvature falls by a factor of exp(r) at most,
    so that F(step) - F >= gradient . step + (exp(-r) + r - 1) / r^2 |step|^2, in the norm of the
    Hessian.  For |step| = t <= 1 / reach that is at least -decrement t + t^2 / e.  Where it is
    positive for t = 1 / reach the minimum is nearer, and at most e / 4 decrement^2 below F.
    """
    dual = problem.lower_bound(point)[0]
    if not system.whole or np.e * system.decrement * system.reach >= 1:
        return dual
    return max(dual, value - np.e / 4 * system.decrement**2)


def suboptimality(problem, point, at_most=True):
    """F - min F over the null model's F, (m,): at most, or at least."""
    bounds = []
    for part, rows in parts(problem):
        found = optimum(part, point[rows])
        bounds.append(lower_bound(part, *found) if at_most else found[1])
    return (problem.value(point) - np.array(bounds)) / problem.null_value()


# ---- L2 -------------------------------------------------------------------------------------

models = st.builds(
    lambda Classifier, **params: Classifier(**params),
    st.sampled_from([SoftmaxClassifier, OvAClassifier]),
    C=strengths,
    fit_intercept=st.booleans(),
    class_weight=balancing,
)


@settings(max_examples=60)
@given(hard=hard(units=UNITS), model=models)
def test_a_penalised_fit_is_certified(hard, model):
    note(hard.made_of)
    classifier, messages = fitted(model, hard)
    assert not messages
    assert np.all(classifier.converged_)
    assert np.all(classifier.optimality_ <= TOL)
    assert_finite(classifier, hard)
    problem, _ = problem_of(classifier, hard)
    point = point_of(problem, classifier)
    assert_true(classifier, problem, point)
    assert (problem.violation(point) <= TOL + rounding(problem, point)[1]).all()
    if model.C <= WEAKEST:
        assert (suboptimality(problem, point) <= GOAL).all()


@settings(max_examples=60)
@given(hard=hard(), model=models)
def test_what_the_hardest_fits_say_is_true(hard, model):
    note(hard.made_of)
    classifier, messages = fitted(model, hard)
    assert bool(messages) == (not np.all(classifier.converged_))
    assert_finite(classifier, hard)
    problem, _ = problem_of(classifier, hard)
    point = point_of(problem, classifier)
    assert_true(classifier, problem, point)
    at_least = suboptimality(problem, point, at_most=False)
    converged = np.atleast_1d(classifier.converged_)
    if model.C <= WEAKEST:
        assert (at_least[converged] <= GOAL).all()
    gap = np.atleast_1d(classifier.dual_gap_) / problem.null_value()
    error = rounding(problem, point)[0] / problem.null_value()
    assert (at_least <= gap * (1 + 1e-9) + error).all()


# ---- L1 and elastic net ---------------------------------------------------------------------


milder = hard(units=(-10, 11), offsets=(3, 8), near=13, outliers=3, weights=1)
ratios = st.sampled_from([0.5, 1.0])


def assert_a_sparse_fit_is_certified(hard, model, l1_ratio):
    note(hard.made_of)
    model.set_params(C=min(model.C, 100.0), l1_ratio=l1_ratio)
    classifier, messages = fitted(model, hard)
    assert not messages
    assert_finite(classifier, hard)
    problem, _ = problem_of(classifier, hard)
    point = point_of(problem, classifier)
    assert_true(classifier, problem, point)
    assert (problem.violation(point) <= TOL + rounding(problem, point)[1]).all()
    # a dual value at any point is below the minimum
    tight, _ = fitted(clone(model).set_params(tol=1e-9), hard)
    lower = np.maximum(problem.lower_bound(point), problem.lower_bound(point_of(problem, tight)))
    assert (problem.value(point) - lower <= GOAL * problem.null_value()).all()


@settings(max_examples=60)
@given(hard=milder, model=models, l1_ratio=ratios)
def test_a_sparse_fit_is_certified(hard, model, l1_ratio):
    assert_a_sparse_fit_is_certified(hard, model, l1_ratio)


@settings(max_examples=60)
@given(hard=milder, model=models, l1_ratio=ratios, explicit=st.booleans())
def test_a_sparse_fit_by_orthants_is_certified(hard, model, l1_ratio, explicit):
    """As fits of a large sparse X, with Hessians of the non-zeros and without."""
    hard = replace(hard, X=sparse.csr_matrix(hard.X))
    with pytest.MonkeyPatch.context() as changed:
        out_of_cache(changed)
        changed.setattr(orthants, "LARGE", 0)
        if not explicit:
            changed.setattr(support_step, "SMALL_SUPPORT", 0)
        assert_a_sparse_fit_is_certified(hard, model, l1_ratio)


# ---- no penalty -----------------------------------------------------------------------------

# A linear programme over the plain features must be one over X, so that no combination is rounded.
# Directions along which rows, in units of the largest, differ by less than 1e-7 or so are given up
# as collinear: nearly collinear features come without outliers.  Curvature that is below 1e-14 of
# the largest is given up too, so that weights are within a factor of 100 of each other.
LINEAR = ("new", "new", "new", "copy", "copy in other units", "combination", "constant")
OTHERS = ("one-hot", "rare")
unpenalised = (
    hard(units=UNITS, columns=(*LINEAR, *OTHERS), weights=1)
    | hard(units=UNITS, columns=(*LINEAR, *OTHERS, "offset"), weights=1, outliers=0)
    | hard(units=UNITS, columns=(*LINEAR, *OTHERS, "nearly a copy"), weights=1, outliers=0, near=13)
)


def said_to_be_separated(messages):
    """The names in warnings of separation, which all of the messages are."""
    names = []
    for message in messages:
        assert "separable" in message, message
        names += ast.literal_eval(re.search(r"\[.*?\]", message)[0])
    return names


@settings(max_examples=60)
@given(hard=unpenalised, model=models)
def test_without_a_penalty_a_fit_converges_or_names_what_is_separated(hard, model):
    note(hard.made_of)
    model.set_params(C=np.inf)
    if "offset" in hard.kinds:
        model.set_params(fit_intercept=True)
    classifier, messages = fitted(model, hard)
    assert_finite(classifier, hard)
    problem, kept = problem_of(classifier, hard)
    A = np.column_stack([hard.plain, np.ones(len(hard.plain))][: 1 + model.fit_intercept])[kept]
    A /= np.maximum(np.abs(A).max(axis=1, keepdims=True), 1e-300)
    separated = expected(problem, A)
    np.testing.assert_array_equal(classifier.converged_, [not codes for codes in separated])
    said = said_to_be_separated(messages)
    assert said == [name for codes in separated for name in classifier.classes_[codes].tolist()]
    if "offset" not in hard.kinds:  # with them logits are differences of far larger numbers
        error = rounding(problem, point_of(problem, classifier))[1]
        violation = problem.optimality(point_of(problem, classifier))
        allowed = TOL + error.max(axis=None if problem.softmax else 1)
        assert (violation <= allowed)[np.atleast_1d(classifier.converged_)].all()


# ---- what may not matter --------------------------------------------------------------------


@settings(max_examples=8)
@given(hard=hard(), model=models, no_penalty=st.booleans())
def test_threads_change_no_bit(hard, model, no_penalty):
    note(hard.made_of)
    if no_penalty:
        model.set_params(C=np.inf)
    one, two = (fitted(clone(model).set_params(n_jobs=n), hard)[0] for n in (1, 2))
    for name in ("coef_", "intercept_", "objective_", "optimality_", "dual_gap_", "n_iter_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@settings(max_examples=20)
@given(
    hard=hard(columns=("new", "one-hot", "rare"), units=(-10, 11), outliers=3, weights=2),
    Classifier=st.sampled_from([SoftmaxClassifier, OvAClassifier]),
    power=st.integers(-20, 20),
    data=st.data(),
)
def test_a_coefficient_has_the_units_of_its_column(hard, Classifier, power, data):
    note(hard.made_of)
    s = np.ones(len(hard.y)) if hard.s is None else hard.s
    kept = s > 0
    X = hard.X.toarray() if sparse.issparse(hard.X) else hard.X.astype(np.float64)
    features = np.column_stack([X, np.ones(len(X))])[kept]
    assume(features.any(axis=0).all())
    features /= np.abs(features).max(axis=0)
    assume(np.linalg.matrix_rank(features, 1e-9) == features.shape[1])
    rows = inseparable(Rows(X[kept], np.unique(hard.y[kept], return_inverse=True)[1], s[kept]))
    units = np.ones(X.shape[1])
    units[data.draw(st.integers(0, X.shape[1] - 1))] = 2.0**power
    first = Classifier(C=np.inf, tol=1e-9).fit(rows.X, rows.y, rows.s)
    other = Classifier(C=np.inf, tol=1e-9 * min(1.0, 2.0**power))
    other.fit(rows.X * units, rows.y, rows.s)
    largest = np.abs(rows.X).max(axis=0)
    effect, moved = first.coef_ * largest, other.coef_ * units * largest
    np.testing.assert_allclose(moved, effect, rtol=1e-6, atol=1e-6 * np.abs(effect).max())
    probability = first.predict_proba(rows.X)
    np.testing.assert_allclose(other.predict_proba(rows.X * units), probability, atol=1e-6)

"""Input that cannot be fitted is refused in scikit-learn's words, and nothing is half-fitted."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import validate_data

from sk_softmax import OvAClassifier, SoftmaxClassifier, _validation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = np.arange(30) % 3
BOTH = (SoftmaxClassifier, OvAClassifier)


def state(classifier):
    """What a fit has stored, copied."""
    return {
        name: value.copy() if hasattr(value, "copy") else value
        for name, value in vars(classifier).items()
        if name.endswith("_")
    }


def assert_refused(classifier, error, match, *arguments, **keywords):
    """``fit`` raises; a fresh estimator stays fresh, a fitted one as it was."""
    parameters = classifier.get_params()
    fitted = clone(classifier).set_params(**type(classifier)().get_params()).fit(X, Y)
    fitted.set_params(**parameters)
    for estimator in (classifier, fitted):
        before = state(estimator)
        with pytest.raises(error, match=match):
            estimator.fit(*arguments, **keywords)
        after = state(estimator)
        assert after.keys() == before.keys()
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, err_msg=name)
        assert estimator.get_params() == parameters
    assert state(classifier) == {}
    np.testing.assert_array_equal(fitted.predict(X).shape, (30,))


def with_entry(array, at, value):
    array = array.copy()
    array[at] = value
    return array


# ---- data -----------------------------------------------------------------------------------

BAD_X = {
    "nan": (with_entry(X, (3, 1), np.nan), "NaN"),
    "inf": (with_entry(X, (3, 1), np.inf), "infinity"),
    "-inf": (with_entry(X, (3, 1), -np.inf), "infinity"),
    "float32 nan": (with_entry(X, (3, 1), np.nan).astype(np.float32), "NaN"),
    "nan in a sparse matrix": (sparse.csr_matrix(with_entry(X, (3, 1), np.nan)), "NaN"),
    "inf in a sparse matrix": (sparse.csr_matrix(with_entry(X, (3, 1), np.inf)), "infinity"),
    "one dimension": (X[:, 0], "Expected 2D array"),
    "three dimensions": (X[None], "Found array with dim 3|expected <= 2"),
    "no rows": (X[:0], "0 sample"),
    "no columns": (X[:, :0], r"0 feature\(s\)"),
    "complex": (X + 1j, "Complex data not supported"),
    "complex sparse matrix": (sparse.csr_matrix(X + 1j), "Complex data not supported"),
    "words": (np.full((30, 4), "word"), "could not convert|dtype='numeric' is not compatible"),
    "objects that are no numbers": (np.full((30, 4), object()), "argument must be|not supported"),
    "other number of rows": (X[:20], "inconsistent numbers of samples"),
    "ragged": ([[1.0, 2.0], [3.0]] * 15, "inhomogeneous|sequence"),
}


@pytest.mark.parametrize("case", BAD_X)
def test_bad_X_is_refused(Classifier, case):
    bad, match = BAD_X[case]
    assert_refused(Classifier(), (ValueError, TypeError), match, bad, Y)


BAD_Y = {
    "nan": (with_entry(Y.astype(float), 0, np.nan), "NaN"),
    "inf": (with_entry(Y.astype(float), 0, np.inf), "infinity"),
    "none": (None, "requires y to be passed"),
    "continuous": (Y + 0.5, "Unknown label type: continuous"),
    "one hot": (np.eye(3)[Y], "should be a 1d array"),
    "several columns": (np.column_stack([Y, Y]), "should be a 1d array"),
    "a number": (1, "should be a 1d array|not a|unsized|scalar"),
    "other number of rows": (Y[:20], "inconsistent numbers of samples"),
    "strings and numbers": (np.array(["a", 1, 2] * 10, dtype=object), "between|(?i:label)"),
}


@pytest.mark.parametrize("case", BAD_Y)
def test_bad_y_is_refused(Classifier, case):
    bad, match = BAD_Y[case]
    assert_refused(Classifier(), (ValueError, TypeError), match, X, bad)


BAD_WEIGHTS = {
    "nan": (with_entry(np.ones(30), 0, np.nan), "NaN"),
    "inf": (with_entry(np.ones(30), 0, np.inf), "infinity"),
    "negative": (with_entry(np.ones(30), 0, -1e-9), "Negative values"),
    "all zero": (np.zeros(30), "(?i)zero"),
    "zero by a number": (0.0, "(?i)zero"),
    "two dimensions": (np.ones((30, 2)), "1D array|2D array"),
    "other number of rows": (np.ones(20), r"sample_weight.shape|inconsistent"),
    "words": (np.full(30, "word"), "could not convert"),
    "complex": (np.full(30, 1j), "(?i)complex"),
    "one class left": (np.where(Y == 1, 1.0, 0.0), "at least 2 classes.*only one class: .*1"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_refused(Classifier, case):
    bad, match = BAD_WEIGHTS[case]
    assert_refused(Classifier(), (ValueError, TypeError), match, X, Y, sample_weight=bad)


def test_weights_too_large_to_be_added_are_refused(Classifier):
    with np.errstate(over="ignore"):
        assert_refused(Classifier(), ValueError, "(?i)weight", X, Y, sample_weight=[1e308] * 30)


def test_class_weights_that_leave_one_class_are_refused(Classifier):
    match = "at least 2 classes"
    assert_refused(Classifier(class_weight={0: 0.0, 1: 0.0}), ValueError, match, X, Y)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_bad_class_weights_are_refused(Classifier, weight):
    assert_refused(Classifier(class_weight={0: weight}), ValueError, "(?i)weight", X, Y)


def test_a_column_as_y_is_taken_with_a_warning(Classifier):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        classifier = Classifier().fit(X, Y[:, None])
    np.testing.assert_array_equal(classifier.coef_, Classifier().fit(X, Y).coef_)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, object])
def test_other_kinds_of_numbers_are_taken(Classifier, dtype):
    data = (X > 0).astype(dtype) if dtype is bool else np.abs(np.round(X * 8)).astype(dtype)
    classifier = Classifier().fit(data, Y)
    same = Classifier().fit(data.astype(np.float64), Y)
    np.testing.assert_array_equal(classifier.coef_, same.coef_)
    np.testing.assert_array_equal(classifier.predict(data), same.predict(data))


def test_lists_are_taken(Classifier):
    classifier = Classifier().fit(X.tolist(), Y.tolist(), np.ones(30).tolist())
    np.testing.assert_array_equal(classifier.coef_, Classifier().fit(X, Y).coef_)


def assert_encoded_as_by_sorting(labels):
    classes, codes = _validation.encoded(labels)
    expected, places = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(classes, expected)
    np.testing.assert_array_equal(codes, places)
    assert classes.dtype == labels.dtype
    assert codes.dtype == np.int64


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u8", "U3", "f4"])
@pytest.mark.parametrize("shift", ["lowest", "none", "highest"])
@pytest.mark.parametrize("labels", [[3], [0, 0], [1, 0, 5, 1, 0, 9], [7, 100, 7], [*range(9), 2]])
def test_labels_are_encoded_as_by_sorting(dtype, shift, labels):
    """Small ranges at both ends of what a type of integers holds, and wide ones."""
    labels = np.array(labels)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        start = {"lowest": limits.min, "none": 0, "highest": limits.max - int(labels.max())}[shift]
        labels = np.array([start + int(label) for label in labels])
    labels = labels.astype(dtype)
    assert_encoded_as_by_sorting(labels)


def test_labels_far_apart_are_encoded():
    for dtype in (np.int8, np.int64, np.uint64):
        limits = np.iinfo(dtype)
        labels = np.array([limits.max, limits.min, limits.max], dtype=dtype)
        classes, codes = _validation.encoded(labels)
        np.testing.assert_array_equal(classes, labels[1::-1])
        np.testing.assert_array_equal(codes, [1, 0, 1])


NAMES = {
    "one": ["a"],
    "letters": [chr(code) for code in range(60, 100)],
    "of several lengths": ["", "b", "ab", "a", "bbbbbbbbbbbb", "aé", "\U0001f600", "ba"],
    "all different": [f"row {row}" for row in range(5000)],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("form", ["plain", "every other", "other byte order", "all hashes equal"])
def test_many_strings_are_encoded_as_by_sorting(names, form, monkeypatch):
    chosen = np.random.default_rng(0).integers(0, len(names), 10_000)
    labels = np.array(names)[chosen]
    if form == "every other":
        labels = labels[::2]
    if form == "other byte order":
        labels = labels.astype(labels.dtype.newbyteorder())
    if form == "all hashes equal":
        monkeypatch.setattr(_validation, "HASH", 0)
    assert_encoded_as_by_sorting(labels)


LABELS = {"int": Y, "bool": Y > 0, "text": Y.astype("U1"), "uint8": Y.astype(np.uint8)}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("layout", ["C", "F", "every other row"])
def test_plain_arrays_are_looked_at_once(Classifier, layout, labels, monkeypatch):
    """scikit-learn's checks, which are slow, would return them as they are."""
    data = {"C": X, "F": np.asfortranarray(X), "every other row": np.repeat(X, 2, axis=0)[::2]}
    data = data[layout]
    checked, skipped = [], []
    for plain, into in ((_validation._plain, skipped), (lambda _: False, checked)):
        monkeypatch.setattr(_validation, "_plain", plain)

        def counting(*args, into=into, skip_check_array=False, **keywords):
            into.append(skip_check_array)
            return validate_data(*args, skip_check_array=skip_check_array, **keywords)

        monkeypatch.setattr(_validation, "validate_data", counting)
        classifier = Classifier().fit(data, labels)
        predicted = classifier.predict_proba(data)
        into += [state(classifier), predicted]
    assert skipped[:2] == [True, True]
    assert checked[:2] == [False, False]
    assert skipped[2].keys() == checked[2].keys()
    for name, value in checked[2].items():
        np.testing.assert_array_equal(skipped[2][name], value, err_msg=name)
    np.testing.assert_array_equal(skipped[3], checked[3])
    assert classifier.n_features_in_ == 4


def test_read_only_data_are_taken_and_not_written_to(Classifier):
    arrays = [array.copy() for array in (X, Y, np.ones(30))]
    for array in arrays:
        array.flags.writeable = False
    classifier = Classifier().fit(*arrays)
    np.testing.assert_array_equal(classifier.coef_, Classifier().fit(X, Y).coef_)
    matrix = sparse.csr_matrix(X)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    np.testing.assert_allclose(Classifier().fit(matrix, Y).coef_, classifier.coef_, rtol=1e-6)


# ---- sparse formats -------------------------------------------------------------------------

S = np.where(np.abs(X) > 0.5, X, 0.0)
FORMATS = ["csr", "csc", "coo", "dok", "lil", "bsr", "dia"]


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", FORMATS)
def test_all_sparse_formats_are_taken(Classifier, name, kind):
    data = getattr(sparse, f"{name}_{kind}")(S)
    same = Classifier().fit(sparse.csr_matrix(S), Y)
    classifier = Classifier().fit(data, Y)
    np.testing.assert_array_equal(classifier.coef_, same.coef_)
    np.testing.assert_array_equal(
        classifier.predict_proba(data), same.predict_proba(sparse.csr_matrix(S))
    )


def test_64_bit_indices_are_taken(Classifier):
    data = sparse.csr_matrix(S)
    same = Classifier().fit(data, Y)
    data.indices, data.indptr = data.indices.astype(np.int64), data.indptr.astype(np.int64)
    classifier = Classifier().fit(data, Y)
    np.testing.assert_array_equal(classifier.coef_, same.coef_)
    np.testing.assert_array_equal(
        classifier.predict_proba(data), same.predict_proba(sparse.csr_matrix(S))
    )


def test_duplicate_and_unsorted_entries_are_added_up_and_left_as_they_are(Classifier):
    data = sparse.csr_matrix(S)
    # every entry as two halves, the columns from right to left
    halves = np.repeat(data.data / 2, 2)
    indices = np.repeat(data.indices, 2)
    for i in range(30):
        row = slice(2 * data.indptr[i], 2 * data.indptr[i + 1])
        indices[row], halves[row] = indices[row][::-1].copy(), halves[row][::-1].copy()
    odd = sparse.csr_matrix((halves, indices, 2 * data.indptr), shape=S.shape)
    assert not odd.has_canonical_format
    classifier = Classifier().fit(odd, Y)
    same = Classifier().fit(S, Y)
    np.testing.assert_allclose(classifier.coef_, same.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(classifier.predict_proba(odd), same.predict_proba(S), rtol=1e-6)
    assert odd.nnz == 2 * data.nnz
    np.testing.assert_array_equal(odd.indices, indices)


def test_a_sparse_matrix_without_entries_gives_the_null_model(Classifier):
    classifier = Classifier().fit(sparse.csr_matrix((30, 4)), Y)
    assert not classifier.coef_.any()
    np.testing.assert_allclose(classifier.predict_proba(S[:1]), np.full((1, 3), 1 / 3), rtol=1e-6)


def corrupt(at, value):
    """A CSR matrix with one wrong number in its structure."""
    data = sparse.csr_matrix(S)
    name, position = at
    getattr(data, name)[position] = value
    return data


CORRUPT = {
    "column beyond the last": (("indices", 3), 4),
    "column far beyond": (("indices", 3), 2**30),
    "negative column": (("indices", 3), -1),
    "row that ends before it begins": (("indptr", 5), 0),
    "row that ends beyond the data": (("indptr", 30), 10_000),
    "first row not at 0": (("indptr", 0), 1),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_corrupt_csr_is_refused(Classifier, case):
    assert_refused(Classifier(), ValueError, "ind", corrupt(*CORRUPT[case]), Y)


@pytest.mark.parametrize("case", CORRUPT)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_corrupt_csr_is_refused_by_predictions(Classifier, method, case):
    classifier = Classifier().fit(S, Y)
    with pytest.raises(ValueError, match="ind"):
        getattr(classifier, method)(corrupt(*CORRUPT[case]))


# ---- parameters -----------------------------------------------------------------------------

BAD_PARAMETERS = {
    "C": [0, -1.0, np.nan, -np.inf, "1", None],
    "l1_ratio": [-0.1, 1.1, np.nan, np.inf, "0.5", None],
    "fit_intercept": ["yes", 2, None],
    "class_weight": ["uniform", [1, 2, 3], 1.0],
    "solver": ["saga", None, 1],
    "tol": [-1e-9, np.nan, "small", None],
    "max_iter": [-1, 1.5, "many", None],
    "warm_start": ["yes", 2, None],
    "n_jobs": [1.5, "all"],
    "verbose": [-1, "loud", None],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_wrong_parameters_are_refused(Classifier, name, value):
    match = f"The '{name}' parameter of {Classifier.__name__} must be"
    assert_refused(Classifier(**{name: value}), InvalidParameterError, match, X, Y)


def test_every_parameter_is_checked(Classifier):
    assert set(BAD_PARAMETERS) == set(Classifier().get_params())


GOOD_PARAMETERS = {
    "C": [1, np.float32(0.5), np.inf],
    "l1_ratio": [0, 1, np.float64(0.5)],
    "fit_intercept": [np.True_],
    "class_weight": ["balanced", {0: 1}, {}, None],
    "solver": ["auto", "lbfgs", "newton"],
    "tol": [1, 1e-6],
    "max_iter": [np.int64(500)],
    "warm_start": [np.True_],
    "n_jobs": [None, 1, np.int64(2), -1],
    "verbose": [False, 0],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in GOOD_PARAMETERS.items() for value in values],
)
def test_right_parameters_of_any_type_are_taken(Classifier, name, value):
    assert np.all(Classifier(**{name: value}).fit(X, Y).converged_)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_every_solver_takes_every_penalty(Classifier, solver, l1_ratio):
    classifier = Classifier(solver=solver, l1_ratio=l1_ratio).fit(X, Y)
    assert classifier.solver_ == solver
    assert np.all(classifier.converged_)


def test_newton_is_taken_where_there_is_no_penalty_whatever_l1_ratio(Classifier):
    classifier = Classifier(solver="newton", l1_ratio=1.0, C=np.inf).fit(X, Y)
    assert classifier.solver_ == "newton"
    assert np.all(classifier.converged_)


# ---- prediction -----------------------------------------------------------------------------

METHODS = {
    Classifier: [
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
        *(["predict_ova_proba", "predict_log_ova_proba"] if Classifier is OvAClassifier else []),
    ]
    for Classifier in BOTH
}
over_methods = pytest.mark.parametrize(
    ("Class", "method"), [(Class, method) for Class in BOTH for method in METHODS[Class]]
)


@over_methods
def test_predictions_need_a_fit(Class, method):
    with pytest.raises(NotFittedError, match=f"This {Class.__name__} instance is not fitted yet"):
        getattr(Class(), method)(X)


@pytest.mark.parametrize("method", ["sparsify", "densify"])
def test_other_storage_needs_a_fit(Classifier, method):
    with pytest.raises(NotFittedError):
        getattr(Classifier(), method)()


@over_methods
def test_predictions_need_the_same_number_of_features(Class, method):
    classifier = Class().fit(X, Y)
    for data in (X[:, :3], np.hstack([X, X]), sparse.csr_matrix(X[:, :3])):
        with pytest.raises(ValueError, match=r"expecting 4 features as input"):
            getattr(classifier, method)(data)


@over_methods
def test_predictions_refuse_what_is_not_finite(Class, method):
    classifier = Class().fit(X, Y)
    for data in (with_entry(X, (0, 0), np.nan), sparse.csr_matrix(with_entry(X, (0, 0), np.inf))):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            getattr(classifier, method)(data)


@over_methods
def test_predictions_need_the_same_feature_names(Class, method):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = Class().fit(frame, Y)
    for names in ("abce", "dcba"):
        with pytest.raises(ValueError, match="feature names should match"):
            getattr(classifier, method)(frame.set_axis(list(names), axis=1))


@over_methods
def test_predictions_without_rows_are_refused(Class, method):
    with pytest.raises(ValueError, match="0 sample"):
        getattr(Class().fit(X, Y), method)(X[:0])


# ---- fits that are cut off ------------------------------------------------------------------


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_a_fit_that_is_cut_off_warns_of_cause_and_remedy_and_is_usable(Classifier, l1_ratio):
    classifier = Classifier(max_iter=1, l1_ratio=l1_ratio)
    rng = np.random.default_rng(1)
    data = rng.normal(size=(200, 8))
    y = (data[:, :3] + rng.normal(size=(200, 3))).argmax(axis=1)
    with pytest.warns(ConvergenceWarning) as record:
        classifier.fit(data, y)
    (message,) = {str(warning.message) for warning in record}
    assert Classifier.__name__ in message
    assert "iteration limit" in message
    assert "Increase max_iter" in message
    assert not np.all(classifier.converged_)
    assert classifier.n_iter_.max() == 1
    assert np.isfinite(classifier.predict_log_proba(data)).all()


def test_the_warning_points_at_the_call_of_fit(Classifier):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Classifier(max_iter=0).fit(X, Y)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_failure_in_the_solver_leaves_the_estimator_as_it_was(Classifier, monkeypatch):
    from sk_softmax._solvers import table

    def fail(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(table, "solve", fail)
    fresh = Classifier()
    with pytest.raises(MemoryError, match="no room"):
        fresh.fit(X, Y)
    assert state(fresh) == {}


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "CSR": sparse.csr_matrix,
}


@pytest.mark.parametrize("small", [2**18, 0], ids=["small", "large"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sign", [1, -1])
def test_values_whose_squares_overflow_are_refused(sign, layout, small, monkeypatch):
    """Up to 1e150 they are not, be they as many as they may."""
    monkeypatch.setattr(_validation, "SMALL", small)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    for value in (1.001e150, 1e308):
        X[7, 2] = sign * value
        with pytest.raises(ValueError, match="X contains values beyond 1e\\+150"):
            SoftmaxClassifier().fit(LAYOUTS[layout](X), y)
    X[:, 2] = sign * 1e150 * rng.uniform(0.9, 1.0, size=30)
    assert SoftmaxClassifier().fit(LAYOUTS[layout](X), y).converged_

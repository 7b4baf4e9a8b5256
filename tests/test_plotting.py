"""Displays of coefficients, decision regions, reliability and convergence."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibrationDisplay
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import (
    CoefficientsDisplay,
    ConvergenceDisplay,
    CrossValidationScoreDisplay,
    DecisionRegionsDisplay,
    RegularizationPathDisplay,
    ReliabilityDisplay,
)
from sk_softmax.plotting._c_axis import log_positions
from sk_softmax.plotting._style import PALETTE, class_colours, dash, marker

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
colors = pytest.importorskip("matplotlib.colors")
pd = pytest.importorskip("pandas")


pytestmark = pytest.mark.usefixtures("close_figures")


def fitted(Classifier, data, n_classes=3, p=6, **params):
    """A classifier and its data."""
    made = data(n_classes, p=p)
    return Classifier(**params).fit(made.X, made.y), made.X, made.y


def texts(axis):
    """What stands along the y axis."""
    return [label.get_text() for label in axis.get_yticklabels()]


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def hexes(artists):
    return [colors.to_hex(np.ravel(artist.get_facecolor())) for artist in artists]


# ---- what all share ----------------------------------------------------------------------


def test_the_package_is_imported_without_matplotlib():
    """And without Numba, as all that only reads models should be."""
    code = "import sys; sys.modules.update(matplotlib=None, numba=None); import sk_softmax.plotting"
    subprocess.run([sys.executable, "-c", code], check=True)


EVERY_CALL = [
    (lambda c, X, y: CoefficientsDisplay.from_estimator(c), "CoefficientsDisplay.from_estimator"),
    (
        lambda c, X, y: DecisionRegionsDisplay.from_estimator(c, X, y),
        "DecisionRegionsDisplay.from_estimator",
    ),
    (
        lambda c, X, y: ReliabilityDisplay.from_estimator(c, X, y),
        "ReliabilityDisplay.from_estimator",
    ),
    (
        lambda c, X, y: ReliabilityDisplay.from_predictions(y, {}, [0, 1]),
        "ReliabilityDisplay.from_predictions",
    ),
    (
        lambda c, X, y: ConvergenceDisplay.from_estimator(c, X, y),
        "ConvergenceDisplay.from_estimator",
    ),
    (
        lambda c, X, y: CrossValidationScoreDisplay.from_estimator(c),
        "CrossValidationScoreDisplay.from_estimator",
    ),
    (
        lambda c, X, y: RegularizationPathDisplay.from_estimator(c),
        "RegularizationPathDisplay.from_estimator",
    ),
    (lambda c, X, y: RegularizationPathDisplay.from_path(c), "RegularizationPathDisplay.from_path"),
    (
        lambda c, X, y: CoefficientsDisplay(coef=np.eye(3), classes=y).plot(),
        "CoefficientsDisplay.plot",
    ),
    (lambda c, X, y: ConvergenceDisplay(records={}).plot(), "ConvergenceDisplay.plot"),
    (
        lambda c, X, y: RegularizationPathDisplay(Cs=[1], coefs=[], classes=y).plot(),
        "RegularizationPathDisplay.plot",
    ),
    (
        lambda c, X, y: CrossValidationScoreDisplay(
            Cs=[1], mean_scores=[[1]], standard_errors=[[0]]
        ).plot(),
        "CrossValidationScoreDisplay.plot",
    ),
    (
        lambda c, X, y: DecisionRegionsDisplay(
            xx0=X, xx1=X, predictions=[], classes=y, names=[]
        ).plot(),
        "DecisionRegionsDisplay.plot",
    ),
    (
        lambda c, X, y: ReliabilityDisplay(
            curves=[], names=[], labels=y, classes=y, errors=y
        ).plot(),
        "ReliabilityDisplay.plot",
    ),
]


@pytest.mark.parametrize(("call", "name"), EVERY_CALL, ids=[name for _, name in EVERY_CALL])
def test_without_matplotlib_all_say_what_to_install(call, name, monkeypatch, data):
    made = data(3, p=2)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf"^{name} requires matplotlib\. You can install"):
        call(SoftmaxClassifier(), made.X, made.y)


@pytest.mark.parametrize(
    "call",
    [
        lambda c, X, y: CoefficientsDisplay.from_estimator(c),
        lambda c, X, y: CoefficientsDisplay.from_estimator(make_pipeline(StandardScaler(), c)),
        lambda c, X, y: DecisionRegionsDisplay.from_estimator(c, X, y),
        lambda c, X, y: ReliabilityDisplay.from_estimator(c, X, y),
        lambda c, X, y: CrossValidationScoreDisplay.from_estimator(c),
        lambda c, X, y: RegularizationPathDisplay.from_estimator(c),
    ],
)
def test_what_is_not_fitted_is_said(call, Classifier, data):
    made = data(3, p=2)
    with pytest.raises(NotFittedError, match="not fitted"):
        call(Classifier(), made.X, made.y)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 11, 40])
def test_classes_have_colours_of_their_own(n_classes):
    colours = class_colours(n_classes)
    assert len(set(colours)) == n_classes
    if n_classes <= 10:
        assert colours == list(PALETTE[:n_classes])
    else:  # neighbours on the colour map differ in dash and marker as well
        assert all(dash(k) != dash(k + 1) for k in range(n_classes))
        assert all(marker(k) != marker(k + 1) for k in range(n_classes))


def test_colours_next_to_each_other_differ_in_grey():
    """The first three, which most plots need, by their luminance."""
    luminance = [np.dot(colors.to_rgb(colour), [0.2126, 0.7152, 0.0722]) for colour in PALETTE[:3]]
    assert np.diff(np.sort(luminance)).min() > 0.15


def test_an_infinite_C_stands_a_step_beyond_the_others():
    assert_allclose(log_positions(np.array([0.1, 1, np.inf])), [0.1, 1, 10])
    assert_allclose(log_positions(np.array([0.5, 1])), [0.5, 1])
    assert_allclose(log_positions(np.array([np.inf])), [1])


@pytest.mark.parametrize("number", [1, 2, 4])
def test_as_many_axes_as_panels(number, data):
    classifier, _, _ = fitted(SoftmaxClassifier, data)
    _, axes = plt.subplots(1, number)
    with pytest.raises(ValueError, match=r"ax must hold 3 axes \(class 0, class 1, class 2\)"):
        CoefficientsDisplay.from_estimator(classifier, ax=axes)


def test_names_of_several_estimators(data):
    first, X, y = fitted(SoftmaxClassifier, data, p=2)
    second = clone(first).set_params(C=0.1).fit(X, y)
    piped = make_pipeline(StandardScaler(), OvAClassifier()).fit(X, y)
    several = [first, second, piped]
    display = DecisionRegionsDisplay.from_estimator(several, X, y)
    assert display.names == ["SoftmaxClassifier 1", "SoftmaxClassifier 2", "OvAClassifier"]
    display = DecisionRegionsDisplay.from_estimator({"a": first, "b": second}, X, y)
    assert display.names == ["a", "b"]
    display = DecisionRegionsDisplay.from_estimator(first, X, y, names="mine")
    assert display.names == ["mine"]
    for names in ("one", ["one", "one", "two"]):
        with pytest.raises(ValueError, match="a name of its own"):
            DecisionRegionsDisplay.from_estimator(several, X, y, names=names)
    with pytest.raises(ValueError, match="no estimator"):
        DecisionRegionsDisplay.from_estimator([], X, y)


# ---- coefficients ------------------------------------------------------------------------


def test_bars_are_the_largest_coefficients(Classifier, data):
    classifier, _, _ = fitted(Classifier, data)
    names = np.array(list("abcdef"))
    display = CoefficientsDisplay.from_estimator(classifier, n_top=4, feature_names=names)
    assert display.coef is classifier.coef_
    assert len(display.axes_) == len(display.bars_) == 3
    limits = {axis.get_xlim() for axis in display.axes_}
    assert len(limits) == 1  # one scale
    (low, high) = limits.pop()
    assert low == -high
    assert high > np.abs(classifier.coef_).max()
    for k, (axis, bars) in enumerate(zip(display.axes_, display.bars_, strict=True)):
        widths = np.array([bar.get_width() for bar in bars])
        order = np.argsort(-np.abs(classifier.coef_[k]))[:4]
        assert set(texts(axis)) == set(names[order])
        by_name = dict(zip(names, classifier.coef_[k], strict=True))
        assert_array_equal(widths, [by_name[name] for name in texts(axis)])
        assert (np.diff(widths) <= 0).all()
        assert hexes(bars) == [PALETTE[2] if width > 0 else PALETTE[0] for width in widths]
        assert axis.get_title() == f"class {k}"
        assert axis.yaxis.get_inverted()  # the first bar is on top


def test_zeros_have_no_bars(Classifier, data):
    classifier, X, y = fitted(Classifier, data, l1_ratio=1.0, C=0.05)
    used = (classifier.coef_ != 0).sum(axis=1)
    assert 0 < used.min() < used.max() or 0 in used
    display = CoefficientsDisplay.from_estimator(classifier)
    assert [len(bars) for bars in display.bars_] == used.tolist()
    empty = CoefficientsDisplay.from_estimator(clone(classifier).set_params(C=1e-9).fit(X, y))
    for axis in empty.axes_:
        assert [text.get_text() for text in axis.texts] == ["all zero"]


def test_positive_coefficients_alone(data):
    classifier, _, _ = fitted(SoftmaxClassifier, data)
    display = CoefficientsDisplay.from_estimator(classifier, signs="positive", n_top=6)
    counts = [len(bars) for bars in display.bars_]
    assert counts == (classifier.coef_ > 0).sum(axis=1).tolist()
    assert all(axis.get_xlim()[0] == 0 for axis in display.axes_)


def test_two_classes_have_one_panel(Classifier, data):
    made = data(2)
    labels = np.array(["ham", "spam"])[made.y]
    classifier = Classifier().fit(made.X, labels)
    display = CoefficientsDisplay.from_estimator(classifier)
    (axis,) = display.axes_
    assert axis.get_title() == "spam against ham"
    assert len(CoefficientsDisplay.from_estimator(classifier, classes="spam").axes_) == 1
    with pytest.raises(ValueError, match=r"classes must be among \['spam'\]"):
        CoefficientsDisplay.from_estimator(classifier, classes="ham")


def test_sparse_coefficients_show_as_dense_ones(Classifier, data):
    classifier, _, _ = fitted(Classifier, data, l1_ratio=1.0, C=0.2)
    dense = CoefficientsDisplay.from_estimator(classifier)
    widths = [[bar.get_width() for bar in bars] for bars in dense.bars_]
    classifier.sparsify()
    assert sparse.issparse(classifier.coef_)
    display = CoefficientsDisplay.from_estimator(classifier)
    assert [[bar.get_width() for bar in bars] for bars in display.bars_] == widths
    images = CoefficientsDisplay.from_estimator(classifier, image_shape=(2, 3)).images_
    assert_array_equal(images[1].get_array(), classifier.coef_.toarray()[1].reshape(2, 3))


def test_images_share_a_scale_around_zero(Classifier, data):
    classifier, _, _ = fitted(Classifier, data)
    display = CoefficientsDisplay.from_estimator(classifier, image_shape=(3, 2))
    assert display.bars_ == []
    largest = np.abs(classifier.coef_).max()
    for k, image in enumerate(display.images_):
        assert_array_equal(image.get_array(), classifier.coef_[k].reshape(3, 2))
        assert image.get_clim() == (-largest, largest)
    assert display.colorbar_.ax.get_ylabel() == "coefficient"
    with pytest.raises(ValueError, match=r"6 pixels. Got \(2, 2\)"):
        display.plot(image_shape=(2, 2))


def test_classes_and_axes_as_asked(data):
    classifier, _, _ = fitted(SoftmaxClassifier, data, n_classes=4)
    figure, axes = plt.subplots(1, 2)
    display = CoefficientsDisplay.from_estimator(classifier, classes=[3, 1], ax=axes)
    assert display.figure_ is figure
    assert [axis.get_title() for axis in axes] == ["class 3", "class 1"]
    assert display.axes_.tolist() == axes.tolist()
    for wanted in (7, [], [1, 9]):
        with pytest.raises(ValueError, match=r"classes must be among \[0, 1, 2, 3\]"):
            display.plot(classes=wanted)


def test_names_come_from_dataframes_pipelines_and_the_user(data):
    made = data(3)
    frame = pd.DataFrame(made.X, columns=[f"column {j}" for j in range(6)])
    classifier = SoftmaxClassifier().fit(frame, made.y)
    display = CoefficientsDisplay.from_estimator(classifier)
    assert set(texts(display.axes_[0])) == set(frame.columns)
    piped = make_pipeline(StandardScaler(), SoftmaxClassifier()).fit(frame, made.y)
    assert_array_equal(CoefficientsDisplay.from_estimator(piped).feature_names, frame.columns)
    unnamed = make_pipeline(StandardScaler(), SoftmaxClassifier()).fit(made.X, made.y)
    assert texts(CoefficientsDisplay.from_estimator(unnamed, n_top=1).axes_[0])[0][0] == "x"
    words = ["good film", "bad film", "good food", "bad wine"]
    text = make_pipeline(CountVectorizer(), SoftmaxClassifier()).fit(words, [1, 0, 1, 0])
    display = CoefficientsDisplay.from_estimator(text, n_top=2)
    assert texts(display.axes_[0]) == ["good", "bad"]
    with pytest.raises(ValueError, match="feature_names has 2 names, but there are 6 features"):
        CoefficientsDisplay.from_estimator(classifier, feature_names=["a", "b"])


def test_long_names_are_shortened(data):
    classifier, _, _ = fitted(SoftmaxClassifier, data, p=2)
    names = ["x" * 100, "y"]
    display = CoefficientsDisplay.from_estimator(classifier, feature_names=names)
    assert max(map(len, texts(display.axes_[0]))) == 24


def test_dollars_in_the_names_of_the_data_are_dollars(data):
    """And begin no formula, which might be none: all is drawn when the test ends."""
    made = data(3, p=2)
    frame = pd.DataFrame(made.X, columns=["$^$", "$\\frac$"])
    labels = np.array(["$_$", "$a", "b$$"])[made.y]
    classifier = SoftmaxClassifier().fit(frame, labels)
    display = CoefficientsDisplay.from_estimator(classifier)
    assert r"\$^\$" in texts(display.axes_[0])
    assert display.axes_[0].get_title() == r"\$_\$"
    DecisionRegionsDisplay.from_estimator(classifier, frame, labels, grid_resolution=10)
    ReliabilityDisplay.from_estimator(classifier, frame, labels, kind="per-class")


def test_coefficients_of_what_has_none(data):
    made = data(3)
    from sklearn.tree import DecisionTreeClassifier

    with pytest.raises(TypeError, match=r"no attribute 'coef_': a linear classifier is needed"):
        CoefficientsDisplay.from_estimator(DecisionTreeClassifier().fit(made.X, made.y))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"signs": "none"}, "signs must be 'both' or 'positive'"),
        ({"n_top": 0}, "n_top must be at least 1"),
    ],
)
def test_parameters_of_coefficients(params, message, data):
    classifier, _, _ = fitted(SoftmaxClassifier, data)
    with pytest.raises(ValueError, match=message):
        CoefficientsDisplay.from_estimator(classifier, **params)


def test_rows_must_fit_the_classes():
    with pytest.raises(ValueError, match="2 rows of coefficients do not fit 3 classes"):
        CoefficientsDisplay(coef=np.eye(2), classes=np.arange(3)).plot()


def test_scikit_learn_s_own_models_show_as_well(data):
    made = data(3)
    model = LogisticRegression(max_iter=1000).fit(made.X, made.y)
    assert len(CoefficientsDisplay.from_estimator(model).axes_) == 3


# ---- decision regions --------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_regions_are_the_predictions(n_classes, Classifier, data):
    classifier, X, y = fitted(Classifier, data, n_classes=n_classes, p=2)
    display = DecisionRegionsDisplay.from_estimator(classifier, X, y, grid_resolution=40)
    grid = np.column_stack([display.xx0.ravel(), display.xx1.ravel()])
    assert_array_equal(display.predictions[0].ravel(), classifier.predict(grid))
    (surface,) = display.surfaces_
    assert_array_equal(np.ravel(surface.get_array()), classifier.predict(grid))
    shown = surface.cmap(surface.norm(np.arange(n_classes)))
    assert [colors.to_hex(colour) for colour in shown] == class_colours(n_classes)
    assert len(display.borders_[0]) == np.unique(display.predictions[0]).size
    (axis,) = display.axes_
    accuracy = np.mean(classifier.predict(X) == y)
    assert axis.get_title() == f"{Classifier.__name__}\naccuracy {accuracy:.3f}"
    assert_allclose(display.accuracies, accuracy)
    assert legend_texts(display.legend_) == [str(k) for k in range(n_classes)]
    for k, points in enumerate(display.points_[0]):
        assert_array_equal(points.get_offsets(), X[y == k])
        assert hexes([points]) == [class_colours(n_classes)[k]]


def test_grids_follow_the_units_of_each_feature(data):
    made = data(3, p=2)
    X = made.X * [1e-6, 1e4]
    classifier = SoftmaxClassifier().fit(X, made.y)
    display = DecisionRegionsDisplay.from_estimator(classifier, X, made.y, margin=0.1)
    width = np.ptp(X, axis=0)
    low, high = X.min(axis=0) - 0.1 * width, X.max(axis=0) + 0.1 * width
    assert_allclose([display.xx0.min(), display.xx1.min()], low)
    assert_allclose([display.xx0.max(), display.xx1.max()], high)
    assert_allclose(display.axes_[0].get_xlim(), [display.xx0.min(), display.xx0.max()])
    constant = np.column_stack([X[:, 1], np.full(len(X), 3.0)])
    classifier.fit(constant, made.y)
    display = DecisionRegionsDisplay.from_estimator(classifier, constant, made.y)
    assert (display.xx1.min(), display.xx1.max()) == (2.5, 3.5)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_regions_of_dataframes_and_strings(library, data):
    made = data(3, p=2)
    frame = pytest.importorskip(library).DataFrame({"width": made.X[:, 0], "height": made.X[:, 1]})
    labels = np.array(["red", "green", "blue"])[made.y]
    several = [SoftmaxClassifier().fit(frame, labels), OvAClassifier().fit(frame, labels)]
    display = DecisionRegionsDisplay.from_estimator(several, frame, labels, grid_resolution=10)
    first, second = display.axes_
    assert (first.get_xlabel(), first.get_ylabel()) == ("width", "height")
    assert (second.get_xlabel(), second.get_ylabel()) == ("width", "")
    assert legend_texts(display.legend_) == ["blue", "green", "red"]


def test_regions_fade_where_classes_are_as_likely(Classifier, data):
    classifier, X, y = fitted(Classifier, data, p=2)
    display = DecisionRegionsDisplay.from_estimator(
        classifier, X, y, response_method="predict_proba", grid_resolution=20
    )
    grid = np.column_stack([display.xx0.ravel(), display.xx1.ravel()])
    confidence = classifier.predict_proba(grid).max(axis=1)
    assert_allclose(display.confidences[0].ravel(), confidence)
    alpha = np.ravel(display.surfaces_[0].get_alpha())
    assert_array_equal(np.argsort(alpha, kind="stable"), np.argsort(confidence, kind="stable"))
    assert 0 < alpha.min() < alpha.max() < 1


def test_labels_that_a_classifier_does_not_know(data):
    classifier, X, y = fitted(SoftmaxClassifier, data, p=2)
    y = y.copy()
    y[:5] = 7
    display = DecisionRegionsDisplay.from_estimator(classifier, X, y, grid_resolution=10)
    assert display.classes.tolist() == [0, 1, 2, 7]
    assert len(display.points_[0][3].get_offsets()) == 5


def test_a_classifier_of_one_region_has_no_border(data):
    made = data(2, p=2)
    weight = {0: 1.0, 1: 1e-6}
    classifier = SoftmaxClassifier(C=1e-6, class_weight=weight).fit(made.X, made.y)
    display = DecisionRegionsDisplay.from_estimator(classifier, made.X, made.y)
    assert display.borders_ == [[]]


def test_regions_in_the_axes_given_and_in_other_colours(data):
    classifier, X, y = fitted(SoftmaxClassifier, data, p=2)
    figure, axis = plt.subplots()
    display = DecisionRegionsDisplay.from_estimator(
        classifier, sparse.csr_matrix(X), y, grid_resolution=10, ax=axis
    )
    assert display.figure_ is figure
    assert display.axes_.tolist() == [axis]
    display.plot(multiclass_colors=["red", "green", "blue"])
    assert hexes(display.points_[0]) == [colors.to_hex(c) for c in ("red", "green", "blue")]
    with pytest.raises(
        ValueError, match=r"multiclass_colors must be 3, one for each class\. Got 1"
    ):
        display.plot(multiclass_colors=["red"])


def test_regions_need_two_features(data):
    classifier, X, y = fitted(SoftmaxClassifier, data, p=3)
    with pytest.raises(ValueError, match="2 features, but SoftmaxClassifier is fitted on 3"):
        DecisionRegionsDisplay.from_estimator(classifier, X, y)
    classifier.fit(X[:, :2], y)
    with pytest.raises(ValueError, match=r"2 features, but X has shape \(150, 3\)"):
        DecisionRegionsDisplay.from_estimator(classifier, X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        DecisionRegionsDisplay.from_estimator(classifier, X[:, :2], y[:-1])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"response_method": "auto"}, "response_method must be 'predict' or"),
        ({"grid_resolution": 1}, "grid_resolution must be at least 2"),
        ({"margin": -1}, "margin at least 0"),
    ],
)
def test_parameters_of_regions(params, message, data):
    classifier, X, y = fitted(SoftmaxClassifier, data, p=2)
    with pytest.raises(ValueError, match=message):
        DecisionRegionsDisplay.from_estimator(classifier, X, y, **params)


# ---- reliability -------------------------------------------------------------------------


def expected_error(true, probability, edges):
    """Mean over the rows of the distance between truth and probability of their bins."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = (probability > low) & (probability <= high) | (low == edges[0]) & (
            probability == low
        )
        if inside.any():
            total += inside.sum() * abs(true[inside].mean() - probability[inside].mean())
    return total / len(true)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_of_the_predicted_class(strategy, Classifier, data):
    classifier, X, y = fitted(Classifier, data, n_classes=4)
    display = ReliabilityDisplay.from_estimator(classifier, X, y, n_bins=5, strategy=strategy)
    ((curve,),) = display.curves
    assert isinstance(curve, CalibrationDisplay)
    probability = classifier.predict_proba(X).max(axis=1)
    true = classifier.predict(X) == y
    assert_allclose(curve.y_prob, probability)
    ((line,),) = display.lines_
    assert_array_equal(line.get_xdata(), curve.prob_pred)
    assert_array_equal(line.get_ydata(), curve.prob_true)
    edges = np.linspace(0, 1, 6)
    if strategy == "quantile":
        edges = np.quantile(probability, edges)
    error = expected_error(true, probability, edges)
    assert_allclose(display.errors, error)
    (axis,) = display.axes_
    assert axis.get_title() == f"{Classifier.__name__}\nECE {error:.3f}"
    ((histogram,),) = display.histograms_
    assert histogram.get_data().values.sum() == len(y)
    (below,) = display.histogram_axes_
    assert below.get_yscale() == "log"
    assert below.get_xlabel() == "probability of the predicted class"
    assert axis.get_ylabel() == "share predicted rightly"
    assert legend_texts(display.legend_) == ["Perfectly calibrated", "predicted class"]


def test_reliability_by_class(data):
    softmax, X, y = fitted(SoftmaxClassifier, data, n_classes=4)
    several = {"softmax": softmax, "one-vs-all": OvAClassifier().fit(X, y)}
    display = ReliabilityDisplay.from_estimator(several, X, y, kind="per-class", classes=[3, 1])
    assert [len(lines) for lines in display.lines_] == [2, 2]
    for name, curves, lines in zip(several, display.curves, display.lines_, strict=True):
        probability = several[name].predict_proba(X)
        for k, curve, line in zip((3, 1), curves, lines, strict=True):
            assert_allclose(curve.y_prob, probability[:, k])
            assert line.get_color() == PALETTE[k]
            assert line.get_label() == str(k)
    errors = [
        np.mean(
            [
                expected_error(y == k, each.predict_proba(X)[:, k], np.linspace(0, 1, 11))
                for k in (3, 1)
            ]
        )
        for each in several.values()
    ]
    assert_allclose(display.errors, errors)
    assert "class-wise ECE" in display.axes_[1].get_title()
    assert legend_texts(display.legend_) == ["Perfectly calibrated", "3", "1"]


def test_reliability_of_two_classes_is_that_of_the_second(Classifier, data):
    classifier, X, y = fitted(Classifier, data, n_classes=2)
    display = ReliabilityDisplay.from_estimator(classifier, X, y, kind="per-class")
    ((curve,),) = display.curves
    reference = CalibrationDisplay.from_estimator(classifier, X, y, n_bins=10)
    assert_allclose(curve.prob_true, reference.prob_true)
    assert_allclose(curve.prob_pred, reference.prob_pred)


def test_reliability_in_the_axes_given(data):
    classifier, X, y = fitted(SoftmaxClassifier, data)
    several = {"a": classifier, "b": classifier}
    _, axes = plt.subplots(2, 2)
    display = ReliabilityDisplay.from_estimator(several, X, y, ax=axes)
    assert display.axes_.tolist() == axes[0].tolist()
    assert display.histogram_axes_.tolist() == axes[1].tolist()
    _, axes = plt.subplots(1, 2)
    display = ReliabilityDisplay.from_estimator(several, X, y, ax=axes)
    assert display.histogram_axes_ is None
    assert display.axes_[0].get_xlabel() == "probability of the predicted class"
    with pytest.raises(ValueError, match="ax must hold 2 axes"):
        display.plot(plt.subplots(1, 3)[1])


def test_reliability_from_float32_probabilities():
    """Which may round to a little more than 1."""
    probability = np.array([[0, 1 + 1e-7], [1, 0], [0.5, 0.5]], dtype=np.float32)
    display = ReliabilityDisplay.from_predictions([1, 0, 1], {"rounded": probability}, [0, 1])
    assert display.curves[0][0].y_prob.max() == 1
    display = ReliabilityDisplay.from_predictions([1, 0, 1], probability, [0, 1])
    assert display.axes_[0].get_title().startswith("Classifier\n")


def test_histograms_beside_each_other_share_their_scale():
    few, many = np.tile([[0.2, 0.8]], (2, 1)), np.tile([[0.6, 0.4]], (2, 1))
    several = {"few": few, "many": many}
    display = ReliabilityDisplay.from_predictions([0, 1], several, [0, 1])
    limits = {axis.get_ylim() for axis in display.histogram_axes_}
    assert limits == {(0.5, 4.0)}


def test_errors_of_reliability(data):
    classifier, X, y = fitted(SoftmaxClassifier, data)
    with pytest.raises(ValueError, match="kind must be 'top-label' or 'per-class'"):
        ReliabilityDisplay.from_estimator(classifier, X, y, kind="all")
    with pytest.raises(ValueError, match="strategy"):
        ReliabilityDisplay.from_estimator(classifier, X, y, strategy="other")
    with pytest.raises(ValueError, match="a column for each of the 2 classes"):
        ReliabilityDisplay.from_predictions(y, {"a": classifier.predict_proba(X)}, [0, 1])
    other = clone(classifier).fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="the same classes"):
        ReliabilityDisplay.from_estimator([classifier, other], X, y)
    with pytest.raises(TypeError, match="'classes_': a classifier is needed"):
        ReliabilityDisplay.from_estimator(Ridge().fit(X, y), X, y)


# ---- convergence -------------------------------------------------------------------------


def record(n=5, seconds=1e-3, problems=None):
    """A made-up record, each problem slower than the one before."""
    gap = 10.0 ** -np.arange(n)
    if problems:
        gap = gap[:, None] * np.arange(1, problems + 1)
    return {
        "iteration": np.arange(n),
        "seconds": np.arange(n) * seconds,
        "objective": 1 + gap,
        "optimality": 3 * gap,
        "dual_gap": gap,
    }


def test_convergence_against_iterations_and_time():
    records = {"one": record(), "three": record(problems=3)}
    display = ConvergenceDisplay(records=records).plot()
    assert display.records is records
    assert [axis.get_xlabel() for axis in display.axes_] == ["iteration", "time (ms)"]
    assert all(axis.get_yscale() == "log" for axis in display.axes_)
    assert [axis.get_ylabel() for axis in display.axes_] == ["duality gap (bound on F − F*)", ""]
    for abscissa, lines, factor in zip(
        ("iteration", "seconds"), display.lines_, (1, 1000), strict=True
    ):
        for line, name in zip(lines, records, strict=True):
            assert_allclose(line.get_xdata(), records[name][abscissa] * factor)
        assert_allclose(lines[0].get_ydata(), records["one"]["dual_gap"])
        assert_allclose(lines[1].get_ydata(), records["three"]["dual_gap"][:, 2])  # the worst
    assert legend_texts(display.legend_) == ["one", "three"]


@pytest.mark.parametrize("seconds", [1e-3, 10.0])
def test_time_in_milliseconds_where_it_is_short(seconds):
    display = ConvergenceDisplay(records={"a": record(seconds=seconds)}).plot(against="seconds")
    (axis,) = display.axes_
    assert axis.get_xlabel() == ("time (ms)" if seconds < 1 else "time (s)")
    assert display.legend_ is None


@pytest.mark.parametrize("measure", ["optimality", "objective"])
def test_other_measures_of_convergence(measure):
    records = {"a": record(problems=2)}
    display = ConvergenceDisplay(records=records).plot(measure=measure, against="iteration")
    ((line,),) = display.lines_
    combine = np.sum if measure == "objective" else np.max
    assert_allclose(line.get_ydata(), combine(records["a"][measure], axis=1))
    assert display.axes_[0].get_yscale() == ("linear" if measure == "objective" else "log")


def test_without_a_gap_the_optimality_is_shown():
    made = record()
    made["dual_gap"] = np.full(5, np.nan)
    assert ConvergenceDisplay(records={"a": record(), "b": made}).plot().measure_ == "optimality"


def test_what_is_below_rounding_is_drawn_at_its_limit():
    made = record()
    made["dual_gap"][-1] = 0.0
    display = ConvergenceDisplay(records={"a": made}).plot()
    last = display.lines_[0][0].get_ydata()[-1]
    assert_allclose(last, np.finfo(float).eps * made["objective"][-1])


def test_classes_without_a_gap_leave_that_of_the_others():
    made = record(problems=2)
    made["dual_gap"][:, 1] = np.nan
    display = ConvergenceDisplay(records={"a": made}).plot()
    assert_allclose(display.lines_[0][0].get_ydata(), made["dual_gap"][:, 0])


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_convergence_of_real_fits(l1_ratio, data):
    made = data(3)
    several = [SoftmaxClassifier(l1_ratio=l1_ratio), OvAClassifier(l1_ratio=l1_ratio)]
    display = ConvergenceDisplay.from_estimator(several, made.X, made.y, made.s)
    assert list(display.records) == ["SoftmaxClassifier", "OvAClassifier"]
    for each, line in zip(several, display.lines_[0], strict=True):
        assert not hasattr(each, "coef_")  # clones are fitted
        each.fit(made.X, made.y, made.s)
        gap, x = line.get_ydata(), line.get_xdata()
        assert x[0] == 0
        assert x[-1] <= np.max(each.n_iter_)
        assert gap[-1] < 1e-4 < gap[0]


def test_convergence_warns_once(data):
    made = data(3)
    classifier = SoftmaxClassifier(solver="lbfgs", max_iter=1)
    with pytest.warns(ConvergenceWarning) as caught:
        ConvergenceDisplay.from_estimator(classifier, made.X, made.y)
    assert len(caught) == 1


def test_warming_up_is_a_choice(monkeypatch, data):
    calls = []

    def counted(classifier, X, y, sample_weight=None):
        calls.append(classifier)
        return record()

    monkeypatch.setattr("sk_softmax.plotting._convergence.record_convergence", counted)
    made = data(3)
    ConvergenceDisplay.from_estimator(SoftmaxClassifier(), made.X, made.y)
    ConvergenceDisplay.from_estimator(SoftmaxClassifier(), made.X, made.y, warm_up=False)
    assert len(calls) == 3


def test_errors_of_convergence(data):
    made = data(3)
    with pytest.raises(TypeError, match=r"SoftmaxClassifier or an OvAClassifier. Got Logistic"):
        ConvergenceDisplay.from_estimator(LogisticRegression(), made.X, made.y)
    display = ConvergenceDisplay(records={"a": record()})
    with pytest.raises(ValueError, match="measure must be 'auto' or in"):
        display.plot(measure="gap")
    with pytest.raises(ValueError, match="against must be"):
        display.plot(against="time")
    with pytest.raises(ValueError, match=r"ax must hold 2 axes \(iteration, seconds\)"):
        display.plot(plt.subplots()[1])
    axis = plt.subplots()[1]
    assert display.plot(axis, against="iteration").axes_.tolist() == [axis]

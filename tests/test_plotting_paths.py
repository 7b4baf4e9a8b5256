"""Displays of regularisation paths and of scores of cross-validation."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics import log_loss, make_scorer

from sk_softmax import (
    OvAClassifierCV,
    SoftmaxClassifier,
    SoftmaxClassifierCV,
    ova_path,
    softmax_path,
)
from sk_softmax.plotting import (
    ConvergenceDisplay,
    CrossValidationScoreDisplay,
    RegularizationPathDisplay,
)
from sk_softmax.plotting._end_labels import spread
from sk_softmax.plotting._scores import choice, name_of_score
from sk_softmax.plotting._style import PALETTE, class_colours

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
colors = pytest.importorskip("matplotlib.colors")
pd = pytest.importorskip("pandas")


pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture(scope="module", params=[softmax_path, ova_path])
def path(request, data):
    """A path of either classifier, of few Cs."""
    made = data(3)
    return request.param(made.X, made.y, Cs=12)


@pytest.fixture(scope="module")
def two_classes(data):
    made = data(2)
    return softmax_path(made.X, np.array(["ham", "spam"])[made.y], Cs=6)


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


# ---- paths -------------------------------------------------------------------------------


def test_paths_of_coefficients_by_class(path):
    display = RegularizationPathDisplay.from_path(path, n_labels=2)
    assert display.coefs is path.coefs
    assert display.l1_ratio == path.l1_ratio == 1
    assert len(display.axes_) == 3
    for k, axis in enumerate(display.axes_):
        assert axis.get_title() == f"class {k}"
        assert axis.get_xscale() == "log"
        assert_allclose(axis.get_xlim(), path.Cs[[0, -1]])
        assert axis.get_ylim() == display.axes_[0].get_ylim()
        coef = path.coefs[:, k]
        size = np.abs(coef).max(axis=0)
        order = np.argsort(-size, kind="stable")
        shown, rest = order[:2], [j for j in order[2:] if size[j] > 0]
        for line, label, j in zip(display.lines_[k], display.labels_[k], shown, strict=True):
            assert_allclose(line.get_xdata(), path.Cs)
            assert_array_equal(line.get_ydata(), coef[:, j])
            assert line.get_color() == PALETTE[k]
            assert label.get_text() == f"x{j}"
            assert_allclose(label.xy, (1, coef[-1, j]))
        segments = display.others_[k].get_segments()
        drawn = {tuple(np.asarray(segment)[:, 1]) for segment in segments}
        assert drawn == {tuple(coef[:, j]) for j in rest}
    assert display.axes_[0].get_ylabel() == "coefficient"
    assert display.axes_[1].get_ylabel() == ""
    assert display.chosen_ == display.bands_ == []
    assert display.legend_ is None


def test_names_at_the_ends_are_clear_of_each_other(path):
    display = RegularizationPathDisplay.from_path(path, n_labels=6)
    display.figure_.canvas.draw()
    for labels in display.labels_:
        boxes = [super(type(label), label).get_window_extent() for label in labels]
        boxes.sort(key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1.5 for low, high in pairwise(boxes))


def test_features_without_names_left_and_none(path):
    display = RegularizationPathDisplay.from_path(path, n_labels=6)
    assert display.others_ == [None] * 3
    display.plot(n_labels=0)
    assert display.lines_ == display.labels_ == [[]] * 3


def test_paths_of_sparse_coefficients(path):
    dense = RegularizationPathDisplay.from_path(path, n_labels=2)
    stored = replace(path, coefs=[sparse.csr_matrix(coef) for coef in path.coefs])
    for kind in ("coefficients", "norm", "nonzeros"):
        display = RegularizationPathDisplay.from_path(stored, n_labels=2, kind=kind)
        dense.plot(n_labels=2, kind=kind)
        for ours, theirs in zip(display.lines_, dense.lines_, strict=True):
            for line, other in zip(ours, theirs, strict=True):
                assert_array_equal(line.get_xydata(), other.get_xydata())


def test_paths_by_class(path):
    display = RegularizationPathDisplay.from_path(path, kind="norm")
    (axis,) = display.axes_
    for k, line in enumerate(display.lines_[0]):
        assert_allclose(line.get_ydata(), np.linalg.norm(path.coefs[:, k], axis=1))
        assert line.get_color() == PALETTE[k]
    assert axis.get_ylabel() == "norm of the coefficients"
    assert legend_texts(display.legend_) == ["class 0", "class 1", "class 2"]
    display = RegularizationPathDisplay.from_path(path, kind="nonzeros", classes=[2, 0])
    for k, line in zip((2, 0), display.lines_[0], strict=True):
        assert_array_equal(line.get_ydata(), path.n_nonzeros[:, k])
    assert legend_texts(display.legend_) == ["class 2", "class 0"]


def test_many_classes_have_their_legend_beside(data):
    rng = np.random.default_rng(0)
    display = RegularizationPathDisplay(
        Cs=np.logspace(0, 2, 4), coefs=rng.normal(size=(4, 25, 3)), classes=np.arange(25)
    ).plot(kind="norm")
    display.figure_.canvas.draw()
    (axis,) = display.axes_
    assert display.legend_.get_window_extent().x0 > axis.get_window_extent().x1
    assert [line.get_color() for line in display.lines_[0]] == class_colours(25)


def test_paths_of_two_classes(two_classes):
    display = RegularizationPathDisplay.from_path(two_classes)
    (axis,) = display.axes_
    assert axis.get_title() == "spam against ham"
    assert {line.get_color() for line in display.lines_[0]} == {PALETTE[1]}
    display = RegularizationPathDisplay.from_path(two_classes, kind="norm")
    assert len(display.lines_[0]) == 1
    with pytest.raises(ValueError, match=r"classes must be among \['spam'\]"):
        display.plot(classes="ham")


def test_names_of_features_from_dataframes_and_the_user(data):
    made = data(3)
    frame = pd.DataFrame(made.X, columns=list("abcdef"))
    path = softmax_path(frame, made.y, Cs=4)
    display = RegularizationPathDisplay.from_path(path, n_labels=6)
    names = {label.get_text() for labels in display.labels_ for label in labels}
    assert names <= set("abcdef")
    display = RegularizationPathDisplay.from_path(path, feature_names=list("uvwxyz"))
    assert {label.get_text() for label in display.labels_[0]} <= set("uvwxyz")
    with pytest.raises(ValueError, match="feature_names has 1 names, but there are 6"):
        RegularizationPathDisplay.from_path(path, feature_names=["a"])


def test_what_was_chosen_is_marked():
    rng = np.random.default_rng(0)
    display = RegularizationPathDisplay(
        Cs=np.array([10.0, 0.1, 1.0]),  # in any order
        coefs=(coefs := rng.normal(size=(3, 3, 2))),
        classes=np.array(["a", "b", "c"]),
        C=1.0,
        one_se_band=(0.1, 10.0),
    ).plot()
    assert_array_equal(display.lines_[0][0].get_xdata(), [0.1, 1, 10])
    first = np.abs(coefs[:, 0]).max(axis=0).argmax()
    assert_array_equal(display.lines_[0][0].get_ydata(), coefs[[1, 2, 0], 0, first])
    for line, band in zip(display.chosen_, display.bands_, strict=True):
        assert_array_equal(line.get_xdata(), [1, 1])
        corners = band.get_window_extent().get_points()
        ends = band.axes.transData.inverted().transform(corners)[:, 0]
        assert_allclose(ends, [0.1, 10])
    marks = ["within 1 SE of the best", "chosen: C = 1"]
    assert legend_texts(display.legend_) == marks
    display.figure_.canvas.draw()
    box = display.legend_.get_window_extent()
    assert all(box.y1 <= axis.get_tightbbox().y0 for axis in display.axes_)  # under all of them
    axes = plt.subplots(1, 3)[1]
    assert display.plot(axes).legend_ is axes[0].get_legend()
    assert legend_texts(display.legend_) == marks


def test_no_penalty_at_the_end_of_a_path():
    coefs = np.arange(12.0).reshape(4, 3, 1)
    Cs = np.array([0.1, 1.0, 10.0, np.inf])
    display = RegularizationPathDisplay(Cs=Cs, coefs=coefs, classes=np.arange(3), C=np.inf).plot()
    (axis, *_) = display.axes_
    assert_allclose(display.lines_[0][0].get_xdata(), [0.1, 1, 10, 100])
    assert_allclose(display.chosen_[0].get_xdata(), [100, 100])
    display.figure_.canvas.draw()
    ticks = dict(
        zip(axis.get_xticks(), [t.get_text() for t in axis.get_xticklabels()], strict=True)
    )
    assert ticks[100.0] == r"$\infty$"
    assert legend_texts(display.legend_) == ["chosen: C = inf"]


def test_a_null_path_is_drawn():
    display = RegularizationPathDisplay(
        Cs=np.array([1.0]), coefs=np.zeros((1, 3, 2)), classes=np.arange(3)
    )
    assert display.plot().lines_ == [[], [], []]
    assert_array_equal(display.plot(kind="norm").lines_[0][0].get_ydata(), [0])


def test_axes_of_paths(path):
    figure, axes = plt.subplots(1, 3)
    display = RegularizationPathDisplay.from_path(path, ax=axes)
    assert display.figure_ is figure
    assert display.axes_.tolist() == axes.tolist()
    with pytest.raises(ValueError, match="ax must hold 3 axes"):
        display.plot(axes[0])
    assert display.plot(axes[0], kind="norm").axes_.tolist() == [axes[0]]
    with pytest.raises(ValueError, match=r"ax must hold 1 axes \(norm"):
        display.plot(axes, kind="norm")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kind": "all"}, r"kind must be in \['coefficients', 'norm', 'nonzeros'\]"),
        ({"n_labels": -1}, "n_labels must be at least 0"),
        ({"classes": 5}, r"classes must be among \[0, 1, 2\]. Got \[5\]"),
    ],
)
def test_parameters_of_paths(params, message, path):
    with pytest.raises(ValueError, match=message):
        RegularizationPathDisplay.from_path(path, **params)


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_spread_keeps_order_and_distance(heights, gap):
    heights = np.array(heights)
    places = spread(heights, gap)
    assert places.min() >= -1e-12
    assert places.max() <= 1 + 1e-12
    order = np.argsort(heights, kind="stable")
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    assert (np.diff(places[order]) >= gap - 1e-9).all()


def test_spread_moves_nothing_that_is_clear():
    assert_allclose(spread(np.array([0.9, 0.1, 0.5]), 0.2), [0.9, 0.1, 0.5])
    assert_allclose(spread(np.array([0.5, 0.5]), 0.2), [0.4, 0.6])
    assert_allclose(spread(np.array([1.0, 1.0, 0.2]), 0.2), [0.8, 1.0, 0.2])


# ---- scores ------------------------------------------------------------------------------

CS = np.array([0.01, 0.1, 1.0, 10.0])
MEANS = np.array([[-0.9, -0.52, -0.50, -0.53], [-1.0, -0.8, -0.6, -0.7]])
ERRORS = np.array([[0.01, 0.02, 0.03, 0.04], [0.01, 0.02, 0.03, 0.05]])


def scores(**changes):
    """A display of made-up scores."""
    values = {"Cs": CS, "mean_scores": MEANS, "standard_errors": ERRORS, "l1_ratios": (0.0, 1.0)}
    return CrossValidationScoreDisplay(**(values | changes))


def test_scores_with_their_errors():
    display = scores(C=0.1, l1_ratio=0.0, score_name="Negative log loss").plot()
    axis = display.ax_
    assert axis.get_xscale() == "log"
    assert axis.get_ylabel() == "Negative log loss"
    assert len(display.lines_) == len(display.bands_) == 2
    for line, band, mean, error in zip(display.lines_, display.bands_, MEANS, ERRORS, strict=True):
        assert_allclose(line.get_xydata(), np.column_stack([CS, mean]))
        heights = band.get_paths()[0].vertices
        for C, low, high in zip(CS, mean - error, mean + error, strict=True):
            at = heights[heights[:, 0] == C, 1]
            assert_allclose([at.min(), at.max()], [low, high])
    assert len({line.get_linestyle() for line in display.lines_}) == 2
    assert_allclose(display.best_.get_xydata(), [[1.0, -0.50]])
    assert_allclose(display.one_se_.get_xydata(), [[0.1, -0.52]])
    assert_allclose(display.threshold_.get_ydata(), -0.53)
    assert_allclose(display.chosen_.get_xdata(), 0.1)
    assert legend_texts(display.legend_) == [
        "l1_ratio = 0",
        "l1_ratio = 1",
        "best: C = 1",
        "one-SE rule: C = 0.1",
        "chosen: C = 0.1, l1_ratio = 0",
    ]
    assert display.legend_.get_title().get_text() == "mean score ± SE"


def test_scores_negated():
    display = scores(score_name="Negative log loss").plot(negate_score=True)
    assert display.ax_.get_ylabel() == "Log loss"
    assert_allclose(display.lines_[0].get_ydata(), -MEANS[0])
    assert_allclose(display.best_.get_xydata(), [[1.0, 0.50]])
    assert_allclose(display.one_se_.get_xydata(), [[0.1, 0.52]])
    assert display.chosen_ is None
    assert scores(score_name="Accuracy").plot(negate_score=True).ax_.get_ylabel() == (
        "Negative accuracy"
    )
    assert scores().plot(score_name="mine").ax_.get_ylabel() == "mine"


def test_scores_of_one_l1_ratio_in_the_axes_given():
    figure, axis = plt.subplots()
    display = scores(mean_scores=MEANS[:1], standard_errors=ERRORS[:1], l1_ratios=[0.5], C=1.0)
    display.plot(axis)
    assert display.ax_ is axis
    assert display.figure_ is figure
    assert legend_texts(display.legend_) == [
        "mean score ± SE",
        "best: C = 1",
        "one-SE rule: C = 0.1",
        "chosen: C = 1",
    ]


def test_scores_in_any_order_of_C():
    order = [2, 0, 3, 1]
    display = scores(
        Cs=CS[order], mean_scores=MEANS[:, order], standard_errors=ERRORS[:, order]
    ).plot()
    assert_allclose(display.lines_[0].get_xydata(), np.column_stack([CS, MEANS[0]]))
    assert_allclose(display.one_se_.get_xydata(), [[0.1, -0.52]])


def test_scores_that_nobody_knows():
    unknown = np.full_like(MEANS, np.nan)
    display = scores(mean_scores=unknown, standard_errors=unknown, C=1.0, l1_ratio=0.0).plot()
    assert display.best_ is None
    assert display.one_se_ is None
    assert display.threshold_ is None
    partly = MEANS.copy()
    partly[0] = np.nan
    display = scores(mean_scores=partly).plot()
    assert_allclose(display.best_.get_xydata(), [[1.0, -0.6]])


def test_scores_without_a_penalty():
    display = scores(Cs=np.array([0.01, 0.1, 1.0, np.inf]), C=np.inf).plot()
    assert_allclose(display.lines_[0].get_xdata(), [0.01, 0.1, 1, 10])
    assert_allclose(display.chosen_.get_xdata(), 10)


def test_the_rule_of_one_standard_error():
    """By hand: within 0.03 of -0.50 are -0.52, -0.50 and -0.53."""
    found = choice(CS, MEANS, ERRORS)
    assert (found.l1_ratio, found.best, found.one_se) == (0, 2, 1)
    assert found.within.tolist() == [1, 2, 3]
    assert choice(CS, np.full((1, 4), np.nan), ERRORS[:1]) is None
    single = choice(CS, MEANS, np.full((2, 4), np.nan))  # one fold has no standard error
    assert (single.one_se, single.within.tolist()) == (2, [2])
    assert choice(CS, MEANS[::-1], ERRORS[::-1]).l1_ratio == 1


def test_of_equal_scores_the_search_takes_the_first():
    means = np.array([[-0.5, -0.3, -0.3], [-0.3, -0.4, -0.3]])
    assert choice(CS[:3], means, np.zeros((2, 3)))[:2] == (1, 0)
    assert choice(CS[2::-1], means, np.zeros((2, 3)))[:2] == (1, 0)


def a_score(y, p):
    return 0.0


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (None, "Accuracy"),
        ("neg_log_loss", "Negative log loss"),
        ("balanced_accuracy", "Balanced accuracy"),
        (a_score, "A score"),
        (make_scorer(a_score), "A score"),
        (make_scorer(log_loss, greater_is_better=False), "Negative log loss"),
    ],
)
def test_names_of_scores(scoring, name):
    assert name_of_score(scoring) == name


# ---- of cross-validation -----------------------------------------------------------------


@pytest.fixture(scope="module", params=[SoftmaxClassifierCV, OvAClassifierCV])
def searched(request, data):
    """A search over an L2 and an L1 path."""
    made = data(3)
    frame = pd.DataFrame(made.X, columns=list("abcdef"))
    Cs = [1.0, 0.01, 0.1, 10.0]
    return request.param(Cs=Cs, l1_ratios=[0.0, 1.0], cv=3, selection="1se").fit(frame, made.y)


def test_scores_of_a_search(searched):
    display = CrossValidationScoreDisplay.from_estimator(searched)
    assert display.Cs is searched.Cs_
    assert display.mean_scores is searched.mean_scores_
    assert display.ax_.get_ylabel() == "Negative log loss"
    order = np.argsort(searched.Cs_)
    for row, line in enumerate(display.lines_):
        assert_allclose(line.get_xdata(), searched.Cs_[order])
        assert_allclose(line.get_ydata(), searched.scores_[:, row].mean(axis=0)[order])
    assert_allclose(display.chosen_.get_xdata(), searched.C_)
    assert display.one_se_.get_xdata() == [searched.C_]  # as it chose by that rule
    assert display.best_.get_ydata() == [searched.mean_scores_.max()]


def test_paths_of_a_search(searched):
    display = RegularizationPathDisplay.from_estimator(searched)
    row = searched.l1_ratios_.tolist().index(searched.l1_ratio_)
    assert_allclose(display.coefs, searched.coefs_paths_[:, row, ..., :6].mean(axis=0))
    assert display.C == searched.C_ == display.one_se_band[0]
    means = searched.mean_scores_[row]
    least = means.max() - searched.standard_errors_[row, means.argmax()]
    assert display.one_se_band[1] == searched.Cs_[means >= least].max()
    assert set(display.feature_names) == set("abcdef")
    assert [axis.get_title() for axis in display.axes_] == ["class 0", "class 1", "class 2"]
    for line in display.chosen_:
        assert_allclose(line.get_xdata(), searched.C_)


def test_displays_of_a_search_without_intercept_and_with_two_classes(data):
    made = data(2)
    search = SoftmaxClassifierCV(Cs=3, cv=3, fit_intercept=False, refit=False)
    search.fit(made.X, made.y)
    display = RegularizationPathDisplay.from_estimator(search, classes=1)
    assert_allclose(display.coefs, search.coefs_paths_[:, 0].mean(axis=0))
    assert_allclose(display.chosen_[0].get_xdata(), search.C_)  # the folds' mean
    assert len(CrossValidationScoreDisplay.from_estimator(search).lines_) == 1


def test_paths_of_folds_that_miss_a_class(data):
    """The mean over those that know it."""
    made = data(3)
    rare = np.concatenate([np.flatnonzero(made.y < 2), np.flatnonzero(made.y == 2)[:1]])
    folds = [(rare[rare % 2 == part], rare[rare % 2 != part]) for part in (0, 1)]
    search = SoftmaxClassifierCV(Cs=[0.1, 1.0], cv=folds, scoring="accuracy", refit=True)
    search.fit(made.X, made.y)
    assert np.isnan(search.coefs_paths_).any(axis=(1, 2, 3, 4)).sum() == 1
    display = RegularizationPathDisplay.from_estimator(search)
    assert_allclose(display.coefs, np.nanmean(search.coefs_paths_[:, 0, ..., :6], axis=0))
    assert np.isfinite(display.coefs).all()


def test_convergence_of_a_search_is_refused(data):
    made = data(3)
    with pytest.raises(TypeError, match="Got SoftmaxClassifierCV"):
        ConvergenceDisplay.from_estimator(SoftmaxClassifierCV(), made.X, made.y)


@pytest.mark.parametrize(
    "show", [CrossValidationScoreDisplay.from_estimator, RegularizationPathDisplay.from_estimator]
)
def test_displays_of_cross_validation_need_it(show, data):
    made = data(3)
    with pytest.raises(TypeError, match="a fitted SoftmaxClassifierCV or OvAClassifierCV"):
        show(SoftmaxClassifier().fit(made.X, made.y))

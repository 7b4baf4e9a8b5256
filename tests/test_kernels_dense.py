"""Sweeps over dense rows, and products with Hessians, against their twins in `naive`."""

from dataclasses import dataclass

import naive
import numpy as np
import pytest
from kernel_cases import (
    assert_close,
    curvature_state,
    derivative,
    ova_sides,
    over_coupling,
    overflow_is_no_accident,
    read_only,
    with_one_bad_entry,
)

from sk_softmax._kernels import dense, wide

pytestmark = overflow_is_no_accident

KS = range(1, 10)  # outputs and features: on and beside tiles of 4
PS = (0, 1, 2, 3, 4, 6, 7, 8, 11, 15, 16)
NS = (1, 7, 8, 9, 15, 16, 17, 33)  # rows: on and beside blocks of 8 and 16
over_outputs = pytest.mark.parametrize("K", KS)
over_numbers_of_rows = pytest.mark.parametrize("n", NS)


@dataclass
class Sweep:
    """What the kernels take for n rows of X, from row ``first`` on; X has others, which are nan.

    ``spare`` is the number of outputs whose coefficients are 0 and who belong to no class.
    """

    X: np.ndarray
    y: np.ndarray
    s: np.ndarray
    W: np.ndarray
    b: np.ndarray
    first: int = 0
    spare: int = 0
    block: int = 8

    @property
    def rows(self):
        return self.X[self.first : self.first + self.y.size]

    @property
    def K(self):
        return self.b.size

    def augmented(self):
        """Coefficients and intercepts with the spare outputs, (K + spare, p + 1), read-only."""
        V = np.zeros((self.K + self.spare, self.X.shape[1] + 1))
        V[: self.K] = np.column_stack([self.W, self.b])
        return read_only(V)

    def softmax(self, G=None):
        """Loss and the gradient (K + spare, p + 1), added to ``G``."""
        V = self.augmented()
        G = np.zeros(V.shape) if G is None else G
        return dense.dense_softmax(*self.centred_rows(V), V, self.K, self.block, G), G

    def centred_rows(self, V):
        """What comes before the coefficients: weights are of their precision."""
        return self.X, self.first, np.zeros(self.X.shape[1]), self.y, self.s.astype(V.dtype)

    def probabilities(self, dtype=np.float64):
        """Whether none is nan, and the probabilities (n, K); of all rows of X."""
        P = np.full((len(self.X), self.K), np.nan, dtype)
        X = read_only(self.X.astype(dtype))
        return dense.dense_probabilities(X, self.augmented(), self.K, self.block, P), P

    def sigmoid(self, sides, G=None, loss=None):
        """The losses (K,) and the gradient (K + spare, p + 1), added to ``G`` and ``loss``."""
        V = self.augmented()
        G = np.zeros(V.shape) if G is None else G
        loss = np.zeros(self.K) if loss is None else loss
        dense.dense_sigmoid(*self.centred_rows(V), *sides, V, self.block, G, loss)
        return loss, G

    def one(self, sides, G=None):
        """`sigmoid` of a single output, by the kernel that does without turning."""
        G = np.zeros((1, self.X.shape[1] + 1)) if G is None else G
        rows = self.X, self.first, self.y, self.s
        side = (values[0] for values in sides)
        return np.array([dense.one_sigmoid(*rows, *side, self.augmented(), self.block, G)]), G

    def wide(self, sides=None):
        """`softmax`, or `sigmoid`, by the kernels that do not turn rows."""
        V = self.augmented()
        G = np.zeros(V.shape)
        coefficients = (read_only(np.ascontiguousarray(part)) for part in (V[:, :-1], V[:, -1]))
        gradient = np.zeros(G[:, :-1].shape), np.zeros(len(G))
        rows = self.X, self.first, self.y, self.s
        if sides is None:
            loss = wide.wide_softmax(*rows, *coefficients, self.K, self.block, *gradient)
        else:
            loss = np.zeros(self.K)
            wide.wide_sigmoid(*rows, *sides, *coefficients, self.block, *gradient, loss)
        return loss, np.column_stack(gradient)

    def product(self, center, state, softmax, G=None):
        """A Hessian times the coefficients, (K + spare, p + 1), added to ``G``."""
        V = self.augmented()
        G = np.zeros(V.shape) if G is None else G
        curvature = center, state, self.s, softmax
        dense.dense_curvature_product(self.X, self.first, *curvature, V, self.block, G)
        return G

    def twin(self, sides=None):
        """Loss and gradient (K, p + 1): softmax, or one-vs-all where there are sides."""
        rows = self.rows, self.y, self.s
        if sides is None:
            loss, G, g = naive.dense_softmax(*rows, self.W, self.b)
        else:
            loss, G, g = naive.dense_sigmoid(*rows, *sides, self.W, self.b)
        return loss, np.column_stack([G, g])

    def twin_product(self, center, state, softmax):
        product = naive.curvature_product(self.rows, center, state, self.s, softmax, self.W, self.b)
        return np.column_stack(product)


def make_sweep(n, p, K, *, first=0, spare=0, block=8, after=0, classes=None, seed=0):
    rng = np.random.default_rng(seed)
    X = np.full((first + n + after, p), np.nan)
    X[first : first + n] = rng.normal(size=(n, p))
    y, s = rng.integers(K if classes is None else classes, size=n), rng.uniform(0, 2, n)
    W, b = rng.normal(size=(K, p)), rng.normal(size=K)
    return Sweep(read_only(X), y, s, W, b, first, spare, block)


def in_tiles(K):
    """The outputs that are missing to a multiple of 4."""
    return -K % 4


def assert_sums(result, exact, scale):
    """Loss and gradient are the twin's; what spare outputs have is exactly 0."""
    loss, G = result
    exact_loss, exact_G = exact
    assert_close(loss, exact_loss, scale=scale)
    assert_close(G[: len(exact_G)], exact_G, scale=scale)
    assert not G[len(exact_G) :].any()


# ---- against the twins ----------------------------------------------------------------------


@over_outputs
@over_numbers_of_rows
def test_dense_softmax(n, K):
    """With spare outputs, and as it comes."""
    for p in PS:
        for spare in {0, in_tiles(K)}:
            sweep = make_sweep(n, p, K, spare=spare)
            assert_sums(sweep.softmax(), sweep.twin(), scale=n)


@over_outputs
@over_numbers_of_rows
def test_dense_probabilities(n, K):
    for p in PS:
        for spare in {0, in_tiles(K)}:
            sweep = make_sweep(n, p, K, spare=spare)
            exact = naive.softmax(naive.logits(sweep.X, sweep.W, sweep.b))
            for dtype in (np.float64, np.float32):
                known, P = sweep.probabilities(dtype)
                assert known
                rtol = 1e-13 if dtype == np.float64 else 1e-5
                np.testing.assert_allclose(P, exact.astype(np.float64), rtol=rtol)


@over_outputs
@over_numbers_of_rows
def test_dense_sigmoid(n, K):
    """Some rows are of a class that has no output."""
    sides = ova_sides(K, classes=K + 1)
    for p in PS:
        for spare in {0, in_tiles(K)}:
            sweep = make_sweep(n, p, K, spare=spare, classes=K + 1)
            assert_sums(sweep.sigmoid(sides), sweep.twin(sides), scale=n)


@over_outputs
@over_numbers_of_rows
def test_wide_sweeps(n, K):
    """With blocks that rows do not fill, and from a row in the midst of X on."""
    sides = ova_sides(K, classes=K + 1)
    for p in PS:
        for spare in {0, in_tiles(K)}:
            sweep = make_sweep(n, p, K, first=3, spare=spare, after=2)
            assert_sums(sweep.wide(), sweep.twin(), scale=n)
            sweep = make_sweep(n, p, K, first=3, spare=spare, after=2, classes=K + 1)
            assert_sums(sweep.wide(sides), sweep.twin(sides), scale=n)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_wide_sweeps_of_many_features_in_both_types(dtype):
    """In blocks of all sizes; sums are in float64, whatever the numbers are stored as."""
    for block in (8, 16, 40):
        sweep = make_sweep(37, 300, 3, spare=1, block=block)
        sweep.X = read_only(sweep.X.astype(dtype))
        assert_sums(sweep.wide(), sweep.twin(), scale=37)
        assert_sums(sweep.wide(ova_sides(3)), sweep.twin(ova_sides(3)), scale=37)


@pytest.mark.parametrize("row", [0, 7, 8, 17])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_wide_sweeps_do_not_hide_bad_data(bad, row):
    sweep = make_sweep(18, 3, 2, spare=2)
    sweep.X = with_one_bad_entry(sweep.X, row, bad)
    loss, G = sweep.wide()
    assert np.isnan(loss)
    assert np.isnan(G[:2]).all()
    loss, G = sweep.wide(ova_sides(2))
    assert not np.isfinite(G[:2, 1]).any()
    if np.isnan(bad):
        assert np.isnan(loss).all()


@over_coupling
@over_outputs
@over_numbers_of_rows
def test_dense_curvature_product(n, K, softmax):
    state, s = curvature_state(n, K, softmax)
    for p in PS:
        for spare in {0, in_tiles(K)}:
            sweep = make_sweep(n, p, K, spare=spare)
            sweep.s, center = s, np.random.default_rng(1).normal(size=p)
            G = sweep.product(center, state, softmax)
            assert_close(G[:K], sweep.twin_product(center, state, softmax), scale=10 * n)
            assert not G[K:].any()


@pytest.mark.parametrize("p", range(17))
@over_outputs
def test_dense_sweeps_of_every_shape(K, p):
    sides, (state, s) = ova_sides(K), curvature_state(17, K, True)
    sweep = make_sweep(17, p, K, spare=in_tiles(K), block=16)
    assert_sums(sweep.softmax(), sweep.twin(), scale=17)
    assert_sums(sweep.sigmoid(sides), sweep.twin(sides), scale=17)
    sweep.s, center = s, np.ones(p)
    G = sweep.product(center, state, True)
    assert_close(G[:K], sweep.twin_product(center, state, True), scale=170)
    assert not G[K:].any()


@pytest.mark.parametrize(("first", "after"), [(1, 0), (0, 1), (8, 8), (13, 30)])
@pytest.mark.parametrize("n", [1, 8, 19])
def test_dense_sweeps_read_their_rows_only(n, first, after):
    sweep = make_sweep(n, 5, 3, first=first, after=after, spare=1)
    sides, center = ova_sides(3), np.ones(5)
    assert_sums(sweep.softmax(), sweep.twin(), scale=n)
    assert_sums(sweep.sigmoid(sides), sweep.twin(sides), scale=n)
    state, _ = curvature_state(n, 3, True)
    G = sweep.product(center, state, True)
    assert_close(G[:3], sweep.twin_product(center, state, True), scale=10 * n)


@pytest.mark.parametrize("spare", [0, 3])
def test_dense_sweeps_add_to_what_is_there(spare):
    """Which stays as it is for spare outputs."""
    sweep, sides = make_sweep(33, 3, 5, spare=spare), ova_sides(5)
    before = np.random.default_rng(3).normal(size=(5 + spare, 4))
    G, loss = before.copy(), np.arange(5.0)
    softmax_loss, _ = sweep.softmax(G)
    sweep.sigmoid(sides, G, loss)
    softmax, sigmoid = sweep.twin(), sweep.twin(sides)
    assert_close(softmax_loss, softmax[0], scale=33)
    assert_close(loss - np.arange(5), sigmoid[0], scale=33)
    assert_close((G - before)[:5], softmax[1] + sigmoid[1], scale=33)
    np.testing.assert_array_equal(G[5:], before[5:])
    state, sweep.s = curvature_state(33, 5, True)
    G = before.copy()
    sweep.product(np.ones(3), state, True, G)
    exact = sweep.twin_product(np.ones(3), state, True)
    assert_close((G - before)[:5], exact, scale=330)
    np.testing.assert_array_equal(G[5:], before[5:])


def test_dense_sweeps_of_no_rows_add_nothing():
    sweep, sides = make_sweep(0, 3, 4, after=9), ova_sides(4)
    G, loss = np.ones((4, 4)), np.ones(4)
    assert sweep.softmax(G)[0] == 0.0
    sweep.sigmoid(sides, G, loss)
    sweep.product(np.zeros(3), np.empty((0, 4)), True, G)
    np.testing.assert_array_equal(G, 1.0)
    np.testing.assert_array_equal(loss, 1.0)


def test_rows_without_weight_add_nothing():
    sweep, sides = make_sweep(33, 3, 4), ova_sides(4)
    sweep.s[::3] = 0.0
    kept = sweep.s > 0
    few = make_sweep(33, 3, 4)
    few.X, few.y, few.s = read_only(sweep.X[kept]), sweep.y[kept], sweep.s[kept]
    assert_sums(sweep.softmax(), few.twin(), scale=33)
    assert_sums(sweep.sigmoid(sides), few.twin(sides), scale=33)
    state = curvature_state(33, 4, True)[0]
    product = sweep.product(np.zeros(3), state, True)
    assert_close(product, few.twin_product(np.zeros(3), state[kept], True), scale=33)
    sweep.s[:] = 0.0
    assert sweep.softmax()[0] == 0.0
    assert not sweep.softmax()[1].any()
    assert not sweep.sigmoid(sides)[1].any()
    assert not sweep.product(np.zeros(3), state, True).any()


# ---- a single output, without turning -------------------------------------------------------


def one_side(K=3):
    """The last of several classes against the rest, with a factor on either side."""
    return tuple(values[-1:] for values in ova_sides(K))


@over_numbers_of_rows
@pytest.mark.parametrize("p", [*PS, 17, 33])
def test_one_sigmoid(p, n):
    """Wherever the rows are in X, in blocks of any size."""
    for first, after, block in ((0, 0, 8), (1, 0, 8), (5, 9, 16), (8, 1, 40)):
        sweep = make_sweep(n, p, 1, first=first, after=after, block=block, classes=3)
        assert_sums(sweep.one(one_side()), sweep.twin(one_side()), scale=n)


def test_one_sigmoid_adds_to_what_is_there():
    sweep, before = make_sweep(33, 17, 1, classes=3), np.arange(18.0)[None]
    _, G = sweep.one(one_side(), before.copy())
    assert_close(G - before, sweep.twin(one_side())[1], scale=33)
    nothing = make_sweep(0, 17, 1, after=9)
    loss, G = nothing.one(one_side(), before.copy())
    assert loss == 0.0
    np.testing.assert_array_equal(G, before)


def test_one_sigmoid_of_float32_and_read_only_input():
    """The arithmetic is that of float64, to the rounding of sums in another order."""
    sweep = make_sweep(19, 17, 1, classes=3)
    sweep.X = read_only(sweep.X.astype(np.float32))
    assert_sums(sweep.one(one_side()), sweep.twin(one_side()), scale=19)
    sweep.y, sweep.s = read_only(sweep.y), read_only(sweep.s)
    assert_sums(sweep.one(one_side()), sweep.twin(one_side()), scale=19)


def test_rows_without_weight_add_nothing_to_one_sigmoid():
    sweep = make_sweep(33, 17, 1, classes=3)
    sweep.s[::3] = 0.0
    kept = sweep.s > 0
    few = make_sweep(33, 17, 1)
    few.X, few.y, few.s = read_only(sweep.X[kept]), sweep.y[kept], sweep.s[kept]
    few.W, few.b = sweep.W, sweep.b
    assert_sums(sweep.one(one_side()), few.twin(one_side()), scale=33)


@pytest.mark.parametrize("row", [0, 3, 7, 8, 16, 17])  # in a group of four, and in the rest
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_sigmoid_does_not_hide_bad_data(bad, row):
    sweep = make_sweep(18, 17, 1, classes=3)
    sweep.X = with_one_bad_entry(sweep.X, row, bad)
    loss, G = sweep.one(one_side())
    assert not np.isfinite(G[0, 1])
    if np.isnan(bad):
        assert np.isnan(loss).all()
        assert np.isnan(G).all()


@pytest.mark.parametrize("scale", [1e6, 1e150, 1e306])
def test_one_sigmoid_with_huge_coefficients_is_sure(scale):
    """As `dense_sigmoid` is: residuals are 0 or the weight."""
    sweep = make_sweep(17, 17, 1, classes=3)
    sweep.W *= scale
    sweep.b *= scale
    loss, G = sweep.one(one_side())
    assert np.isfinite(loss).all()
    assert_sums((loss, G), sweep.sigmoid(one_side()), scale=17)


# ---- blocks, orders and dtypes --------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 24, 40, 64])
def test_dense_sweeps_in_other_blocks_are_the_same(block):
    """Up to the rounding of sums in another order."""
    sweep, other = make_sweep(37, 6, 5, spare=3), make_sweep(37, 6, 5, spare=3, block=block)
    sides, (state, _) = ova_sides(5), curvature_state(37, 5, True)
    assert_sums(other.softmax(), sweep.softmax(), scale=37)
    assert_sums(other.sigmoid(sides), sweep.sigmoid(sides), scale=37)
    product = other.product(np.ones(6), state, True)
    assert_close(product, sweep.product(np.ones(6), state, True), scale=370)


def test_dense_sweeps_over_ranges_of_rows_in_any_order_add_up():
    sweep, sides = make_sweep(37, 6, 5, spare=3), ova_sides(5)
    state, _ = curvature_state(37, 5, False)
    loss, losses = 0.0, np.zeros(5)
    G = np.zeros((3, 8, 7))
    for first, last in ((24, 37), (0, 8), (9, 24), (8, 9)):
        rows = slice(first, last)
        part = Sweep(sweep.X, sweep.y[rows], sweep.s[rows], sweep.W, sweep.b, first, 3)
        loss += part.softmax(G[0])[0]
        part.sigmoid(sides, G[1], losses)
        part.product(np.ones(6), state[rows], False, G[2])
    assert_sums((loss, G[0]), sweep.softmax(), scale=37)
    assert_sums((losses, G[1]), sweep.sigmoid(sides), scale=37)
    assert_close(G[2], sweep.product(np.ones(6), state, False), scale=37)


@pytest.mark.recompiles
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_sweeps_of_x_in_any_form_are_those_of_its_numbers(dtype, order):
    """To the bit: the arithmetic is that of float64."""
    sweep, sides = make_sweep(19, 5, 3, spare=1), ova_sides(3)
    state, _ = curvature_state(19, 3, True)
    X = sweep.X.astype(dtype)

    def results(X):
        sweep.X = read_only(X)
        return *sweep.softmax(), *sweep.sigmoid(sides), sweep.product(np.ones(5), state, True)

    for result, expected in zip(
        results(np.asarray(X, order=order)), results(X.astype(np.float64)), strict=True
    ):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.recompiles
def test_dense_sweeps_take_read_only_input():
    """X and the coefficients are read-only in every test; here all else is too."""
    sweep, sides = make_sweep(9, 3, 4), ova_sides(4)
    state, _ = curvature_state(9, 4, True)
    center = np.ones(3)
    expected = *sweep.softmax(), *sweep.sigmoid(sides), sweep.product(center, state, True)
    sweep.y, sweep.s = read_only(sweep.y), read_only(sweep.s)
    sides = [read_only(array) for array in sides]
    product = sweep.product(read_only(center), read_only(state), True)
    for result, other in zip(
        (*sweep.softmax(), *sweep.sigmoid(sides), product), expected, strict=True
    ):
        assert_close(result, other)


# ---- bad and extreme data -------------------------------------------------------------------


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("row", [0, 7, 8, 17])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dense_softmax_does_not_hide_bad_data(bad, row, spare):
    sweep = make_sweep(18, 3, 2, spare=spare)
    sweep.X = with_one_bad_entry(sweep.X, row, bad)
    loss, G = sweep.softmax()
    assert np.isnan(loss)
    assert np.isnan(G[:2]).all()


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("row", [0, 7, 8, 17])
@pytest.mark.parametrize("bad", [np.nan, 1e308, -1e308])
def test_dense_probabilities_are_known_unless_a_row_is_bad(bad, row, spare):
    """Logits of 1e308 have probabilities; where they overflow upwards they have none."""
    sweep = make_sweep(18, 3, 2, spare=spare)
    sweep.W[:] = 2.0
    assert sweep.probabilities()[0]
    sweep.X = with_one_bad_entry(sweep.X, row, bad)
    known, P = sweep.probabilities()
    assert not known
    assert np.isnan(P[row]).all()
    assert not np.isnan(np.delete(P, row, axis=0)).any()
    if np.isfinite(bad):
        sweep.W[:] = 1.0
        known, P = sweep.probabilities()
        assert known
        np.testing.assert_allclose(P[row].sum(), 1.0)


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("row", [0, 7, 8, 17])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dense_sigmoid_does_not_hide_bad_data(bad, row, spare):
    sweep = make_sweep(18, 3, 2, spare=spare)
    sweep.X = with_one_bad_entry(sweep.X, row, bad)
    loss, G = sweep.sigmoid(ova_sides(2))
    assert not np.isfinite(G[:2, 1]).any()
    if np.isnan(bad):  # an infinite logit has a probability, and on one side a finite loss
        assert np.isnan(loss).all()
        assert np.isnan(G[:2]).all()


@over_coupling
@pytest.mark.parametrize("row", [0, 7, 8, 17])
def test_dense_curvature_product_does_not_hide_bad_data(softmax, row):
    sweep = make_sweep(18, 3, 2, spare=2)
    state, sweep.s = curvature_state(18, 2, softmax, seed=1)
    state[row], sweep.s[row] = 0.25, 1.0
    sweep.X = with_one_bad_entry(sweep.X, row, np.nan)
    G = sweep.product(np.zeros(3), state, softmax)
    assert np.isnan(G[:2]).all()


@pytest.mark.parametrize("k", range(6))
def test_a_bad_coefficient_is_of_its_problem_only(k):
    """One-vs-all: outputs of one tile, and spare ones beside them, share nothing."""
    sweep, sides = make_sweep(17, 5, 6, spare=2), ova_sides(6)
    state, _ = curvature_state(17, 6, False)
    before = *sweep.sigmoid(sides), sweep.product(np.zeros(5), state, False)
    sweep.W[k, 2] = np.nan
    after = *sweep.sigmoid(sides), sweep.product(np.zeros(5), state, False)
    for result, expected in zip(after, before, strict=True):
        assert np.isnan(result[k]).all()
        np.testing.assert_array_equal(np.delete(result, k, 0), np.delete(expected, k, 0))


@pytest.mark.parametrize("scale", [1e6, 1e150, 1e306])
def test_dense_sweeps_with_huge_coefficients_are_sure(scale):
    """Residuals are 0 or the weight, and losses are finite as long as the logits are."""
    sweep, sides = make_sweep(17, 3, 4), (np.arange(4), np.ones(4), np.ones(4))
    sweep.W *= scale
    sweep.b *= scale
    for loss, G in (sweep.softmax(), sweep.sigmoid(sides)):
        assert np.isfinite(G).all()
        assert np.isfinite(loss).all()
    Z = naive.logits(sweep.rows, sweep.W, sweep.b)
    own = naive.is_class(sweep.y, range(4))
    sure = sweep.s[:, None] * ((Z.max(axis=1, keepdims=True) == Z).astype(float) - own)
    G, g = naive.gradient(sweep.rows, sure)
    assert_close(sweep.softmax()[1], np.column_stack([G, g]), scale=17)
    G, g = naive.gradient(sweep.rows, sweep.s[:, None] * ((Z > 0).astype(float) - own))
    assert_close(sweep.sigmoid(sides)[1], np.column_stack([G, g]), scale=17)


# ---- laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_gradients_are_differences_of_the_loss(loss, K):
    sweep, sides = make_sweep(70, 3, K), ova_sides(K)
    V = np.column_stack([sweep.W, sweep.b])

    def value(V):
        sweep.W, sweep.b = V[:, :3], V[:, 3]
        return sweep.softmax()[0] if loss == "softmax" else sweep.sigmoid(sides)[0].sum()

    G = sweep.softmax()[1] if loss == "softmax" else sweep.sigmoid(sides)[1]
    for at in np.ndindex(G.shape):
        assert G[at] == pytest.approx(derivative(value, V, at), abs=1e-8)


def test_gradients_of_softmax_add_up_to_0_over_classes():
    _, G = make_sweep(33, 6, 5, spare=3).softmax()
    np.testing.assert_allclose(G.sum(axis=0), 0.0, atol=1e-12)
    assert np.abs(G).max() > 1

"""Factors of inverses: in their variables a matrix is the identity, whatever its units."""

import numpy as np
import pytest
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)

from sk_softmax import _factor
from sk_softmax._factor import (
    JITTER,
    SMALL,
    Inverses,
    Triangles,
    inverse_factor,
    inverse_factors,
    pseudo_inverse_factor,
)

EPS = np.finfo(float).eps
over_units = pytest.mark.parametrize("units", [0, 8], ids=["same units", "other units"])
SPECTRA = {
    "round": [3.0, 2.0, 1.0, 1.0, 0.5, 0.1],
    "oblong": [1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10],
    "nearly singular": [1.0, 1.0, 1e-3, 1e-13, 1e-14, 1e-15],
    "singular": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
    "of rank 1": [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}
FORMS = {"inverses": Inverses, "triangles": Triangles}
over_forms = pytest.mark.parametrize("form", FORMS)


def with_spectrum(values, units, seed=0):
    """A symmetric matrix with these eigenvalues, then in units 10^-units to 10^units."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    H = (Q * values) @ Q.T * np.outer(*(10.0 ** rng.uniform(-units, units, len(values)),) * 2)
    return (H + H.T) / 2


def assert_equal_in_units_of(H, A, B, tolerance):
    """A = B where each coordinate is measured in units that make H's diagonal 1."""
    scale = np.sqrt(H.diagonal())
    np.testing.assert_allclose(
        A / np.outer(scale, scale), B / np.outer(scale, scale), rtol=0, atol=tolerance
    )


# ---- one matrix -----------------------------------------------------------------------------


@over_units
@pytest.mark.parametrize("spectrum", ["round", "oblong"])
def test_in_its_factor_s_variables_a_hessian_is_the_identity(spectrum, units):
    values = SPECTRA[spectrum]
    H = with_spectrum(values, units)
    M, jitter = inverse_factor(H)
    assert jitter == JITTER
    condition = max(values) / min(values)
    np.testing.assert_allclose(M.T @ H @ M, np.eye(6), atol=100 * EPS * condition + 10 * JITTER)


@over_units
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_factor_is_exact_for_the_hessian_with_its_jitter(spectrum, units):
    """Also where H is singular: then the jitter is all that there is in some directions."""
    H = with_spectrum(SPECTRA[spectrum], units)
    M, jitter = inverse_factor(H)
    assert JITTER <= jitter <= 1e-10
    back = np.linalg.inv(M)
    jittered = H + jitter * np.diag(H.diagonal())
    assert_equal_in_units_of(H, back.T @ back, jittered, 1e-14)


@over_units
def test_an_indefinite_matrix_costs_the_jitter_that_it_needs(units):
    H = with_spectrum([1.0, 1.0, 1.0, 1.0, 1.0, -1e-9], units)
    M, jitter = inverse_factor(H)
    assert 1e-10 < jitter < 1e-5
    back = np.linalg.inv(M)
    assert_equal_in_units_of(H, back.T @ back, H + jitter * np.diag(H.diagonal()), 1e-14)


@pytest.mark.parametrize(
    "inverse", [inverse_factor, lambda H: (pseudo_inverse_factor(H, np.zeros(6)), 0)]
)
def test_a_coordinate_without_curvature_is_left_out(inverse):
    H = with_spectrum(SPECTRA["round"], 3)
    H[2] = H[:, 2] = 0.0
    M, _ = inverse(H)
    assert not M[2].any()
    expected = np.eye(6)
    expected[2, 2] = 0.0
    np.testing.assert_allclose(M.T @ H @ M, expected, atol=1e-12)


def test_no_coordinates_are_factored_without_a_word(capfd):
    M, _ = inverse_factor(np.zeros((0, 0)))
    assert M.shape == (0, 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "inverse", [inverse_factor, lambda H: pseudo_inverse_factor(H, np.zeros(6))]
)
def test_one_matrix_is_left_as_it_is(inverse):
    H = with_spectrum(SPECTRA["round"], 3)
    before = H.copy()
    inverse(H)
    np.testing.assert_array_equal(H, before)


@over_units
@pytest.mark.parametrize("spectrum", ["round", "oblong", "singular", "of rank 1"])
def test_a_pseudo_inverse_undoes_the_hessian_on_its_range(spectrum, units):
    values = SPECTRA[spectrum]
    H = with_spectrum(values, units)
    M = pseudo_inverse_factor(H, np.zeros(6))
    smallest = min(v for v in values if v > 0)
    assert_equal_in_units_of(H, H @ M @ M.T @ H, H, 100 * EPS / smallest)
    # each direction is seen as round, or not at all and never stepped along
    seen = np.linalg.eigvalsh(M.T @ H @ M)
    flat = values.count(0.0)
    np.testing.assert_allclose(seen, [0.0] * flat + [1.0] * (6 - flat), atol=100 * EPS / smallest)
    assert np.linalg.matrix_rank(M * np.sqrt(H.diagonal())[:, None], tol=1e-6) == 6 - flat


def test_a_diagonal_within_its_noise_counts_as_0():
    H = with_spectrum(SPECTRA["round"], 0)
    noise = np.zeros(6)
    noise[3] = H[3, 3]
    M = pseudo_inverse_factor(H, noise)
    assert not M[3].any()
    rest = np.delete(np.arange(6), 3)
    inner = np.ix_(rest, rest)
    np.testing.assert_allclose((M @ M.T)[inner], np.linalg.inv(H[inner]), rtol=1e-12)


# ---- several at once ------------------------------------------------------------------------


def factored(H, form, monkeypatch):
    """`inverse_factors` in the form asked for; H stays as it is."""
    monkeypatch.setattr(_factor, "SMALL", 0 if form == "triangles" else 10**6)
    blocks, jitter = inverse_factors(H.copy())
    assert type(blocks) is FORMS[form]
    return blocks, jitter


def matrices(blocks, count, d):
    """The M of each block, (count, d, d), column by column."""
    columns = [blocks.times(np.tile(u, (count, 1))) for u in np.eye(d)]
    return np.stack(columns, axis=2)


def round_matrices(units=0, count=4):
    return np.array([with_spectrum(SPECTRA["round"], units, seed) for seed in range(count)])


@over_forms
@over_units
def test_each_matrix_is_the_identity_in_its_own_variables(form, units, monkeypatch):
    H = round_matrices(units)
    blocks, jitter = factored(H, form, monkeypatch)
    assert jitter == JITTER
    for M, h in zip(matrices(blocks, 4, 6), H, strict=True):
        np.testing.assert_allclose(M.T @ h @ M, np.eye(6), atol=1e-12)


@over_forms
def test_several_matrices_are_factored_as_each_by_itself(form, monkeypatch):
    H = round_matrices(units=3)
    blocks, _ = factored(H, form, monkeypatch)
    for M, h in zip(matrices(blocks, 4, 6), H, strict=True):
        scale = np.sqrt(h.diagonal())[:, None]
        np.testing.assert_allclose(M * scale, inverse_factor(h)[0] * scale, atol=1e-12)


@over_forms
@over_units
def test_times_and_transposed_times_are_adjoint_block_by_block(form, units, monkeypatch):
    blocks, _ = factored(round_matrices(units), form, monkeypatch)
    u, g = np.random.default_rng(0).normal(size=(2, 4, 6))
    before = u.copy(), g.copy()
    there = (blocks.times(u) * g).sum(axis=1)
    np.testing.assert_allclose((u * blocks.transposed_times(g)).sum(axis=1), there, rtol=1e-9)
    np.testing.assert_array_equal(u, before[0])
    np.testing.assert_array_equal(g, before[1])


@over_units
def test_triangles_step_where_inverses_do(units, monkeypatch):
    H = round_matrices(units)
    inverses, _ = factored(H, "inverses", monkeypatch)
    triangles, _ = factored(H, "triangles", monkeypatch)
    g = np.random.default_rng(0).normal(size=(4, 6))
    for blocks in (inverses, triangles):
        steps = blocks.times(blocks.transposed_times(g))
        for h, step, own in zip(H, steps, g, strict=True):
            scale = np.sqrt(h.diagonal())
            exact = np.linalg.solve(h / np.outer(scale, scale), own / scale)
            np.testing.assert_allclose(step * scale, exact, rtol=1e-10)


@pytest.mark.parametrize("d", [SMALL, SMALL + 1])
def test_the_form_depends_on_the_size(d):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(2, d, 2 * d))
    H = A @ A.transpose(0, 2, 1)
    blocks, jitter = inverse_factors(H.copy())
    assert type(blocks) is (Inverses if d == SMALL else Triangles)
    assert jitter == JITTER
    for M, h in zip(matrices(blocks, 2, d), H, strict=True):
        np.testing.assert_allclose(M.T @ h @ M, np.eye(d), atol=1e-11)


@over_forms
@over_units
def test_one_matrix_that_needs_jitter_changes_no_other(form, units, monkeypatch):
    """The largest jitter is told; each matrix has its own."""
    H = round_matrices(units)
    H[2] = with_spectrum([1.0, 1.0, 1.0, 1.0, 1.0, -1e-9], units, seed=2)
    own = inverse_factor(H[2])[1]
    assert own > 1e-10
    blocks, jitter = factored(H, form, monkeypatch)
    assert jitter == own
    for b, (M, h) in enumerate(zip(matrices(blocks, 4, 6), H, strict=True)):
        back = np.linalg.inv(M)
        jittered = h + (own if b == 2 else JITTER) * np.diag(h.diagonal())
        assert_equal_in_units_of(h, back.T @ back, jittered, 1e-14)


@over_forms
def test_coordinates_without_curvature_are_left_out_matrix_by_matrix(form, monkeypatch):
    H = round_matrices(units=3)
    H[1, 2] = H[1, :, 2] = 0.0
    H[3] = 0.0
    blocks, jitter = factored(H, form, monkeypatch)
    assert jitter == JITTER
    for M, h in zip(matrices(blocks, 4, 6), H, strict=True):
        seen = h.diagonal() > 0
        np.testing.assert_array_equal(M.any(axis=1), seen)
        np.testing.assert_allclose(M.T @ h @ M, np.diag(seen), atol=1e-12)
    pulled = blocks.transposed_times(np.ones((4, 6)))
    assert np.isfinite(pulled).all()
    assert pulled[1, 2] == 0.0
    assert not pulled[3].any()


@pytest.mark.parametrize("d", [3, SMALL + 1])
def test_no_matrices(d):
    blocks, jitter = inverse_factors(np.zeros((0, d, d)))
    assert jitter == JITTER
    assert blocks.times(np.zeros((0, d))).shape == (0, d)
    assert blocks.transposed_times(np.zeros((0, d))).shape == (0, d)


def test_matrices_without_coordinates(capfd):
    blocks, jitter = inverse_factors(np.zeros((3, 0, 0)))
    assert jitter == JITTER
    assert blocks.times(np.zeros((3, 0))).shape == (3, 0)
    assert blocks.transposed_times(np.zeros((3, 0))).shape == (3, 0)
    assert capfd.readouterr() == ("", "")

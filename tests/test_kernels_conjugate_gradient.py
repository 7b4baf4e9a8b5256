"""The vector work of conjugate gradients, features along the first axis, against its twins."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident, read_only

from sk_softmax._kernels import conjugate_gradient

pytestmark = overflow_is_no_accident


class Vectors:
    """What the kernels of conjugate gradients take: (q, K) each, and what goes with them."""

    def __init__(self, K, p=9, intercept=True, seed=0):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q = K, p, p + intercept
        names = "x", "direction", "residual", "image", "scale"
        for name, values in zip(names, rng.normal(size=(5, self.q, K)), strict=True):
            setattr(self, name, values)
        self.g, self.ridge, self.length, self.ratio, self.dots = rng.normal(size=(5, K))
        self.center, self.at_mean = rng.normal(size=p), rng.normal(size=self.q)

    def finish_product(self, start, stop):
        frozen = map(read_only, (self.g, self.center, self.ridge))
        direction = read_only(self.direction)
        conjugate_gradient.finish_product(
            self.image, direction, start, stop, self.p, *frozen, self.dots
        )

    def advance(self, start, stop, softmax):
        direction, length, scale = map(read_only, (self.direction, self.length, self.scale))
        vectors = self.x, direction, self.residual, self.image, length, scale
        conjugate_gradient.advance(*vectors, softmax, start, stop, self.dots)

    def turn(self, start, stop):
        frozen = map(read_only, (self.image, self.ratio, self.at_mean))
        conjugate_gradient.turn(self.direction, *frozen, start, stop, self.dots)


over_vectors = pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 9])
over_features = pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (0, 0), (0, 9), (2, 5), (9, 10), (10, 10)]
)


def assert_of_features(result, before, exact, start, stop):
    """As the twin has it between start and stop, as before elsewhere."""
    assert_close(result[start:stop], exact[start:stop])
    np.testing.assert_array_equal(
        np.delete(result, slice(start, stop), axis=0), np.delete(before, slice(start, stop), axis=0)
    )


@over_vectors
@over_features
def test_finish_product(start, stop, K):
    """The last feature is the intercept; what is there of it does not count."""
    now, before = Vectors(K), Vectors(K)
    now.image[9] = before.image[9] = np.nan
    now.finish_product(start, stop)
    exact = naive.finish_product(
        before.image, before.direction, before.g, before.center, before.ridge
    )
    assert_of_features(now.image, before.image, exact, start, stop)
    dots = (naive.wide(before.direction) * exact)[start:stop].sum(axis=0)
    assert_close(now.dots - before.dots, dots, scale=10)


@pytest.mark.parametrize("softmax", [True, False])
@over_vectors
@over_features
def test_advance(start, stop, K, softmax):
    now, before = Vectors(K), Vectors(K)
    now.advance(start, stop, softmax)
    x, residual, z = naive.advance(
        before.x,
        before.direction,
        before.residual,
        before.image,
        before.length,
        before.scale,
        softmax,
    )
    assert_of_features(now.x, before.x, x, start, stop)
    assert_of_features(now.residual, before.residual, residual, start, stop)
    assert_of_features(now.image, before.image, z, start, stop)
    assert_close(now.dots - before.dots, (residual * z)[start:stop].sum(axis=0), scale=10)


@over_vectors
@over_features
def test_turn(start, stop, K):
    now, before = Vectors(K), Vectors(K)
    now.turn(start, stop)
    d = naive.wide(before.image) + naive.wide(before.ratio) * naive.wide(before.direction)
    assert_of_features(now.direction, before.direction, d, start, stop)
    dots = (before.at_mean[:, None] * d)[start:stop].sum(axis=0)
    assert_close(now.dots - before.dots, dots, scale=10)


@pytest.mark.parametrize("K", [1, 3])
def test_conjugate_gradients_without_an_intercept(K):
    now, before = Vectors(K, intercept=False), Vectors(K, intercept=False)
    now.finish_product(0, 9)
    exact = naive.finish_product(
        before.image, before.direction, before.g, before.center, before.ridge
    )
    assert_close(now.image, exact)


@pytest.mark.parametrize("softmax", [True, False])
def test_conjugate_gradients_let_a_nan_travel_in_its_output(softmax):
    """For softmax to all outputs of its feature."""
    vectors = Vectors(3)
    vectors.direction[4, 1] = np.nan
    vectors.finish_product(0, 10)
    np.testing.assert_array_equal(np.isnan(vectors.dots), [False, True, False])
    assert np.isnan(vectors.image[4, 1])
    assert np.isnan(vectors.image).sum() == 1
    vectors.dots[:] = 0.0
    vectors.advance(0, 10, softmax)
    assert np.isnan(vectors.x).sum() == np.isnan(vectors.residual).sum() == 1
    assert np.isnan(vectors.image[4]).sum() == np.isnan(vectors.image).sum()
    np.testing.assert_array_equal(np.isnan(vectors.image[4]), [softmax, True, softmax])
    np.testing.assert_array_equal(np.isnan(vectors.dots), [softmax, True, softmax])
    vectors.dots[:] = 0.0
    vectors.turn(0, 10)
    np.testing.assert_array_equal(np.isnan(vectors.direction[4]), [softmax, True, softmax])
    np.testing.assert_array_equal(np.isnan(vectors.dots), [softmax, True, softmax])

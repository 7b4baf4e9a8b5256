"""The vector work of conjugate gradients for a wide sparse X, fused into few passes.

Vectors have shape (q, K), features along the first axis, as products with X transposed leave them:
so nothing is ever turned.  Each kernel does a range of features, and adds what dot products have
there; ranges are added in their order, so threads change no bit.
"""

from .jit import jit


@jit
def finish_product(image, direction, start, stop, p, g, center, ridge, dots):
    """Complete H d: ``image`` (q, K) holds X' T on entry; ``dots`` (K,) gains d . H d.

    Parameters
    ----------
    image, direction : ndarray of shape (q, K)
    start, stop : int
        The range of features; ``p`` is the intercept's.
    g : ndarray of shape (K,)
        Column sums of T.
    center : ndarray of shape (p,)
    ridge : ndarray of shape (K,)
        lambda2 of each output.
    dots : ndarray of shape (K,)
    """
    K = image.shape[1]
    for j in range(start, stop):
        for k in range(K):
            if j < p:
                image[j, k] += ridge[k] * direction[j, k] - g[k] * center[j]
            else:
                image[j, k] = g[k]
            dots[k] += direction[j, k] * image[j, k]


@jit
def advance(x, direction, residual, image, length, scale, softmax, start, stop, dots):
    """x += length d and r -= length H d; then H d becomes z = M r, and ``dots`` gains r . z.

    M is the square of ``scale``, and for softmax z is freed of the shift of all classes.

    Parameters
    ----------
    x, direction, residual, image, scale : ndarray of shape (q, K)
    length : ndarray of shape (K,)
    softmax : bool
    start, stop : int
    dots : ndarray of shape (K,)
    """
    K = x.shape[1]
    for j in range(start, stop):
        mean = 0.0
        for k in range(K):
            x[j, k] += length[k] * direction[j, k]
            residual[j, k] -= length[k] * image[j, k]
            z = scale[j, k] * scale[j, k] * residual[j, k]
            image[j, k] = z
            mean += z
        mean = mean / K if softmax else 0.0
        for k in range(K):
            image[j, k] -= mean
            dots[k] += residual[j, k] * image[j, k]


@jit
def turn(direction, z, ratio, center, start, stop, dots):
    """d = z + ratio d; ``dots`` gains center . d.

    Parameters
    ----------
    direction, z : ndarray of shape (q, K)
    ratio : ndarray of shape (K,)
    center : ndarray of shape (q,)
    start, stop : int
    dots : ndarray of shape (K,)
    """
    K = direction.shape[1]
    for j in range(start, stop):
        for k in range(K):
            direction[j, k] = z[j, k] + ratio[k] * direction[j, k]
            dots[k] += center[j] * direction[j, k]

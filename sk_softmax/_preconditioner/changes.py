"""Changes of variables: point = point0 + M u.

L-BFGS sees u, in which the Hessian at (or near) the current point is the identity.  See the user
guide, "Preconditioned L-BFGS".
"""

from dataclasses import dataclass

from .._factor import Inverses, Triangles
from .._typing import Array


@dataclass
class Centring:
    """T: from (coef, intercept + coef @ center) to (coef, intercept), and its transpose."""

    center: Array  # (p,)

    def undo(self, step: Array) -> Array:
        """T applied to a point or step (K, q), in place."""
        p = self.center.size
        step[:, p:] -= (step[:, :p] @ self.center)[:, None]
        return step

    def apply(self, point: Array) -> Array:
        """T^-1 point, as a new array (K, q)."""
        p = self.center.size
        centred = point.copy()
        centred[:, p:] += (point[:, :p] @ self.center)[:, None]
        return centred

    def pull(self, gradient: Array) -> Array:
        """T' gradient, as a new array (K, q)."""
        p = self.center.size
        pulled = gradient.copy()
        if gradient.shape[1] > p:
            pulled[:, :p] -= gradient[:, p:] * self.center
        return pulled

    def push(self, pulled: Array) -> Array:
        """T'^-1 of what `pull` gives, as a new array (K, q)."""
        p = self.center.size
        gradient = pulled.copy()
        if pulled.shape[1] > p:
            gradient[:, :p] += pulled[:, p:] * self.center
        return gradient


class InCentred:
    """A change of variables made in the centred coordinates: M = T times what a subclass does."""

    centring: Centring

    def step(self, u: Array) -> Array:
        """M u as a step (K, q), for u of shape (m, d)."""
        return self.centring.undo(self.centred_step(u))

    def pull(self, gradient: Array) -> Array:
        """M' gradient, (m, d): the gradient by u."""
        return self.centred_pull(self.centring.pull(gradient))

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        raise NotImplementedError

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        raise NotImplementedError


@dataclass
class Factor(InCentred):
    """M = T D L^-T with L L' = D (H + penalty) D of unit diagonal, block by block.

    The blocks are the problems; or softmax's classes, each by itself.  A shift of all classes,
    which softmax does not see, is then taken out of every step: each block by itself sees it, so
    that without this F would be far from round.

    Attributes
    ----------
    blocks : Inverses or Triangles
        Of the problems' Hessians, or of the classes'.
    centring : Centring
    shape : tuple
        (K, q)
    coupled : bool
    by_class : bool
        Whether softmax's classes are taken one by one.
    exact : bool
        Whether this is the Hessian, and on all rows.
    jitter : float
        What the factorisation needed on the unit diagonal.
    single : bool
        Whether the Hessian was made in single precision.
    """

    blocks: Inverses | Triangles
    centring: Centring
    shape: tuple[int, int]
    coupled: bool
    by_class: bool
    exact: bool
    jitter: float
    single: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        whole = self.coupled and not self.by_class
        step = self.blocks.times(u if whole else u.reshape(self.shape)).reshape(self.shape)
        return without_shift(step) if self.by_class else step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        if self.by_class:
            gradient = without_shift(gradient)
        whole = self.coupled and not self.by_class
        pulled = self.blocks.transposed_times(gradient.reshape(1, -1) if whole else gradient)
        return pulled.reshape(1, -1) if self.coupled else pulled


@dataclass
class Kronecker(InCentred):
    """M = T (E x U) D^-1/2 for a Hessian near (E diag(theta) E') x (U diag(gamma) U') + lambda2.

    Exact at the null model, where the second factor is the features' covariance and the first is
    diag(pi) - pi pi' = E diag(theta) E' for softmax, diag(pi (1 - pi)) for one-vs-all (E = I);
    elsewhere the rows of that covariance are weighted by how uncertain the model is of them.

    Attributes
    ----------
    E : ndarray of shape (K, K)
    U : ndarray of shape (p, p)
    scale : ndarray of shape (K, q)
        D^-1/2; 0 along the shift that softmax does not see.
    centring : Centring
    """

    E: Array
    U: Array
    scale: Array
    centring: Centring
    coupled: bool
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        p = self.U.shape[0]
        step = self.E @ (u.reshape(self.scale.shape) * self.scale)
        step[:, :p] = step[:, :p] @ self.U.T
        return step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        p = self.U.shape[0]
        pulled = self.E.T @ gradient
        pulled[:, :p] = pulled[:, :p] @ self.U
        pulled *= self.scale
        return pulled.reshape(1, -1) if self.coupled else pulled


@dataclass
class Diagonal(InCentred):
    """M = T D: the curvature of each coordinate by itself."""

    scale: Array  # (K, q)
    centring: Centring
    coupled: bool
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        step = u.reshape(self.scale.shape) * self.scale
        return without_shift(step) if self.coupled else step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        if self.coupled:
            gradient = without_shift(gradient)
        scaled = gradient * self.scale
        return scaled.reshape(1, -1) if self.coupled else scaled


Change = Factor | Kronecker | Diagonal


def without_shift(step: Array) -> Array:
    """The step (K, q), or (K,), less its mean over classes."""
    return step - step.sum(axis=0) / step.shape[0]

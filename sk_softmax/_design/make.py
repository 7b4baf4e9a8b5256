"""From X to its design, dense or CSR: both have the same methods."""

from typing import Any

from scipy import sparse

from .csr import CSRDesign
from .dense import DenseDesign

Design = DenseDesign | CSRDesign


def make_design(X: Any) -> Design:
    """The design of a validated X."""
    return CSRDesign(X) if sparse.issparse(X) else DenseDesign(X)

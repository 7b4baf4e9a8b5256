"""The design X as the solvers see it, dense or CSR, and what its rows should be classified as."""

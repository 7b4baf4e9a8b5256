"""Solvers: one a file; `table.solve` chooses; every one returns a `solution.Solution`."""

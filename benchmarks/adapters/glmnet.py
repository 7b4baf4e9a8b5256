"""R's glmnet, in a process of its own through Rscript.

Its objective is this project's F: lambda = 1 / (C S), alpha = l1_ratio, the multinomial penalty on
each coefficient by itself (type "ungrouped", its default), intercepts unpenalised. Columns are
left as they are (``standardize = FALSE``). It fits a path of `PATH` values of lambda that ends at
the one asked for, as its manual advises, or all of a grid (`Session.path`), and is timed in R
around that call; the way of the data into R, and of the coefficients back, does not count.

References
----------
Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent", Journal of Statistical Software 33(1).
"""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.adapters import Lane

ROLE = "peer"

SCRIPT = Path(__file__).resolve().parents[1] / "glmnet" / "fit.R"
# Its ``thresh``, about the square of an error; the default is 1e-7.
TOLS = tuple(10.0**-power for power in range(6, 16))
PATH = 20


def unavailable():
    """Say why glmnet cannot be used; empty if it can."""
    if shutil.which("Rscript") is None:
        return "Rscript is not on the PATH (R with the package glmnet is needed)"
    return "" if version() else "R has no package glmnet"


def version():
    """Return the version of glmnet, empty if R has none."""
    return _version(shutil.which("Rscript"))


@cache
def _version(rscript):
    if rscript is None:
        return ""
    command = [rscript, "-e", 'cat(as.character(packageVersion("glmnet")))']
    asked = subprocess.run(command, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else ""


def lanes(case):
    """Return glmnet where there is an L1 penalty, which it is made for."""
    if case.l1_ratio == 0 or not np.isfinite(case.C):
        return []
    return [Lane("glmnet", TOLS, 1, 1, {"path": PATH})]


def references(case):
    """Return nothing: it is one of the peers."""
    return []


def prepare(case, lane):
    """Start R and hand it the data, unless it has them."""
    Session.of(case)


def estimator(case, lane, tol):
    """Return a fit by R as an estimator."""
    return Glmnet(case, tol, lane.options["path"])


def coefficients(estimator):
    """Return coef and intercept."""
    return estimator.coef_, estimator.intercept_


def details(estimator):
    """Return the passes of coordinate descent over the data, along the whole path."""
    return {"n_iter": estimator.n_iter_}


def finish():
    """End R, and remove its files."""
    if Session.current is not None:
        Session.current.close()
        Session.current = None


class Glmnet:
    """A fit of the case by glmnet.

    Parameters
    ----------
    case : Case
    thresh : float
    path : int
        Values of lambda on the way.

    Attributes
    ----------
    coef_, intercept_ : ndarray of shape (R, p) and (R,)
    loss_ : ndarray of shape (m,)
        glmnet's own account of the mean loss, the penalty left out.
    n_iter_ : int
    seconds_ : float
        As R measured them.
    """

    def __init__(self, case, thresh, path=PATH):
        self.case, self.thresh, self.path = case, thresh, path

    def fit(self, X, y):
        """Fit X and y, which must be those of the case: R has them already."""
        if X is not self.case.X or y is not self.case.y:
            raise ValueError("R holds other data.")
        session = Session.of(self.case)
        strength = 1.0 / (self.case.C * X.shape[0])
        fitted = session.fit(strength, self.case.l1_ratio, self.thresh, self.path)
        self.coef_, self.intercept_, self.seconds_, self.n_iter_, self.loss_ = fitted
        return self


class Session:
    """A process of R that holds the data of one case.

    Parameters
    ----------
    case : Case
    """

    current = None

    @classmethod
    def of(cls, case):
        """Return the session that holds the case's data; the one before it, if any, ends."""
        if cls.current is None or cls.current.case is not case:
            finish()
            cls.current = cls(case)
        return cls.current

    def __init__(self, case):
        self.case = case
        self.folder = tempfile.TemporaryDirectory(prefix="glmnet")
        self._write_data(Path(self.folder.name))
        self.process = subprocess.Popen(
            [shutil.which("Rscript"), str(SCRIPT), self.folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions = self._answer("ready")  # of glmnet and of R

    def fit(self, strength, alpha, thresh, path):
        """Ask for a fit.

        Returns
        -------
        coef : ndarray of shape (R, p)
        intercept : ndarray of shape (R,)
        seconds : float
        passes : int
        loss : ndarray of shape (m,)

        Raises
        ------
        RuntimeError
            If glmnet, or R, gave up; the message says why.
        """
        words = (self.case.formulation, repr(strength), repr(alpha), repr(thresh), path)
        seconds, passes, *loss = self._ask(words)
        values = self._read("fitted", "<f8")
        values = values.reshape(self.case.X.shape[1] + 1, -1).T  # R stores column by column
        return values[:, :-1], values[:, -1], float(seconds), int(passes), np.array(loss, float)

    def path(self, strengths, alpha, thresh):
        """Ask for softmax at every lambda of a grid.

        Parameters
        ----------
        strengths : ndarray of shape (L,)
            Descending.
        alpha, thresh : float

        Returns
        -------
        coefs : list of L csr_matrix of shape (R, p)
        intercepts : ndarray of shape (L, R)
        seconds : float
        passes : int

        Raises
        ------
        RuntimeError
            As `fit` does.
        """
        length, p = len(strengths), self.case.X.shape[1]
        np.asarray(strengths, dtype="<f8").tofile(Path(self.folder.name) / "lambda.bin")
        seconds, passes = self._ask(("path", length, repr(alpha), repr(thresh)))
        intercepts = self._read("offsets", "<f8").reshape(length, -1)
        entries = self._read("x", "<f8"), self._read("rows", "<i4"), self._read("starts", "<i4")
        stacked = sparse.csc_matrix(entries, shape=(intercepts.shape[1] * p, length))
        coefs = [stacked[:, [at]].reshape(-1, p).tocsr() for at in range(length)]
        return coefs, intercepts, float(seconds), int(passes)

    def close(self):
        """End the process; its files go with it."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.folder.cleanup()

    def _ask(self, words):
        """What R answers to a request of these words, and whether there are intercepts."""
        intercept = "TRUE" if self.case.fit_intercept else "FALSE"
        self.process.stdin.write(" ".join(map(str, (*words, intercept))) + "\n")
        self.process.stdin.flush()
        return self._answer("fitted")

    def _read(self, name, dtype):
        """Numbers that R has written."""
        return np.fromfile(Path(self.folder.name) / f"{name}.bin", dtype=dtype)

    def _answer(self, expected):
        """The words after the expected one on the next line that R writes."""
        line = self.process.stdout.readline()
        word, *rest = line.split() or ["ended"]
        if word != expected:
            raise RuntimeError(f"glmnet: {line.strip() or 'R ended'}")
        return rest

    def _write_data(self, folder):
        """Write X column by column, or as CSC, and the codes of the labels."""
        X, entries = self.case.X, -1
        if sparse.issparse(X):
            X = X.tocsc()
            X.sort_indices()
            entries = X.nnz
            X.indices.astype("<i4").tofile(folder / "rows.bin")
            X.indptr.astype("<i4").tofile(folder / "starts.bin")
            X.data.astype("<f8").tofile(folder / "x.bin")
        else:
            X.T.astype("<f8").tofile(folder / "x.bin")
        _, code = np.unique(self.case.y, return_inverse=True)
        code.astype("<i4").tofile(folder / "y.bin")
        shape = (*X.shape, self.case.n_classes, entries)
        (folder / "shape.txt").write_text(" ".join(map(str, shape)) + "\n", encoding="ascii")

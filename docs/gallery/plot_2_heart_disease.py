"""
Heart disease: two classes, missing values, and gradient descent
================================================================

A table as they come: numbers in different units, words, and empty fields. With two classes both
of our classifiers are plain logistic regression, so every number must equal that of
``LogisticRegression`` where that has converged; and plain gradient descent, given time, must
arrive at the same coefficients.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# The 303 patients of the Cleveland Clinic [1]_ are shipped with these pages (CC BY 4.0; the
# file's first lines say where they come from and what was changed).

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_softmax import SoftmaxClassifier

folder = next(path for path in (Path("data"), Path("docs/gallery/data")) if path.is_dir())
table = pd.read_csv(folder / "heart_disease.csv", comment="#")
table.head()

# %%
X, y = table.drop(columns="disease"), table["disease"]
print(y.value_counts().to_dict())
print("missing:", X.isna().sum()[lambda missing: missing > 0].to_dict())
assert X.shape == (303, 13)
assert X.isna().sum().sum() == 6

# %%
# Words become columns of zeros and ones, empty fields the most frequent word or the median. There
# is no scaler: ``SoftmaxClassifier`` does not need one.

numbers = X.select_dtypes("number").columns
words = X.columns.difference(numbers)
columns = make_column_transformer(
    (SimpleImputer(strategy="median"), numbers),
    (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), words),
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
models = {
    "SoftmaxClassifier": SoftmaxClassifier(),
    "LogisticRegression": LogisticRegression(solver="newton-cholesky", tol=1e-8),
}
models = {name: make_pipeline(columns, model) for name, model in models.items()}
for model in models.values():
    model.fit(X_train, y_train)

# %%
# The two give the same table of errors on the patients held out, and the same metrics.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ConfusionMatrixDisplay.from_estimator(
        model, X_test, y_test, ax=ax, cmap="Blues", colorbar=False, im_kw={"vmin": 0}
    )
    ax.set(title=name, xlabel="predicted disease", ylabel="disease")
plt.show()

# %%
metrics = {}
for name, model in models.items():
    predicted, probability = model.predict(X_test), model.predict_proba(X_test)[:, 1]
    metrics[name] = {
        "accuracy": accuracy_score(y_test, predicted),
        "precision": precision_score(y_test, predicted, pos_label="yes"),
        "recall": recall_score(y_test, predicted, pos_label="yes"),
        "F1": f1_score(y_test, predicted, pos_label="yes"),
        "ROC AUC": roc_auc_score(y_test, probability),
        "log loss": log_loss(y_test, probability),
    }
metrics = pd.DataFrame(metrics)
ours, theirs = (confusion_matrix(y_test, model.predict(X_test)) for model in models.values())
assert (ours == theirs).all()
assert np.allclose(metrics["SoftmaxClassifier"], metrics["LogisticRegression"], atol=1e-4)
metrics.round(4)

# %%
# ``LogisticRegression`` had to be given a solver and a tolerance for that. On these columns its
# default solver stops at its limit of iterations, and warns:

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    default = LogisticRegression().fit(columns.transform(X_train), y_train)
fitted = models["SoftmaxClassifier"][-1]
print(f"LogisticRegression(): {str(caught[0].message).splitlines()[0]}")
print(f"SoftmaxClassifier(): {fitted.n_iter_[0]} iterations, converged: {fitted.converged_},")
print(f"    at most {fitted.dual_gap_:.1e} above the optimum")
assert default.n_iter_[0] == default.max_iter  # all that it may make
assert fitted.converged_

# %%
# Plain gradient descent
# ----------------------
#
# The rule is :math:`w \leftarrow w - \rho \nabla F(w)`, and with a small enough rate :math:`\rho`
# it comes to the same point from any start, since :math:`F` is strictly convex. It does need a
# scaler, or it would take far longer. Two rates run beside each other, as two columns of one
# matrix.

Z = StandardScaler().fit_transform(columns.transform(X_train))
t = (y_train == "yes").to_numpy(dtype=float)[:, np.newaxis]
n = len(t)
optimum = SoftmaxClassifier(tol=1e-8).fit(Z, y_train)
usual = SoftmaxClassifier().fit(Z, y_train)

design = np.column_stack([Z, np.ones(n)])  # the last column is the intercept's
penalty = np.append(np.ones(Z.shape[1]), 0)[:, np.newaxis] / n  # C = 1; none on the intercept
rates = np.array([0.01, 0.1])
w = np.zeros((design.shape[1], 2))
trace = []
noted = set(np.geomspace(1, 100_000, 300, dtype=int).tolist())
for iteration in range(100_001):
    raw = design @ w
    if iteration in noted:
        losses = (np.logaddexp(0, raw) - t * raw).mean(axis=0)
        trace.append((iteration, *(losses + (penalty * w**2).sum(axis=0) / 2)))
    w -= rates * (design.T @ (1 / (1 + np.exp(-raw)) - t) / n + penalty * w)

reached = np.append(optimum.coef_[0], optimum.intercept_)[:, np.newaxis]
for rate, distance in zip(rates, np.abs(w - reached).max(axis=0), strict=True):
    print(f"rate {rate}: largest difference from SoftmaxClassifier's coefficients {distance:.1e}")
    assert distance < 1e-5
assert np.abs(w[:, 0] - w[:, 1]).max() < 1e-5

# %%
# Ten times the rate, a tenth of the iterations. Both end where the classifier's iterations, which
# use second derivatives, came after a few.

steps, *objectives = np.array(trace).T
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for rate, objective, dashes in zip(rates, objectives, ("--", "-"), strict=True):
    above = objective - optimum.objective_
    shown = above > 1e-14  # what floating point can tell
    ax.loglog(steps[shown], above[shown], dashes, label=f"gradient descent, rate {rate}")
ax.plot(usual.n_iter_, usual.dual_gap_, "k*", ms=10, label="SoftmaxClassifier, by its dual gap")
ax.set(xlabel="iteration", ylabel="objective above the optimum")
ax.legend(loc="lower left", frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

needed = [int(steps[np.argmax(objective - optimum.objective_ < 1e-10)]) for objective in objectives]
print("iterations to within 1e-10:", dict(zip(rates.tolist(), needed, strict=True)))
assert 9 < needed[0] / needed[1] < 11

# %%
# .. [1] A. Janosi, W. Steinbrunn, M. Pfisterer and R. Detrano, *Heart Disease*, UCI Machine
#    Learning Repository, 1988, https://doi.org/10.24432/C52P4X.

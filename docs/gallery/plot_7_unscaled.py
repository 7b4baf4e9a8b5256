"""
Unscaled data: where others stop, and where the optimum is
==========================================================

Columns in different units are hard for gradients: a step that suits kilometres does not suit
millimetres. The usual answer is a scaler in front. Here is what happens without one, and why
one may not want it: scaling changes the penalty, and so the model.
"""

# %%
# Sixty columns, five of them in other units: thousands, far from zero, millions, billionths.
# Three such problems, with two, three and four classes.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import log_softmax
from sklearn.datasets import load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import ConvergenceDisplay


def problem(seed):
    X, y = make_classification(
        n_samples=100, n_features=60, n_informative=20, n_classes=2 + seed % 3, random_state=seed
    )
    X[:, 1] *= 1e3
    X[:, 1] -= 1e5
    X[:, 0] *= 1e-2
    X[:, 7] *= 1e6
    X[:, 9] = X[:, 9] * 1e-9 + 1
    return X, y


def objective(model, X, y):
    """Mean loss plus penalty at a model's coefficients, computed apart from either library."""
    raw = X @ model.coef_.T + model.intercept_
    if raw.shape[1] == 1:
        raw = np.hstack([np.zeros_like(raw), raw])
    loss = -log_softmax(raw, axis=1)[np.arange(len(y)), y].mean()
    return loss + (model.coef_**2).sum() / (2 * model.C * len(y))


def fit(model, X, y):
    """The fitted model, and whether it warned."""
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, "blas"):
        warnings.simplefilter("always")  # and one thread: for arrays this small more take longer
        model.fit(X, y)
    return model, any(issubclass(w.category, ConvergenceWarning) for w in caught)


settings = {
    "LogisticRegression()": lambda: LogisticRegression(),
    "... max_iter=10000, tol=1e-8": lambda: LogisticRegression(max_iter=10_000, tol=1e-8),
    "... solver='newton-cg'": lambda: LogisticRegression(solver="newton-cg"),
    "... solver='newton-cholesky'": lambda: LogisticRegression(solver="newton-cholesky"),
    "SoftmaxClassifier()": lambda: SoftmaxClassifier(),
}

# %%
# The classifier's ``dual_gap_`` bounds how far below its objective the optimum can be. So the
# optimum is known to lie between the two, whatever it is, and every other fit can be measured
# against it.

rows = []
for seed in range(3):
    X, y = problem(seed)
    ours, _ = fit(SoftmaxClassifier(), X, y)
    optimum = objective(ours, X, y) - ours.dual_gap_
    for name, make in settings.items():
        model, warned = fit(make(), X, y)
        value = objective(model, X, y)
        rows.append((seed, np.unique(y).size, name, value, value - optimum, warned))
columns = ["seed", "classes", "model", "objective", "above the optimum, at most", "warned"]
results = pd.DataFrame(rows, columns=columns)

own = results[results["model"] == "SoftmaxClassifier()"]
assert not own["warned"].any()
assert (own["above the optimum, at most"] < 1e-6).all()
assert np.allclose(own["objective"], [0.119585, 0.166559, 0.124905], atol=2e-6)
results.pivot(index="model", columns="seed", values="objective").loc[list(settings)].round(6)

# %%
# Hollow marks: the fit warned that it did not converge. A filled mark to the right of the last
# row's is a fit that stopped short and did not say so.

figure, ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
names = list(settings)
for seed, (marker, colour) in enumerate(zip("os^", ("#3f90da", "#ffa90e", "#bd1f01"), strict=True)):
    for row in results[results["seed"] == seed].to_dict("records"):
        place = names.index(row["model"]) + 0.15 * (seed - 1)
        fill = "none" if row["warned"] else colour
        ax.plot(row["above the optimum, at most"], place, marker, ms=8, color=colour, mfc=fill)
    ax.plot([], [], marker, color=colour, label=f"{row['classes']} classes")
ax.plot([], [], "o", color="0.4", mfc="none", label="warned")
ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
ax.set_yticks(range(len(names)), names)
ax.set(xscale="log", xlabel="objective above the optimum, at most", xlim=(1e-16, 10))
ax.invert_yaxis()
ax.grid(axis="x", color="0.9")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

silent = results[~results["warned"] & (results["above the optimum, at most"] > 1e-3)]
silent[["classes", "model", "above the optimum, at most"]]

# %%
# How both classifiers come to the optimum of the third problem: the dual gap, a bound that needs
# no knowledge of the optimum, at each iteration.

display = ConvergenceDisplay.from_estimator(
    {"softmax": SoftmaxClassifier(), "one-vs-all": OvAClassifier()},
    *problem(2),
    against="iteration",
)
plt.show()
assert all(np.all(record["dual_gap"][-1] < 1e-6) for record in display.records.values())

# %%
# What the scaler changes
# -----------------------
#
# A penalty is a statement about the sizes of coefficients, and so about the units of columns.
# With a scaler in front it is another statement, and another model is fitted. Which of them
# predicts better is a question about the data; that both can be fitted is what a solver owes. On
# the wine data, where one column runs to 1680 and another stays below 1:

X, y = load_wine(return_X_y=True)
assert X.max() == 1680
assert X.max(axis=0).min() < 1
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, random_state=42, stratify=y
)
candidates = {
    "LogisticRegression, as they are": LogisticRegression(),
    "SoftmaxClassifier, as they are": SoftmaxClassifier(),
    "LogisticRegression, scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "SoftmaxClassifier, scaled": make_pipeline(StandardScaler(), SoftmaxClassifier()),
}
rows = {}
for name, model in candidates.items():
    _, warned = fit(model, X_train, y_train)
    rows[name] = {
        "warned": warned,
        "log loss, training": log_loss(y_train, model.predict_proba(X_train)),
        "log loss, held out": log_loss(y_test, model.predict_proba(X_test)),
        "accuracy, held out": model.score(X_test, y_test),
    }
wines = pd.DataFrame.from_dict(rows, orient="index")
assert wines["warned"].tolist() == [True, False, False, False]
assert np.isclose(*wines["log loss, held out"].iloc[2:], atol=1e-3)  # the same model
assert abs(wines["log loss, held out"].iloc[1] - wines["log loss, held out"].iloc[3]) > 0.01
wines.round(4)

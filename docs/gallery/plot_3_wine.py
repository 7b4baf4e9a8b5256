"""
Wine: one-vs-all against softmax, and what imbalance does to it
===============================================================

Both models tell three cultivars apart equally well. They differ in what they mean by a
probability, and in what happens when one class becomes rare: then a question like "class 1 or
not?" has far more noes than yeses, and one-vs-all answers no too often.
"""

# sphinx_gallery_thumbnail_number = 3

# %%
# 178 wines, 13 measurements, standardised; 30% are held out.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, log_loss, recall_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import DecisionRegionsDisplay, ReliabilityDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, random_state=42, stratify=y
)
scaler = StandardScaler().set_output(transform="pandas").fit(X_train)
Z_train, Z_test = scaler.transform(X_train), scaler.transform(X_test)
models = {"One-vs-all": OvAClassifier(), "Softmax": SoftmaxClassifier()}
for name, model in models.items():
    accuracy = model.fit(Z_train, y_train).score(Z_test, y_test)
    print(f"{name}: accuracy on held-out wines {accuracy:.4f}")
    assert abs(accuracy - 0.98) < 0.01

# %%
# The one-vs-all coefficients point where those of scikit-learn's point, once its solver has been
# told to converge:

others = OneVsRestClassifier(LogisticRegression(tol=1e-8, max_iter=10_000)).fit(Z_train, y_train)
theirs = np.vstack([binary.coef_ for binary in others.estimators_])
ours = models["One-vs-all"].coef_
cosines = (ours * theirs).sum(axis=1)
cosines /= np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
print("cosines by class:", cosines.round(6))
assert cosines.min() > 0.9999

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ConfusionMatrixDisplay.from_estimator(
        model, Z_test, y_test, ax=ax, cmap="Blues", colorbar=False, im_kw={"vmin": 0}
    )
    ax.set(title=name, xlabel="predicted cultivar", ylabel="cultivar")
plt.show()

# %%
# Calibration at the borders
# --------------------------
#
# With all 13 measurements hardly a wine lies near a border. With two of them many do, and there
# the probabilities matter: of the predictions that a model makes with probability 0.7, seven in
# ten should be right. Each probability here comes from a fit on the other nine tenths of the
# data, and the draw of the tenths is repeated ten times.

two = X[["alcohol", "hue"]]
draws = [StratifiedKFold(10, shuffle=True, random_state=seed) for seed in range(10)]
probabilities = {}
for name, model in models.items():
    scaled = make_pipeline(StandardScaler(), model)
    repeated = [cross_val_predict(scaled, two, y, cv=cv, method="predict_proba") for cv in draws]
    probabilities[name] = np.vstack(repeated)
truth = np.tile(y, len(draws))

display = ReliabilityDisplay.from_predictions(truth, probabilities, np.unique(y), n_bins=6)
plt.show()

# %%
# One-vs-all is too timid near a border: where most of its predictions are, its curve runs above
# the diagonal. Three binary answers, divided by their sum, are no fit of the three classes
# together; softmax is one, and stays closer. (The bins below one half hold a handful of wines.)

losses = {name: log_loss(truth, probability) for name, probability in probabilities.items()}
for name, error in zip(probabilities, display.errors, strict=True):
    print(f"{name}: log loss {losses[name]:.3f}, calibration error {error:.3f}")
assert losses["Softmax"] < losses["One-vs-all"]
assert display.errors[1] < display.errors[0]

# %%
# A class becomes rare
# --------------------
#
# Of cultivar 1 only six wines stay in the training data. Its binary problem, six yeses against
# everything else, is easily won by saying no. Softmax is hurt less, since it compares cultivar 1
# with each of the others. ``class_weight="balanced"`` gives both sides of each problem the same
# weight.

RARE, KEPT = 1, 6
candidates = {
    "One-vs-all": OvAClassifier(),
    "Softmax": SoftmaxClassifier(),
    "One-vs-all, balanced": OvAClassifier(class_weight="balanced"),
    "Softmax, balanced": SoftmaxClassifier(class_weight="balanced"),
}
before, after = ({name: [] for name in candidates} for _ in range(2))
for seed in range(20):
    A, A_test, c, c_test = train_test_split(two, y, test_size=0.3, random_state=seed, stratify=y)
    scale = StandardScaler().set_output(transform="pandas").fit(A)
    A, A_test = scale.transform(A), scale.transform(A_test)
    spared = c[c == RARE].sample(KEPT, random_state=seed).index
    thinned = c.index[(c != RARE) | c.index.isin(spared)]
    for name, model in candidates.items():
        for results, rows in ((before, c.index), (after, thinned)):
            predicted = model.fit(A.loc[rows], c.loc[rows]).predict(A_test)
            results[name].append(recall_score(c_test, predicted, labels=[RARE], average=None)[0])

# %%
# The regions of the last draw, all classes at full strength and then with the rare one; the
# points and the accuracy are those of the held-out wines, of which none was thinned.

full = OvAClassifier().fit(A, c)
display = DecisionRegionsDisplay.from_estimator(
    {
        "One-vs-all, all wines": full,
        "One-vs-all, class 1 rare": candidates["One-vs-all"],
        "Softmax, class 1 rare": candidates["Softmax"],
    },
    A_test,
    c_test,
)
plt.show()

# %%
# Over twenty draws: the share of cultivar 1 that is recognised.

figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
places = np.arange(len(candidates))[::-1]
for offset, results, colour, label in (
    (0.2, before, "0.8", "all wines"),
    (-0.2, after, "#bd1f01", f"{KEPT} of cultivar {RARE}"),
):
    means = [np.mean(results[name]) for name in candidates]
    spread = [np.std(results[name]) for name in candidates]
    ax.barh(places + offset, means, 0.36, xerr=spread, color=colour, ecolor="0.3", label=label)
    for place, mean in zip(places + offset, means, strict=True):
        ax.text(0.01, place, f"{mean:.2f}", va="center", color="black" if offset > 0 else "white")
ax.set_yticks(places, list(candidates))
ax.set(xlim=(0, 1), xlabel=f"recall of cultivar {RARE}, held out (mean and spread of 20 draws)")
ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, title="training data")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

recall = {name: np.mean(values) for name, values in after.items()}
assert recall["One-vs-all"] < np.mean(before["One-vs-all"]) - 0.2
assert recall["One-vs-all"] < recall["Softmax"]
assert recall["One-vs-all, balanced"] > recall["One-vs-all"] + 0.2

"""
Decision regions of softmax and one-vs-all
==========================================

Two features and three classes: all that the two models do can be drawn. Both cut the plane into
regions with straight borders, but not into the same ones. Softmax fits the classes against each
other; one-vs-all fits each class against the rest.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# Three overlapping classes, 300 samples. Nothing is held out: this is about geometry.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import DecisionRegionsDisplay

X, y = make_classification(
    n_samples=300, n_features=2, n_informative=2, n_redundant=0, n_clusters_per_class=1,
    n_classes=3, random_state=42,
)  # fmt: skip
softmax = SoftmaxClassifier().fit(X, y)
ova = OvAClassifier().fit(X, y)
for model in (softmax, ova):
    accuracy = model.score(X, y)
    print(f"{type(model).__name__}: accuracy {accuracy:.3f}, certified: {np.all(model.converged_)}")
    assert accuracy > 0.9
    assert np.all(model.converged_)

# The softmax model is that of scikit-learn.
reference = LogisticRegression(tol=1e-8).fit(X, y)
assert np.abs(softmax.predict_proba(X) - reference.predict_proba(X)).max() < 1e-3

# %%
# A point belongs to the class with the largest value of ``decision_function``, so every border lies
# on a line where two classes tie.

DecisionRegionsDisplay.from_estimator({"Softmax": softmax, "One-vs-all": ova}, X, y)
plt.show()

# %%
# One-vs-all answers three separate questions, "this class or not?", and its three binary
# probabilities (``predict_ova_proba``) need not agree. In some places no class gets more than one
# half, in others two do. ``predict_proba`` divides the three by their sum, so that along a whole
# wedge two classes share the probability about evenly. Softmax is unsure near its borders and
# nowhere else.

margin = 0.6
corners = zip(X.min(axis=0) - margin, X.max(axis=0) + margin, strict=True)
across, up = np.meshgrid(*(np.linspace(low, high, 400) for low, high in corners))
grid = np.column_stack([across.ravel(), up.ravel()])


def on_grid(values):
    return values.reshape(across.shape)


classes = ["#3f90da", "#ffa90e", "#bd1f01"]  # the colours of the regions above
figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for ax, model, name in zip(axes, (softmax, ova), ("Softmax", "One-vs-all"), strict=False):
    largest = on_grid(model.predict_proba(grid).max(axis=1))
    shades = ax.contourf(
        across, up, largest, levels=np.linspace(0.3, 1, 8), cmap="Greys_r", vmin=0.2
    )
    ax.set_title(f"{name}: largest probability")
figure.colorbar(shades, ax=axes[:2])

binary = ova.predict_ova_proba(grid)
yes = on_grid((binary > 0.5).sum(axis=1))
areas = axes[2].contourf(
    across, up, yes, levels=[-0.5, 0.5, 1.5, 2.5], colors=["0.8", "white", "mistyrose"]
)
for k, colour in enumerate(classes):
    axes[2].contour(across, up, on_grid(binary[:, k]), levels=[0.5], colors=colour)
axes[2].set_title("One-vs-all: classes above one half")
figure.colorbar(areas, ax=axes[2], ticks=[0, 1, 2])
for ax in axes:
    for k, (colour, marker) in enumerate(zip(classes, "os^", strict=True)):
        ax.scatter(*X[y == k].T, s=18, c=colour, marker=marker, edgecolors="white", linewidths=0.4)
    ax.set(xlabel="x0", ylabel="x1")
    ax.label_outer()
plt.show()

none, one, two = (np.mean(yes == number) for number in range(3))
print(f"Of the area drawn: no class {none:.1%}, one class {one:.1%}, two classes {two:.1%}")
assert none > 0
assert two > 0
assert np.allclose(ova.predict_proba(grid), binary / binary.sum(axis=1, keepdims=True))

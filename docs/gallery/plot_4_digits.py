"""
Digits: probabilities, coefficients as images, and the gradient
===============================================================

Ten classes on 64 pixels. The coefficients of a class are an image, so one can see what a model
looks for; and the gradient shows the difference between the two models: in softmax every
class's gradient depends on all classes' coefficients, in one-vs-all on its own alone.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# The pixels are whole numbers from 0 to 16, and go in as they are.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import CoefficientsDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
multinomial = SoftmaxClassifier(C=0.01).fit(X_train, y_train)
ova = OvAClassifier(C=0.01).fit(X_train, y_train)
for model in (multinomial, ova):
    accuracy = model.score(X_test, y_test)
    print(f"{type(model).__name__}: accuracy on held-out digits {accuracy:.3f}")
    assert accuracy > 0.94
    assert np.all(model.converged_)

# %%
# The probabilities of one digit
# ------------------------------
#
# A clear digit, and the one of which softmax is least sure. The hollow bars are the ten binary
# probabilities of one-vs-all, which need not sum to 1.

unsure = multinomial.predict_proba(X_test).max(axis=1).argmin()
clear = np.flatnonzero(y_test == 3)[0]
figure, axes = plt.subplots(
    2, 2, figsize=(8, 4.6), width_ratios=(1, 3), layout="constrained", squeeze=False
)
for (picture, bars), row in zip(axes, (clear, unsure), strict=True):
    digit = X_test[[row]]
    picture.imshow(digit.reshape(8, 8), cmap="Greys")
    picture.set(title=f"a {y_test[row]}", xticks=[], yticks=[])
    left, right = np.arange(10) - 0.2, np.arange(10) + 0.2
    bars.bar(left, multinomial.predict_proba(digit)[0], 0.4, color="#3f90da", label="softmax")
    bars.bar(right, ova.predict_proba(digit)[0], 0.4, color="#ffa90e", label="one-vs-all")
    bars.bar(
        right, ova.predict_ova_proba(digit)[0], 0.4, fill=False, ec="black",
        label="one-vs-all, binary",
    )  # fmt: skip
    bars.set(ylim=(0, 1.05), ylabel="probability", xticks=np.arange(10))
    bars.spines[["top", "right"]].set_visible(False)
axes[0, 1].legend(frameon=False)
axes[1, 1].set_xlabel("class")
plt.show()

sums = ova.predict_ova_proba(X_test).sum(axis=1)
print(f"Sums of the ten binary probabilities: from {sums.min():.2f} to {sums.max():.2f}")
assert np.allclose(ova.predict_proba(X_test).sum(axis=1), 1)
assert sums.min() < 0.9
assert sums.max() > 1.1

# %%
# What each class looks for
# -------------------------
#
# Red pixels speak for the class, blue ones against it. The two models nearly agree on where to
# look.

CoefficientsDisplay.from_estimator(multinomial, image_shape=(8, 8))
plt.gcf().suptitle("Softmax")
CoefficientsDisplay.from_estimator(ova, image_shape=(8, 8))
plt.gcf().suptitle("One-vs-all")
plt.show()

alike = [np.corrcoef(*pair)[0, 1] for pair in zip(multinomial.coef_, ova.coef_, strict=True)]
print("correlation of the two images, by class:", np.round(alike, 2))
assert min(alike) > 0.5

# %%
# The gradient against its formula
# --------------------------------
#
# Both models have the same formula for the gradient of the mean loss plus penalty,
#
# .. math:: \nabla_W F = \frac{1}{n} (P - Y)^\top X + \frac{1}{C n} W ,
#
# with other probabilities :math:`P`: the softmax of the raw values :math:`X W^\top + b`, or the
# logistic function of each. Here it is compared with differences of :math:`F` itself, far from
# the optimum.

n, C = len(X_train), 0.01
Y = np.eye(10)[y_train]
rng = np.random.default_rng(0)
W, b = rng.normal(scale=0.01, size=(10, 64)), rng.normal(size=10)


def objective(W, b, coupled):
    raw = X_train @ W.T + b
    if coupled:
        losses = -(Y * log_softmax(raw, axis=1)).sum(axis=1)
    else:
        losses = (np.logaddexp(0, raw) - Y * raw).sum(axis=1)
    return losses.mean() + (W**2).sum() / (2 * C * n)


def gradient(W, b, coupled):
    raw = X_train @ W.T + b
    P = softmax(raw, axis=1) if coupled else expit(raw)
    return (P - Y).T @ X_train / n + W / (C * n)


for coupled, name in ((True, "softmax"), (False, "one-vs-all")):
    by_formula = gradient(W, b, coupled)
    worst, h = 0.0, 1e-5
    for k, j in rng.integers((10, 64), size=(40, 2)):
        nudge = np.zeros_like(W)
        nudge[k, j] = h
        rise = objective(W + nudge, b, coupled) - objective(W - nudge, b, coupled)
        worst = max(worst, abs(rise / (2 * h) - by_formula[k, j]))
    print(f"{name}: largest difference between formula and differences {worst:.1e}")
    assert worst < 1e-6

# %%
# At what the classifiers return, the formula gives zero, to the tolerance of the fit:

for coupled, model in ((True, multinomial), (False, ova)):
    largest = np.abs(gradient(model.coef_, model.intercept_, coupled)).max()
    print(f"{type(model).__name__}: largest entry of the gradient {largest:.1e}")
    assert largest <= model.tol
    value = objective(model.coef_, model.intercept_, coupled)
    assert np.isclose(value, np.sum(model.objective_), rtol=1e-12)

# %%
# Coupled and uncoupled
# ---------------------
#
# Move the coefficients of one class, and look at which classes' gradients change. In softmax all
# of them do; in one-vs-all only the class's own, and so the ten problems can be solved apart.

changes = {}
for coupled, name in ((True, "Softmax"), (False, "One-vs-all")):
    start = gradient(W, b, coupled)
    change = np.empty((10, 10))
    for k in range(10):
        moved = W.copy()
        moved[k] += 0.01
        change[:, k] = np.linalg.norm(gradient(moved, b, coupled) - start, axis=1)
    changes[name] = change

figure, axes = plt.subplots(1, 2, figsize=(8.5, 4), layout="constrained")
top = max(change.max() for change in changes.values())
for ax, (name, change) in zip(axes, changes.items(), strict=True):
    image = ax.imshow(change, cmap="viridis", norm="log", vmin=top / 1000, vmax=top)
    ax.set(title=name, xlabel="class whose coefficients move", xticks=range(10), yticks=range(10))
    ax.set_facecolor("white")
axes[0].set_ylabel("class whose gradient changes")
figure.colorbar(image, ax=axes, label="change of the gradient (norm)")
plt.show()

outside = ~np.eye(10, dtype=bool)
assert (changes["Softmax"][outside] > 0).all()
assert (changes["One-vs-all"][outside] == 0).all()
assert (np.diag(changes["One-vs-all"]) > 0).all()

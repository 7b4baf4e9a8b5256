"""
Cross-entropy by hand
=====================

What the loss of one sample is, why the obvious way to compute it breaks on large numbers, and
the shift that mends it.
"""

# %%
# The loss of a sample is :math:`-\log p` of its true class: small where the model gave that class
# a high probability, without bound where it gave it none.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import log_loss

from sk_softmax import SoftmaxClassifier

for p in (0.9, 0.5, 0.1):
    print(f"-log {p} = {-np.log(p):.3f}")
assert round(-np.log(0.9), 3) == 0.105
assert round(-np.log(0.1), 3) == 2.303

p = np.linspace(0.005, 1, 400)
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(p, -np.log(p), color="#3f90da")
for at, side in ((0.9, (0, 10)), (0.1, (10, 4))):
    ax.plot(at, -np.log(at), "o", color="#bd1f01")
    ax.annotate(
        f"p = {at}: loss {-np.log(at):.3f}", (at, -np.log(at)), xytext=side,
        textcoords="offset points", ha="center" if at > 0.5 else "left",
    )  # fmt: skip
ax.set(xlabel="probability of the true class", ylabel=r"loss, $-\log\ p$ (nats)", ylim=(0, 5))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Three samples by hand, and by scikit-learn: the mean of the losses.

probabilities = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
truth = np.array([0, 1, 2])
by_hand = -np.log(probabilities[np.arange(3), truth])
print(by_hand.round(3), "mean", by_hand.mean().round(4))
assert np.isclose(by_hand.mean(), log_loss(truth, probabilities))

# %%
# The naive softmax overflows
# ---------------------------
#
# Probabilities come from raw values :math:`z` as :math:`e^{z_k} / \sum_l e^{z_l}`. In double
# precision :math:`e^{710}` is already infinite, and infinity by infinity is not a number.


def naive_softmax(z):
    return np.exp(z) / np.exp(z).sum()


z = np.array([1000.0, 999.0, 0.0])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    broken = naive_softmax(z)
print(broken)
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")
assert np.isnan(broken[:2]).all()
with np.errstate(over="ignore"):
    assert np.isinf(np.exp(710.0))

# %%
# A shift of all raw values by the same number changes no probability: it multiplies above and
# below by the same factor. So shift by the largest one. Then the largest exponent is 0, nothing
# overflows, and what underflows was negligible.


def shifted_softmax(z):
    powers = np.exp(z - z.max())
    return powers / powers.sum()


print(shifted_softmax(z))
assert np.allclose(shifted_softmax(z), shifted_softmax(z - 500))
assert np.isclose(shifted_softmax(z)[0], 1 / (1 + np.exp(-1.0)))

# %%
# Its logarithm should not be taken afterwards, for the third probability has underflowed to 0.
# With the shift inside, :math:`\log p_k = (z_k - m) - \log \sum_l e^{z_l - m}`, it is exact.

with np.errstate(divide="ignore"):
    print("log of the probabilities:  ", np.log(shifted_softmax(z)))
shifted = z - z.max()
log_probability = shifted - np.log(np.exp(shifted).sum())
print("shifted log-probabilities: ", log_probability)
assert np.isfinite(log_probability).all()

# %%
# The classifiers compute all their losses and probabilities in this way, so they stay finite
# however far away a sample is.

X = np.array([[-2.0], [-1.0], [0.0], [0.5], [1.0], [2.0]])
y = np.array([0, 0, 1, 1, 2, 2])
model = SoftmaxClassifier().fit(X, y)
far = np.array([[1e6]])
print("raw values:       ", model.decision_function(far)[0])
print("probabilities:    ", model.predict_proba(far)[0])
print("log-probabilities:", model.predict_log_proba(far)[0])
assert np.array_equal(model.predict_proba(far)[0], [0.0, 0.0, 1.0])
assert np.isfinite(model.predict_log_proba(far)).all()

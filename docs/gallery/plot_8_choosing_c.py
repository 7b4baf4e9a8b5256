"""
Choosing C: paths, cross-validation and the one-standard-error rule
===================================================================

How strong should the penalty be? A path shows what each answer means for the coefficients;
cross-validation says which one predicts best, and which simpler ones can hardly be told from
it.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# The columns are standardised here so that coefficients can be compared with each other; the fits
# would not need it.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sk_softmax import SoftmaxClassifier, SoftmaxClassifierCV, softmax_l1_min_c, softmax_path
from sk_softmax.plotting import CrossValidationScoreDisplay, RegularizationPathDisplay

scaler = StandardScaler().set_output(transform="pandas")

# %%
# The whole path
# --------------
#
# Wine: 178 rows, 13 measurements, three cultivars. With an L1 penalty there is a smallest C of
# interest: up to it all coefficients are zero. The path begins there, and every model along it
# starts from the one before and is certified like a fit by itself.

X, y = load_wine(return_X_y=True, as_frame=True)
X = scaler.fit_transform(X)
path = softmax_path(X, y, Cs=60, eps=1e-3, l1_ratio=1.0)
print(
    f"from C = {path.Cs[0]:.4f} to {path.Cs[-1]:.1f}, largest dual gap {path.dual_gaps.max():.1e}"
)
print("coefficients in use:", path.n_nonzeros.sum(axis=1)[::6].tolist())
assert path.converged.all()
assert np.isclose(path.Cs[0], softmax_l1_min_c(X, y))
assert path.n_nonzeros[0].sum() == 0
assert path.n_nonzeros[1].sum() > 0

RegularizationPathDisplay.from_path(path, n_labels=3)
plt.show()

# %%
# Cross-validation
# ----------------
#
# Breast cancer: 569 tumours, 30 measurements, malignant or benign. Three mixtures of L1 and L2, a
# grid of C, ten folds. All fits of a fold share the data, and each starts from the one with the
# next smaller C.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, y = scaler.fit_transform(X), y.map({0: "malignant", 1: "benign"})
grid = np.geomspace(1e-3, 1e1, 17)
cv = StratifiedKFold(10, shuffle=True, random_state=0)
best = SoftmaxClassifierCV(Cs=grid, l1_ratios=[0, 0.5, 1], cv=cv).fit(X, y)
print(f"chosen: C = {best.C_:.3g}, l1_ratio = {best.l1_ratio_}, of {best.scores_.size} fits")

CrossValidationScoreDisplay.from_estimator(best)
plt.show()
assert best.scores_.shape == (10, 3, 17)
assert grid[0] < best.C_ < grid[-1]

# %%
# One standard error
# ------------------
#
# Near its best value the score is flat, and ten folds do not tell much more than its first
# digits. ``selection="1se"`` takes the strongest penalty whose score is within one standard error
# of the best: with L1, fewer measurements for about the same prediction.

lasso = {
    rule: SoftmaxClassifierCV(Cs=grid, l1_ratios=[1], cv=cv, selection=rule).fit(X, y)
    for rule in ("best", "1se")
}
summary = pd.DataFrame.from_dict(
    {
        rule: {
            "C": model.C_,
            "mean score": model.mean_scores_[0, model.Cs_ == model.C_].item(),
            "measurements in use": np.count_nonzero(model.coef_),
        }
        for rule, model in lasso.items()
    },
    orient="index",
)
top, simpler = summary.loc["best"], summary.loc["1se"]
place = np.argmax(lasso["best"].mean_scores_[0])
assert simpler["mean score"] >= top["mean score"] - lasso["best"].standard_errors_[0, place]
assert simpler["C"] < top["C"]
assert simpler["measurements in use"] < top["measurements in use"]
summary.round(4)

# %%
# The mean of the folds' paths, with the choice and, shaded, all C within one standard error. What
# is positive speaks for malignant.

RegularizationPathDisplay.from_estimator(lasso["1se"], n_labels=8)
plt.show()

# %%
# No surprises
# ------------
#
# Scores and choice are those of ``GridSearchCV`` around the plain classifier.

search = GridSearchCV(
    SoftmaxClassifier(l1_ratio=1), {"C": grid}, scoring="neg_log_loss", cv=cv
).fit(X, y)
scores = np.array([search.cv_results_[f"split{fold}_test_score"] for fold in range(10)])
difference = np.abs(scores - lasso["best"].scores_[:, 0]).max()
print(f"largest difference of scores: {difference:.1e}")
assert difference < 1e-3
assert search.best_params_["C"] == lasso["best"].C_

"""The README's pictures: decision regions, a regularisation path, coefficients as images.

python -m benchmarks.pictures
"""

from pathlib import Path

from sklearn.datasets import load_digits, load_wine, make_classification
from sklearn.preprocessing import StandardScaler

from sk_softmax import OvAClassifier, SoftmaxClassifier, SoftmaxClassifierCV
from sk_softmax.plotting import (
    CoefficientsDisplay,
    DecisionRegionsDisplay,
    RegularizationPathDisplay,
)

FOLDER = Path(__file__).parents[1] / "docs" / "images"
DOTS = 110  # an inch


def regions():
    """Softmax and one-vs-all on two features, three classes."""
    X, y = make_classification(
        n_samples=300,
        n_features=2,
        n_redundant=0,
        n_clusters_per_class=1,
        n_classes=3,
        random_state=42,
    )
    models = {"Softmax": SoftmaxClassifier().fit(X, y), "One-vs-all": OvAClassifier().fit(X, y)}
    return DecisionRegionsDisplay.from_estimator(models, X, y)


def path():
    """L1 on wine: the coefficients over C, and the C that cross-validation chooses."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = StandardScaler().set_output(transform="pandas").fit_transform(X)
    search = SoftmaxClassifierCV(Cs=40, l1_ratios=[1], selection="1se").fit(X, y)
    return RegularizationPathDisplay.from_estimator(search, n_labels=3)


def coefficients():
    """What each digit's coefficients look like, an image a class."""
    X, y = load_digits(return_X_y=True)
    model = SoftmaxClassifier(C=0.01).fit(X, y)
    return CoefficientsDisplay.from_estimator(model, image_shape=(8, 8))


PICTURES = {"regions": regions, "path": path, "coefficients": coefficients}


def main():
    """Draw all of them into the documentation's folder."""
    import matplotlib as mpl

    mpl.use("Agg")
    for name, draw in PICTURES.items():
        file = FOLDER / f"{name}.png"
        draw().figure_.savefig(file, dpi=DOTS, bbox_inches="tight")
        print(file.relative_to(FOLDER.parents[1]))


if __name__ == "__main__":
    main()

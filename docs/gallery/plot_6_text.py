"""
Text: the words that make a class
=================================

With an L1 penalty most coefficients are exactly zero, and the words that remain say what the
classes are about. The texts are newsgroups if you have them, and otherwise passages from two
centuries of addresses to the Congress of the United States, which are shipped with these pages.
"""

# %%
# Where the texts come from
# -------------------------
#
# The 20 newsgroups are taken from a folder that the variable ``NEWS20`` names (with a folder of
# files for each group), or from what ``fetch_20newsgroups`` downloaded at some time. Nothing is
# downloaded here. These pages are built from the shipped passages: about ninety words each, 160
# from each of five periods. Addresses are works of the government of the United States and in the
# public domain; the collection is that of `stdlib <https://github.com/stdlib-js/datasets-sotu>`_,
# under the Public Domain Dedication and License.

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import fetch_20newsgroups, load_files
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax.plotting import CoefficientsDisplay

GROUPS = ["comp.graphics", "rec.sport.hockey", "sci.med", "sci.space", "talk.politics.mideast"]


def load_texts():
    """Texts, their classes, and which texts belong together (and to one side of the split)."""
    if "NEWS20" in os.environ:
        news = load_files(os.environ["NEWS20"], categories=GROUPS, encoding="latin-1")
    else:
        try:
            news = fetch_20newsgroups(
                subset="all", categories=GROUPS, remove=("headers", "footers", "quotes"),
                download_if_missing=False,
            )  # fmt: skip
        except OSError:  # not there
            folders = (Path("data"), Path("docs/gallery/data"))
            folder = next(path for path in folders if path.is_dir())
            table = pd.read_csv(folder / "state_of_the_union.csv")
            return table["text"], table["era"], table["year"]
    classes = np.array(news.target_names)[news.target]
    return pd.Series(news.data), pd.Series(classes), pd.Series(range(len(classes)))


texts, classes, belongs_to = load_texts()
print(classes.value_counts(sort=False).to_string())
print("\n", texts.iloc[0][:300], "...", sep="")

# %%
# A quarter is held out: whole addresses, so that no test passage stems from a speech that the
# models have seen.

train, test = next(
    GroupShuffleSplit(1, test_size=0.25, random_state=0).split(texts, groups=belongs_to)
)
words = TfidfVectorizer(
    sublinear_tf=True, min_df=8, max_df=0.5, stop_words="english",
    token_pattern=r"(?u)\b[a-zA-Z]{3,}\b",
)  # fmt: skip
models = {
    "softmax, L1": SoftmaxClassifier(C=2, l1_ratio=1),
    "one-vs-all, L1": OvAClassifier(C=2, l1_ratio=1),
    "softmax, L2": SoftmaxClassifier(C=2),
}
rows = {}
for name, model in models.items():
    models[name] = make_pipeline(words, model).fit(texts.iloc[train], classes.iloc[train])
    rows[name] = {
        "accuracy, held out": models[name].score(texts.iloc[test], classes.iloc[test]),
        "coefficients used": np.mean(model.coef_ != 0),
        "words used": np.mean((model.coef_ != 0).any(axis=0)),
        "converged": np.all(model.converged_),
    }
summary = pd.DataFrame.from_dict(rows, orient="index")
chance = classes.iloc[test].value_counts(normalize=True).max()
print(f"{len(words.vocabulary_)} words; the most frequent class: {chance:.2f}")
assert summary["converged"].all()
assert (summary["accuracy, held out"] > 1.5 * chance).all()
assert (summary["coefficients used"].iloc[:2] < 0.2).all()
assert summary["coefficients used"].iloc[2] == 1
summary.round(3)

# %%
# The words that speak for each class, against the other classes: a word that all of them use
# alike speaks for none.

CoefficientsDisplay.from_estimator(models["softmax, L1"], n_top=10, signs="positive")
plt.show()

# %%
# In one-vs-all each class has its own problem, and its own words against all the rest. The lists
# are much alike.

CoefficientsDisplay.from_estimator(models["one-vs-all, L1"], n_top=10, signs="positive")
plt.show()

top = {}
for name in ("softmax, L1", "one-vs-all, L1"):
    order = np.argsort(-models[name][-1].coef_, axis=1)[:, :10]
    top[name] = [set(row) for row in words.get_feature_names_out()[order]]
shared = [len(one & other) for one, other in zip(*top.values(), strict=True)]
print("words shared by the two lists of ten:", dict(zip(np.unique(classes), shared, strict=True)))
assert min(shared) >= 5

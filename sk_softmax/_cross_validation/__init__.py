"""The search of the cross-validated classifiers: folds, scores, choice, what both share."""

"""Metadata of a cross-validated fit: what goes to the splitter, and what to the scorer."""

import warnings
from typing import Any

from sklearn.model_selection import check_cv
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)

from .scores import scorer_of, takes_weights


class RoutingMixin:
    """For classifiers with ``cv`` and ``scoring``: `score`, and who is passed what."""

    cv: Any
    scoring: Any

    def score(self, X: Any, y: Any, sample_weight: Any = None, **score_params: Any) -> float:
        """The score that ``scoring`` names, of the fitted model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        **score_params : dict
            With ``enable_metadata_routing`` what ``scoring`` requests.

        Returns
        -------
        score : float
            Greater is better; by default minus the mean log loss.
        """
        if sample_weight is not None:
            score_params["sample_weight"] = sample_weight
        if _routing_enabled():
            score_params = process_routing(self, "score", **score_params).scorer.score
        elif score_params.keys() - {"sample_weight"}:
            raise ValueError(
                f"score takes {sorted(score_params)} only with enable_metadata_routing=True, set "
                "by sklearn.set_config."
            )
        return float(scorer_of(self.scoring)(self, X, y, **score_params))

    def get_metadata_routing(self) -> MetadataRouter:
        """Where metadata go: to this classifier, to ``cv`` and to ``scoring``.

        Returns
        -------
        routing : MetadataRouter
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                splitter=check_cv(self.cv),
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
            .add(
                scorer=scorer_of(self.scoring),
                method_mapping=MethodMapping()
                .add(caller="fit", callee="score")
                .add(caller="score", callee="score"),
            )
        )

    def _routed(self, sample_weight: Any, params: dict[str, Any]) -> Bunch:
        """What goes to the splitter and to the scorer."""
        if _routing_enabled():
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        groups = params.pop("groups", None)
        if params:
            raise ValueError(
                f"fit takes {sorted(params)} only with enable_metadata_routing=True, set by "
                "sklearn.set_config."
            )
        for_score = {}
        if sample_weight is not None:
            if takes_weights(scorer_of(self.scoring)):
                for_score["sample_weight"] = sample_weight
            else:
                warnings.warn(
                    f"The scoring {self.scoring} does not support sample_weight: the fits are "
                    "weighted, the scores are not.",
                    UserWarning,
                    stacklevel=5,
                )
        return Bunch(splitter=Bunch(split={"groups": groups}), scorer=Bunch(score=for_score))

"""What a published config says of training, in the words of our objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.diffusion.objective import DiffusionObjectiveOptions


def diffusion_objective(params: Mapping[str, Any]) -> DiffusionObjectiveOptions:
    """The loss of the second stage that `model.params` describes; models of pixels know no log-variance."""
    latent = "first_stage_config" in params
    return DiffusionObjectiveOptions(
        loss=params.get("loss_type", "l2"),
        simple_weight=params.get("l_simple_weight", 1.0),
        elbo_weight=params.get("original_elbo_weight", 0.0),
        learn_log_variance=latent and params.get("learn_logvar", False),
        log_variance_init=params.get("logvar_init", 0.0) if latent else 0.0,
    )

"""Which stages a plan walks through, and what is known of the model at each."""

from __future__ import annotations

from typing import Any

from latentry.models.config import ModelConfig
from latentry.training.plan.plan import Plan, StageName
from latentry.training.stages import STAGES


def walk(plan: Plan) -> list[StageName]:
    """The stages to be trained and those whose modules they need, in order."""
    needed = {need for name in plan.stages for need in STAGES[name].needs}
    return [name for name in STAGES if name in plan.stages or name in needed]


def constants(plan: Plan, stage: StageName) -> dict[str, Any]:
    """What each checkpoint of a stage says of the model besides weights: nothing of the stages behind it."""
    known = (stage, *STAGES[stage].needs)
    later = {name: None for name in STAGES if name not in known and name in ModelConfig.model_fields}
    model = STAGES[stage].model(plan).model_copy(update=later)
    texts = plan.texts if model.diffusion is not None else {}
    return {"model": model.model_dump(mode="json", exclude_none=True), "texts": dict(texts)}

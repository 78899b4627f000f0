"""What the card of a model says of its training."""

from __future__ import annotations

from latentry.evaluation.card import About
from latentry.text import one_line
from latentry.training.plan.plan import Plan
from latentry.training.recipe.training import StageTraining


def about(plan: Plan) -> About:
    """The plan in the words of a card."""
    recipe, data = plan.recipe, plan.data
    first, sections = recipe.autoencoder, {name: section.train for name, section in recipe.sections().items()}
    narrow = data.source.survey.narrow_text()
    fingerprint = plan.images.listing.fingerprint[:12]
    return About(
        name=recipe.name,
        seed=recipe.seed,
        text=recipe.about,
        images=f"{recipe.data_from or one_line(data.root.name)}, {len(data)} for training (fingerprint {fingerprint})",
        licence=recipe.licence,
        values=f"{narrow}: the model was trained in that part of the range alone" if narrow else "",
        notes="; ".join(plan.images.changes),
        data_read="; ".join(map(one_line, data.source.remarks.read)),
        first_stage=f"{'begun with' if first.tune else 'of'} {first.from_}" if first.from_ else "",
        batches={name: train.batch for name, train in sections.items()},
        precisions={name: train.precision for name, train in sections.items()},
        rates={name: rate_in_words(train) for name, train in sections.items()},
    )


def rate_in_words(train: StageTraining) -> str:
    """The learning rate of a stage over its training."""
    parts = [f"{train.rate():.4g}"]
    if train.scale_lr:
        parts[0] += f" (base rate {train.lr:.4g} x batch {train.batch})"
    if train.warmup:
        parts.append(f"{train.warmup:,} steps of warm-up")
    if train.decay != "constant":
        parts.append(f"{train.decay} decay to {train.lr_end:g} of it at step {train.decay_steps or train.steps:,}")
    else:
        parts.append("constant")
    own = getattr(train, "discriminator_lr", None)
    return ", ".join(parts) + (f"; of the discriminator {own:.4g}" if own else "")

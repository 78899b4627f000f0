"""What the card of a model says of its training."""

from __future__ import annotations

from latentry.evaluate.card import About
from latentry.text import one_line
from latentry.training.plan.plan import Plan


def about(plan: Plan) -> About:
    """The plan in the words of a card."""
    recipe, data = plan.recipe, plan.data
    first, sections = recipe.autoencoder, {"autoencoder": recipe.autoencoder.train, "diffusion": recipe.diffusion.train}
    fingerprint = plan.images.listing.fingerprint[:12]
    return About(
        name=recipe.name,
        seed=recipe.seed,
        text=recipe.about,
        images=f"{recipe.data_from or one_line(data.root.name)}, {len(data)} for training (fingerprint {fingerprint})",
        licence=recipe.licence,
        notes="; ".join(plan.images.changes),
        data_read="; ".join(map(one_line, data.source.remarks.read)),
        first_stage=f"{'begun with' if first.tune else 'of'} {first.from_}" if first.from_ else "",
        batches={name: train.batch for name, train in sections.items()},
        precisions={name: train.precision for name, train in sections.items()},
    )

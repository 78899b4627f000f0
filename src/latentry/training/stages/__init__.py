"""The stages of training: what a step of each one is. In the order in which they are trained."""

from latentry.training.stages.autoencoder.build import KIND as AUTOENCODER
from latentry.training.stages.classifier.build import KIND as CLASSIFIER
from latentry.training.stages.diffusion.build import KIND as DIFFUSION
from latentry.training.stages.distill.build import KIND as DISTILL
from latentry.training.stages.kind import StageKind

STAGES: dict[str, StageKind] = {
    "autoencoder": AUTOENCODER,
    "diffusion": DIFFUSION,
    "classifier": CLASSIFIER,
    "distill": DISTILL,
}

__all__ = ["STAGES", "StageKind"]

"""The reference numbers of the adversarial first-stage loss."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from latentry.checkpoints import model_folder
from latentry.checkpoints.compvis.first_stage_config import objective_arguments
from latentry.checkpoints.compvis.first_stage_names import to_ours
from latentry.training.objectives import AdversarialObjective, ObjectiveOptions, build
from latentry.verify.fixture import Check, NotThere, Subject

AROUND = {"before": -1, "start": 0, "after": 1}


def adversarial(s: Subject, mode: str) -> tuple[AdversarialObjective, int]:
    """An objective of its own with the checkpoint's discriminator, and its starting step."""
    loss = s.params.get("lossconfig", {}).get("params")
    if not loss:
        raise NotThere("the config has no loss")
    options = ObjectiveOptions.model_validate(objective_arguments(loss))
    objective = build(options, s.autoencoder.options.kind, s.autoencoder.image_channels)
    own = model_folder.read(s.model).tensors.get("objective", {})
    weights = {n: t for n, t in own.items() if not n.startswith("perceptual.")}
    objective.load_state_dict({**objective.state_dict(), **weights})
    objective.to(s.device)
    assert options.discriminator is not None
    return objective.train(mode == "train"), options.discriminator.start


@torch.enable_grad()
def generator_pass(s: Subject, mode: str, time: str) -> dict[str, Tensor]:
    """Every figure of the autoencoder's pass, and the gradients of its loss by `grad.` and our name."""
    model, (objective, start) = copy.deepcopy(s.autoencoder), adversarial(s, mode)
    objective.log_variance.requires_grad_(True)  # there it is a parameter, that no optimiser holds
    moments = model.moments(s["in.image"])
    code = model.quantise(moments) if model.quantiser is not None else model.posterior(moments)
    z = code.z if model.quantiser is not None else code.sample(s["in.posterior_noise"])  # type: ignore[union-attr]
    features, step = model.features(z), start + AROUND[time]
    terms = objective.generator_loss(s["in.image"], features, model.decoder.conv_out, code, step, early=True)
    terms.loss.backward()
    return {
        **gradients(model),
        **gradients(objective, ("log_variance",)),
        "loss": terms.loss,
        "total_loss": terms.loss,
        "rec_loss": terms.pixel,
        "p_loss": terms.perceptual,
        "nll_loss": terms.nll,
        "kl_loss": terms.regulariser,
        "quant_loss": terms.regulariser,
        "g_loss": terms.adversarial,
        "d_weight": terms.weight,
        "disc_factor": torch.tensor(terms.factor),
        "logvar": objective.log_variance,
    }


@torch.enable_grad()
def discriminator_pass(s: Subject, mode: str, time: str) -> dict[str, Tensor]:
    """Every figure of the discriminator's pass, and the gradients of its loss by `grad.` and our name."""
    objective, start = adversarial(s, mode)
    terms = objective.discriminator_loss(s["in.image"], s["out.reconstruction"], start + AROUND[time])
    terms.loss.backward()
    figures = {"loss": terms.loss, "disc_loss": terms.loss, "logits_real": terms.real, "logits_fake": terms.fake}
    return figures | gradients(objective)


def gradients(module: nn.Module, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """By `grad.` and our name, of the parameters that have one. names: of these alone."""
    all_of_them = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {f"grad.{name}": grad for name, grad in all_of_them.items() if names is None or name in names}


def ours(name: str) -> str:
    """A figure's own name, or a gradient's by our name for the parameter."""
    return f"grad.{to_ours(name.removeprefix('grad.'))}" if name.startswith("grad.") else name


def generator(s: Subject, mode: str, time: str, name: str) -> Tensor:
    return s.once(generator_pass, mode, time)[ours(name)]


def discriminator(s: Subject, mode: str, time: str, name: str) -> Tensor:
    return s.once(discriminator_pass, mode, time)[ours(name)]


def logits(s: Subject, mode: str) -> Tensor:
    objective, _ = adversarial(s, mode)
    assert objective.discriminator is not None
    result: Tensor = objective.discriminator(s["in.image"])
    return result


def training_pass(s: Subject) -> dict[str, Tensor]:
    """All running statistics after one training pass of the images."""
    objective, _ = adversarial(s, "train")
    assert objective.discriminator is not None
    objective.discriminator(s["in.image"])
    return dict(objective.named_buffers())


def statistics_after(s: Subject, name: str) -> Tensor:
    return s.once(training_pass)[to_ours(name)]


CHECKS: dict[str, Check] = {
    r"(train|eval)\.gen\.(before|start|after)\.(.+)": generator,
    r"(train|eval)\.disc\.(before|start|after)\.(.+)": discriminator,
    r"logits_real_(train|eval)": logits,
    r"batchnorm_after\.(.+)": statistics_after,
}
"""Pattern of a tensor's name behind `out.` -> what gives it."""

"""The adversarial objective gives the published losses, weights, gradients and statistics.

If not, a first stage trained here would balance its terms otherwise than the published ones did.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from latentry.checkpoints.compvis_first_stage import objective_arguments
from latentry.checkpoints.first_stage_names import to_ours
from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised, perplexity
from latentry.train.objectives import AdversarialObjective, ObjectiveOptions, build
from tests.reference.first_stages import FirstStage, assert_close, ours, state
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(p.parent for p in (SHARED / "compat").glob("loss_*/config.yaml"))
pytestmark = [needs_shared, pytest.mark.skipif(not FOLDERS, reason="no loss fixtures")]
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
modes = pytest.mark.parametrize("mode", ["train", "eval"])
times = pytest.mark.parametrize(("time", "step"), [("before", 99), ("start", 100), ("after", 101)])

OWN = ("discriminator.", "log_variance")


@cache
def loaded(folder: Path) -> tuple[FirstStage, AdversarialObjective, dict[str, Tensor]]:
    params: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())["model"]["params"]
    model, weights = FirstStage(params), ours(state(folder))
    options = ObjectiveOptions.model_validate(objective_arguments(params["lossconfig"]["params"]))
    objective = build(options, model.kind, 3)
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith(OWN)})
    own = {k: v for k, v in weights.items() if k.startswith(OWN)}
    missing, unexpected = objective.load_state_dict(own, strict=False)
    assert missing == ([] if model.kind == "kl" else ["log_variance"])  # the published VQ loss has none
    assert not unexpected
    return model, objective, load_file(folder / "expected.safetensors")


def fresh(folder: Path, mode: str) -> tuple[FirstStage, AdversarialObjective, dict[str, Tensor]]:
    model, objective, tensors = loaded(folder)
    model, objective = copy.deepcopy((model, objective))
    return model, objective.train(mode == "train"), tensors


def latent(model: FirstStage, tensors: dict[str, Tensor]) -> tuple[Gaussian | Quantised, Tensor]:
    """The posterior or quantiser's answer, and what is decoded."""
    z = model.encode(tensors["in.image"])
    if model.kind == "vq":
        quantised = model.quantiser(z)
        return quantised, quantised.z
    posterior = Gaussian(z)
    return posterior, posterior.sample(tensors["in.posterior_noise"])


@each
@modes
@times
def test_generator(folder: Path, mode: str, time: str, step: int) -> None:
    model, objective, tensors = fresh(folder, mode)
    code, z = latent(model, tensors)
    features = model.decoder.features(model.post_quant_conv(z))
    terms = objective.generator_loss(tensors["in.image"], features, model.decoder.conv_out, code, step, early=True)
    terms.loss.backward()
    prefix = f"out.{mode}.gen.{time}."
    assert_close(terms.reconstruction, tensors["out.reconstruction"], "reconstruction")
    found = {
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
    parameters = dict(model.named_parameters())
    checked = 0
    for key, value in tensors.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            actual = parameters[to_ours(name[5:])].grad if name.startswith("grad.") else found[name].detach()
            assert actual is not None, key
            assert_close(actual, value, key)
            checked += 1
    assert checked >= 9
    assert all(p.grad is None for p in objective.parameters())


@each
@modes
@times
def test_discriminator(folder: Path, mode: str, time: str, step: int) -> None:
    _, objective, tensors = fresh(folder, mode)
    terms = objective.discriminator_loss(tensors["in.image"], tensors["out.reconstruction"], step)
    terms.loss.backward()
    prefix = f"out.{mode}.disc.{time}."
    found = {"loss": terms.loss, "disc_loss": terms.loss, "logits_real": terms.real, "logits_fake": terms.fake}
    for name, value in found.items():
        assert_close(value.detach(), tensors[prefix + name], name)
    parameters = dict(objective.named_parameters())
    for key in tensors:
        if key.startswith(prefix + "grad."):
            gradient = parameters[to_ours(key.removeprefix(prefix + "grad."))].grad
            assert gradient is not None
            assert_close(gradient, tensors[key], key)


@each
@modes
def test_logits_and_batch_statistics(folder: Path, mode: str) -> None:
    _, objective, tensors = fresh(folder, mode)
    assert objective.discriminator is not None
    with torch.no_grad():
        logits = objective.discriminator(tensors["in.image"])
    assert_close(logits, tensors[f"out.logits_real_{mode}"], "logits")
    if mode == "train":
        buffers = dict(objective.named_buffers())
        after = [k for k in tensors if k.startswith("out.batchnorm_after.")]
        assert after
        for key in after:
            assert_close(buffers[to_ours(key.removeprefix("out.batchnorm_after."))], tensors[key], key)


@each
def test_code_of_the_latent(folder: Path) -> None:
    model, _, tensors = loaded(folder)
    with torch.no_grad():
        code, _ = latent(model, tensors)
    if isinstance(code, Gaussian):
        assert_close(code.mean, tensors["out.posterior_mean"], "mean")
        assert_close(code.log_variance, tensors["out.posterior_logvar"], "log-variance")
        assert_close(code.kl(), tensors["out.posterior_kl"], "KL")
        return
    assert torch.equal(code.indices.flatten(), tensors["out.code_indices"])
    assert_close(code.codebook_loss, tensors["out.codebook_loss"], "codebook loss")
    counts = code.indices.flatten().bincount(minlength=len(model.quantiser.codebook))
    assert int((counts > 0).sum()) == int(tensors["out.cluster_usage"])
    assert_close(perplexity(counts), tensors["out.perplexity"], "perplexity")


@each
def test_gaussian_of_extreme_log_variances(folder: Path) -> None:
    tensors = loaded(folder)[2]
    if "in.moments" not in tensors:
        pytest.skip("a VQ first stage has no posterior")
    gaussian = Gaussian(tensors["in.moments"])
    assert_close(gaussian.mean, tensors["out.gaussian.mean"], "mean")
    assert_close(gaussian.log_variance, tensors["out.gaussian.logvar"], "log-variance")
    assert_close(gaussian.deviation, tensors["out.gaussian.std"], "deviation")
    assert_close(gaussian.variance, tensors["out.gaussian.var"], "variance")
    assert_close(gaussian.kl(), tensors["out.gaussian.kl"], "KL")
    nll = gaussian.negative_log_likelihood(tensors["in.gaussian_sample"])
    assert_close(nll, tensors["out.gaussian.nll"], "negative log-likelihood")

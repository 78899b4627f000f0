"""The discriminator: what a logit sees and how it starts. Several processes: see train/test_objective_processes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.patchgan import BatchNorm, PatchDiscriminator


@pytest.mark.parametrize(("layers", "patch"), [(3, 70), (2, 34)])
def test_a_logit_judges_a_patch(layers: int, patch: int) -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(1, channels=4, layers=layers).eval()
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    logits = net(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = gradient[0, 0].abs().sum(dim=1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == patch


def test_initial_weights() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(3)
    weight = net.layers[8].weight
    assert isinstance(weight, Tensor)
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    scale = net.layers[9].weight
    assert isinstance(scale, Tensor)
    assert scale.mean().item() == pytest.approx(1.0, abs=0.01)
    assert scale.std().item() == pytest.approx(0.02, rel=0.2)


def test_too_small_images_are_refused_in_words() -> None:
    net = PatchDiscriminator(3, channels=4)
    assert net(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1, 1)
    with pytest.raises(UsageError, match="at least 24"):
        net(torch.zeros(1, 3, 16, 64))


def test_batch_norm_alone_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(4), nn.BatchNorm2d(4)
    x = torch.randn(3, 4, 5, 5)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.state_dict()["running_var"], theirs.state_dict()["running_var"])
    assert torch.equal(ours.eval()(x), theirs.eval()(x))

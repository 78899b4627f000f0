"""If these fail, a network measures what it was not made for, or numbers do not say which network measured."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.errors import LatentryError, UsageError
from latentry.metrics.distances import Normal, frechet
from latentry.metrics.features import FEATURES, EncoderFeatures, SqueezeNetFeatures, tag
from latentry.metrics.features.classifier import VGG16Features
from latentry.metrics.features.transformer import NETWORKS, TransformerFeatures
from latentry.metrics.statistics import extract, summarise
from latentry.nn import lpips
from tests.shared import SHARED, needs_shared

IMAGES = torch.rand(23, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SQUEEZENET = SHARED / "data" / "weights" / "squeezenet1_1.npz"


def toy(images: Tensor) -> Tensor:
    """An encoder of any channels: images in [-1, 1], halved."""
    return torch.nn.functional.avg_pool2d(images, 2)


@needs_shared
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_the_batch_of_reader_or_network_changes_nothing(batch: int) -> None:
    features = SqueezeNetFeatures(SQUEEZENET)
    whole = summarise(features, [IMAGES])
    by_reader, by_network = summarise(features, IMAGES.split(batch)), summarise(features, [IMAGES], batch=batch)
    assert torch.equal(by_reader.vectors, whole.vectors)
    assert torch.equal(by_reader.moments.scatter, whole.moments.scatter)
    other = Normal.from_vectors(features(IMAGES.square()))
    found, again = (frechet(Normal.from_moments(x.moments), other) for x in (whole, by_network))
    assert again == pytest.approx(found, rel=1e-6)
    assert tag(features) == f"squeezenet:{hashlib.sha256(SQUEEZENET.read_bytes()).hexdigest()[:5]}…"


def test_images_of_mixed_sizes_come_out_in_order() -> None:
    seen = []

    class Means:
        kind, digest, preprocessing = "means", "0" * 64, "none"

        def __call__(self, images: Tensor, /) -> Tensor:
            seen.append(len(images))
            return images.mean((2, 3))

    sizes = [(3, 8, 8), (3, 8, 8), (2, 9, 8), (4, 8, 8)]
    parts = [torch.full((n, 1, h, w), float(i)) for i, (n, h, w) in enumerate(sizes)]
    found = torch.cat(list(extract(Means(), parts, batch=4)))
    assert found[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    assert seen == [4, 2, 2, 4]
    assert summarise(Means(), []).count == 0


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_own_first_stage_takes_any_channels_and_16_bits(channels: int) -> None:
    fine = torch.randint(0, 65536, (6, channels, 32, 24), generator=torch.Generator().manual_seed(0)) / 65535
    features = EncoderFeatures(toy, "ab12" * 16)
    found = features(fine)
    assert found.shape == (6, 2 * 16 * channels)
    assert tag(features) == "own first stage:ab12a…"
    cells = toy(fine * 2 - 1).unflatten(2, (4, 4)).unflatten(4, (4, 3))  # (B, C, 4, 4, 4, 3)
    assert torch.allclose(found[:, : 16 * channels], cells.mean((3, 5)).flatten(1), atol=1e-6)
    assert torch.allclose(found[:, 16 * channels :], cells.std((3, 5), correction=0).flatten(1), atol=1e-6)
    assert not torch.equal(features(fine + 1 / 65535), found), "16 bits are not cut to 8"


@needs_shared
def test_a_photo_network_repeats_grey_and_refuses_other_bands() -> None:
    features = SqueezeNetFeatures(SQUEEZENET)
    grey = IMAGES[:2, :1]
    assert torch.equal(features(grey), features(grey.expand(-1, 3, -1, -1)))
    assert torch.allclose(features((IMAGES[:2] * 255).round().byte()), features((IMAGES[:2] * 255).round() / 255))
    with pytest.raises(UsageError, match=r"5 channels.*first stage"):
        features(torch.rand(1, 5, 8, 8))


@pytest.mark.parametrize("kind", ["inception", "squeezenet", "vgg16"])
def test_without_weights_one_line_says_what_is_missing_and_what_goes_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(LatentryError) as caught:
        FEATURES[kind](None)
    text, file, digest = str(caught.value), *{
        "inception": ("weights-inception-2015-12-05-6726825d.pth", "6726825d"),
        "squeezenet": ("squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
        "vgg16": ("vgg16-397923af.pth", "397923af"),
    }[kind]  # fmt: skip
    assert "\n" not in text
    for part in (file, f"its SHA-256 begins with {digest}", str(tmp_path / "latentry"), "go on", "Without it"):
        assert part in text
    assert "perceptual" not in text


def test_vgg16_reads_torchvisions_file(tmp_path: Path) -> None:
    net = lpips.vgg16()
    np.savez(tmp_path / "vgg16.npz", **{key: x.numpy() for key, x in net.state_dict().items()})
    features = VGG16Features(tmp_path / "vgg16.npz")
    found = features(IMAGES[:1])
    assert found.shape == (1, 1024)
    assert torch.allclose(found[:, 512:], features.last(IMAGES[:1]).amax((2, 3)))


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_of_transformers_give_its_vectors(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 224, "patch_size": 32}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPVisionConfig(**small, intermediate_size=32, projection_dim=8)
        model = transformers.CLIPVisionModelWithProjection(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**small))
    model.eval().save_pretrained(tmp_path)
    features = TransformerFeatures(kind, tmp_path)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in NETWORKS[kind][-2:])
    with torch.no_grad():
        theirs = model(pixel_values=(images - mean) / deviation)
    wanted = theirs.image_embeds if kind == "clip" else theirs.last_hidden_state[:, 0]
    assert torch.allclose(features(images), wanted, atol=1e-5)
    assert features(IMAGES[:2]).shape == wanted.shape
    assert features.digest == TransformerFeatures(kind, tmp_path).digest
    with pytest.raises(LatentryError, match=rf"features {kind}: .* cannot be opened") as caught:
        TransformerFeatures(kind, tmp_path / "nothing")
    assert "\n" not in str(caught.value)

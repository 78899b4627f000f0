"""Inception computes what the published network does: its keys, its resize, its layers.

If these fail, FID, KID and Inception Score are numbers of another network than all published ones.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentry.cli import run as command
from latentry.errors import LatentryError
from latentry.evaluation import result
from latentry.metrics.features import InceptionFeatures
from latentry.metrics.features.resizing import tensorflow1
from latentry.nn.inception import Inception
from tests.shared import SHARED

FOLDER = SHARED / "compat" / "metrics"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"reference numbers not found at {FOLDER}")
SIZES = ["20x17", "32x32", "128x96", "299x299", "300x400"]
LAYERS = ["64", "192", "768", "2048"]


@pytest.fixture(scope="module")
def manifest() -> Any:
    return json.loads((FOLDER / "inception_manifest.json").read_text())["keys"]


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return load_file(FOLDER / "inception.safetensors")


def drawn(key: str, shape: list[int]) -> Tensor:
    """The weights of the recipe beside the reference numbers."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    n = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if key.endswith(("conv.weight", "fc.weight")):
        return n * (2 / max(1, n[0].numel())) ** 0.5
    if key.endswith("bn.weight"):
        return 1 + 0.1 * n
    return (0.1 * n).exp() if key.endswith("running_var") else 0.1 * n


@pytest.fixture(scope="module")
def weights(manifest: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file where the command looks for the published one."""
    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.safetensors"
    save_file({key: drawn(key, about["shape"]) for key, about in sorted(manifest.items())}, path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def features(weights: Path) -> InceptionFeatures:
    return InceptionFeatures(weights)


def test_the_command_measures_in_the_features_of_the_reference(
    stored: dict[str, Tensor], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files of other sizes to FID; what is expected is worked out from the features that torch-fidelity gave."""
    monkeypatch.setenv("LATENTRY_WEIGHTS", str(weights.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sets = {"real": ["32x32"], "made": [size for size in SIZES if size not in ("20x17", "32x32")]}
    for name, sizes in sets.items():
        (tmp_path / name).mkdir()
        for number, image in enumerate(image for size in sizes for image in stored[f"image.{size}"]):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{number}.png")
    words = ["--data", str(tmp_path / "real"), "--images", str(tmp_path / "made"), "--out", str(tmp_path / "out")]
    assert command(["evaluate", *words, "--features", "inception", "--metrics", "fid", "--device", "cpu"]) == 0
    found = result.read(tmp_path / "out")
    one, other = (
        np.concatenate([stored[f"feature.{size}.2048"].double().numpy() for size in sizes]) for sizes in sets.values()
    )
    centred = [x - x.mean(0) for x in (one, other)]
    spread = sum((x**2).sum() / (len(x) - 1) for x in centred)
    common = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    common /= ((len(one) - 1) * (len(other) - 1)) ** 0.5
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + spread - 2 * common
    assert found.value("FID") == pytest.approx(expected, rel=1e-3)


def test_the_keys_are_those_of_the_published_file(manifest: Any) -> None:
    own = Inception().state_dict()
    assert {key: list(x.shape) for key, x in own.items()} == {key: about["shape"] for key, about in manifest.items()}


def test_the_drawn_weights_are_the_references(features: InceptionFeatures, manifest: Any) -> None:
    for key, x in features.net.state_dict().items():
        first = x.flatten()[:3].double().tolist()
        assert first == pytest.approx(manifest[key]["first"], abs=1e-5), key


@pytest.mark.parametrize("size", [size for size in SIZES if size != "20x17"])
def test_every_layer(features: InceptionFeatures, stored: dict[str, Tensor], size: str) -> None:
    images = stored[f"image.{size}"]
    with torch.no_grad():
        found = features.net.taps(features.prepared(images))
    found["logits_unbiased"] = features.logits(found["2048"])
    found["logits"] = features.net.logits(found["2048"], bias=True)
    for layer, x in found.items():
        wanted = stored[f"feature.{size}.{layer}"]
        assert float((x - wanted).abs().max() / wanted.abs().max()) <= 5e-5, layer


def test_the_resize_is_that_of_tensorflow_1(features: InceptionFeatures, stored: dict[str, Tensor]) -> None:
    wanted = stored["resized299.20x17"]
    assert float((tensorflow1(stored["image.20x17"], 299, 299) - wanted).abs().max()) <= 1e-3
    assert float((features.prepared(stored["image.20x17"]) * 128 + 128 - wanted).abs().max()) <= 1e-3


def test_floats_are_the_8_bits_of_their_file_and_grey_is_repeated(
    features: InceptionFeatures, stored: dict[str, Tensor]
) -> None:
    images = stored["image.32x32"]
    assert torch.equal(features.prepared(images / 255 + 0.001), features.prepared(images))
    grey = features.prepared(images[:, :1])
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "other.safetensors")
    with pytest.raises(LatentryError, match="does not hold Inception of FID") as caught:
        InceptionFeatures(tmp_path / "other.safetensors")
    assert "weights-inception-2015-12-05-6726825d.pth" in str(caught.value)

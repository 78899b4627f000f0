"""If these fail, a training that was to go on from a model begins somewhere else, without saying so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import latentry as lt
from latentry.errors import UsageError
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata
from tests.shared import SHARED, needs_shared

STILL: dict[str, Any] = {"diffusion.train.steps": 1, "diffusion.train.lr": 1e-30, "diffusion.train.ema": None}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_images(tmp_path_factory.mktemp("images"), noise(12, (16, 16, 3)))
    write_metadata(folder, [{"text": f"picture {number}", "label": number % 3} for number in range(12)])
    return folder


@pytest.fixture(scope="module")
def source(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"data.text": "text", "diffusion.conditioning": {"text": TEXT}, "seed": 5}
    return run_tiny(tmp_path_factory.mktemp("source"), data, changes).path / "model"


def begun(source: Path, data: Path, folder: Path, changes: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The second stage after a step that moves nothing, and what was said."""
    said: list[str] = []
    first = {"autoencoder": {"from": str(source)}, "diffusion.from": str(source), "data.text": "text"}
    run = run_tiny(folder, data, {**first, **STILL, **changes}, report=said.append)
    denoiser = lt.load(run.path / "model").denoiser
    assert denoiser is not None
    return denoiser.state_dict(), [line for line in said if "begin as in" in line]


def test_the_same_model_goes_on_whole(source, data, tmp_path):
    expected = lt.load(source).denoiser
    assert expected is not None
    found, said = begun(source, data, tmp_path, {"diffusion.conditioning": {"text": TEXT}})
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-20)  # zeros move by the rate even here
    assert len(said) == 1
    assert "anew" not in said[0]
    assert "not used" not in said[0]


def test_what_fits_is_kept_and_the_rest_is_named(source, data, tmp_path):
    expected = lt.load(source).denoiser
    assert expected is not None
    label = {"kind": "class_label", "via": "vector", "width": 8}
    changes = {"diffusion.conditioning": {"text": {**TEXT, "width": 12}, "label": label}, "data.label": "label"}
    found, said = begun(source, data, tmp_path, changes)
    torch.testing.assert_close(found["unet.conv_in.weight"], expected.state_dict()["unet.conv_in.weight"])
    assert "conditioners.label.embedding.weight" in found
    assert len(said) == 1
    assert "anew: " in said[0]
    assert "conditioners.text.transformer.token.weight" in said[0].replace("conditioners.label", "")


def test_classes_of_equal_name_keep_their_rows(data, tmp_path):
    label = {"label": {"kind": "class_label", "via": "vector", "width": 8}}
    changes = {"data.label": "label", "diffusion.conditioning": label}
    folder = write_images(tmp_path / "first", noise(12, (16, 16, 3)))
    write_metadata(folder, [{"label": ("cat", "dog", "owl")[number % 3]} for number in range(12)])
    before = run_tiny(tmp_path / "a", folder, {**changes, "seed": 5}).path / "model"
    write_metadata(folder, [{"label": ("ant", "dog", "cat", "bee")[number % 4]} for number in range(12)])
    found, said = begun(before, folder, tmp_path / "b", {**changes, "data.text": None})
    rows, own = found["conditioners.label.embedding.weight"], lt.load(before).denoiser
    assert own is not None
    theirs = own.state_dict()["conditioners.label.embedding.weight"]
    assert rows.shape == (5, 8)  # ant, bee, cat, dog, none
    torch.testing.assert_close(rows[[2, 3, 4]], theirs[[0, 1, 3]], rtol=0, atol=1e-20)
    assert not any(torch.allclose(rows[new], row) for new in (0, 1) for row in theirs)
    assert "label: anew are the classes ant, bee" in said[0]


def test_words_keep_their_numbers_for_other_captions(source, data, tmp_path):
    other = write_images(tmp_path / "images", noise(12, (16, 16, 3)))
    write_metadata(other, [{"text": f"zebra {number}"} for number in range(12)])
    begun(source, other, tmp_path, {"diffusion.conditioning": {"text": TEXT}})
    assert (tmp_path / "run/model/tokenizer.json").read_text() == (source / "tokenizer.json").read_text()


def test_whole_words_keep_their_rows_and_new_ones_are_named(data, tmp_path):
    words = {"diffusion.conditioning": {"text": {**TEXT, "tokens": "words"}}}
    before = run_tiny(tmp_path / "a", data, {"data.text": "text", **words, "seed": 5}).path / "model"
    other = write_images(tmp_path / "images", noise(12, (16, 16, 3)))
    write_metadata(other, [{"text": f"zebra picture {number % 2}"} for number in range(12)])
    found, said = begun(before, other, tmp_path / "b", words)
    own, rows = lt.load(before).denoiser, found["conditioners.text.transformer.token.weight"]
    assert own is not None
    theirs = own.state_dict()["conditioners.text.transformer.token.weight"]
    assert len(rows) == len(theirs) + 1
    torch.testing.assert_close(rows[:-1], theirs, rtol=0, atol=1e-20)
    assert said[0].endswith("; text: anew are the words zebra")


def test_it_is_read_at_the_start_alone(source, data, tmp_path):
    changes = {"diffusion.conditioning": {"text": TEXT}, "diffusion.train.save_every": 1}
    begun(source, data, tmp_path, changes)
    longer = {**changes, "diffusion.train.steps": 2}
    _, said = begun(source, data, tmp_path, longer)
    assert said == []


def test_a_first_stage_alone_cannot_be_gone_on_from(source, data, tmp_path):
    first = run_tiny(tmp_path / "first", data, stage="autoencoder").path / "model"
    with pytest.raises(UsageError, match=r"diffusion\.from: .* holds a first stage alone"):
        run_tiny(tmp_path, data, {"diffusion.from": str(first)})


def tuned(source: Path, data: Path, folder: Path, changes: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The first stage after a step that moves nothing, and what was said."""
    said: list[str] = []
    still = {"steps": 1, "batch": 2, "lr": 1e-30, "precision": "fp32"}
    section = {"from": str(source), "tune": True, "objective": {"perceptual": "none"}, "train": still, **changes}
    run = run_tiny(folder, data, {"autoencoder": section}, stage="autoencoder", report=said.append)
    return lt.load(run.path / "model").autoencoder.state_dict(), [line for line in said if "begin as in" in line]


def test_a_first_stage_is_trained_further(source, data, tmp_path):
    """All weights kept; the scale is measured again."""
    expected = lt.load(source).autoencoder.state_dict()
    found, said = tuned(source, data, tmp_path, {})
    for name in expected.keys() - {"latent_scale"}:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-20)
    assert len(said) == 1
    assert "anew" not in said[0]


def test_a_first_stage_goes_on_with_other_channels(source, data, tmp_path):
    grey = write_images(tmp_path / "grey", noise(12, (16, 16, 1)))
    said: list[str] = []
    section = {
        "from": str(source),
        "tune": True,
        "objective": {"perceptual": "none"},
        "train": {"steps": 1, "batch": 2},
    }
    changes = {"autoencoder": section, "data.channels": 1}
    run = run_tiny(tmp_path, grey, changes, stage="autoencoder", report=said.append)
    assert lt.load(run.path / "model").encode(torch.zeros(1, 1, 16, 16)).shape == (1, 4, 8, 8)
    (told,) = [line for line in said if "begin as in" in line]
    assert "anew: encoder.conv_in.weight, decoder.conv_out.weight, decoder.conv_out.bias" in told


@needs_shared
def test_a_published_first_stage_goes_on_with_its_discriminator(tmp_path):
    images = write_images(tmp_path / "images", noise(12, (32, 32, 3)))
    folder = SHARED / "compat" / "loss_kl"
    said: list[str] = []
    section = {
        "from": str(folder / "model.ckpt"),
        "tune": True,
        "objective": {"perceptual": "none", "discriminator": {"layers": 2, "start": 0}},
        "train": {"steps": 1, "batch": 2, "lr": 1e-30, "precision": "fp32"},
    }
    run = run_tiny(tmp_path, images, {"autoencoder": section, "data.size": 32}, stage="autoencoder", report=said.append)
    expected = lt.load(folder / "model.ckpt").autoencoder.state_dict()
    found = lt.load(run.path / "model").autoencoder.state_dict()
    for name in expected.keys() - {"latent_scale"}:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-20)
    assert any("its discriminator: 17 of 17 tensors begin" in line for line in said), said


def test_tuning_needs_a_model(data, tmp_path):
    with pytest.raises(UsageError, match=r"autoencoder\.tune: true without autoencoder\.from"):
        run_tiny(tmp_path, data, {"autoencoder.tune": True})


def test_a_model_that_is_not_there_is_told_before_anything_is_written(data, tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        run_tiny(tmp_path, data, {"diffusion.from": "nowhere"})
    assert not (tmp_path / "run").exists()

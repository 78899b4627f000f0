"""If these fail, two programs are compared that do not compute the same, or a person is not told why none is."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from latentry import rng
from latentry.bench import peak, their_training
from latentry.bench import theirs as module
from latentry.bench.options import BenchOptions
from latentry.bench.run import bench
from latentry.bench.subject import Subject
from latentry.bench.their_training import update
from latentry.bench.theirs import CLOSE, theirs
from latentry.bench.training import second_stage, section_of
from latentry.errors import UsageError
from latentry.models.modes import PLAIN, Mode
from latentry.pipeline import Pipeline
from latentry.pipeline.load import assemble
from tests.reference.close import assert_close
from tests.reference.diffusers_models import CROSS, FIRST_STAGE, TEXT, UNET, config, model


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("OTHER_SIDE", 128), ("CHANNELS", 16), ("SIDE", 16)):
        monkeypatch.setattr(peak, name, size)


KL = {**FIRST_STAGE, "kind": "kl", "z_channels": 4}
MODELS: dict[str, Any] = {
    "none": (FIRST_STAGE, {"unet": UNET}),
    "text": (KL, {"unet": CROSS, "conditioning": {"text": TEXT}}),
    "silent": (KL, {"unet": CROSS}),
    "pixels": ({"kind": "identity", "z_channels": 3}, {"unet": UNET}),
}


def pipe_of(name: str, **sample: Any) -> Pipeline:
    first, diffusion = MODELS[name]
    chosen = {"solver": "ddim", "levels": "trailing", "steps": 3, "guidance": 2.0, **sample}
    scale = 1.0 if name == "pixels" else 0.7
    return assemble(model(config(first, diffusion, sample=chosen), scale=scale), "small")


@pytest.mark.parametrize("name", MODELS)
def test_both_compute_the_same_before_they_are_timed(name: str) -> None:
    pipe = pipe_of(name)
    found = theirs(Subject(pipe))
    assert found.off((16, 16)) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_their_loop_draws_our_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same noise, with the same guidance and solver: else the times are of other work."""
    pipe = pipe_of(name)
    found = theirs(Subject(pipe))
    start = found._noise(2, (16, 16))
    monkeypatch.setattr(rng, "normal", lambda seed, *_: start[seed : seed + 1])
    ours = found.subject.samples(2, (16, 16), PLAIN, 3, 2)()
    assert_close(found.samples(2, (16, 16), PLAIN, 3, 2)(), ours, name, 1e-2)


def test_one_that_computes_otherwise_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipe_of("none")
    monkeypatch.setattr(module.Theirs, "off", lambda self, size: 2 * CLOSE)
    with pytest.raises(UsageError, match=r"its numbers differ from ours by 0\.002 of the largest"):
        theirs(Subject(pipe))


def measured(pipe: Pipeline, **changes: Any) -> Any:
    small: dict[str, Any] = {"batch": (1,), "steps": (2,), "rounds": 2, "modes": ("fp32",), "against": "diffusers"}
    return bench(pipe, BenchOptions.model_validate({**small, **changes}))


def test_rows_stand_in_pairs_with_their_ratio() -> None:
    found = measured(pipe_of("text"), parts=("step", "decode", "samples"))
    assert [(row.what, row.by) for row in found.rows] == [
        (what, by) for what in ("step", "decode", "samples") for by in ("latentry", "diffusers")
    ]
    for ours, other in zip(found.rows[::2], found.rows[1::2], strict=True):
        assert ours.ratio is not None
        assert other.ratio is None
        assert ours.flops == other.flops
        assert ours.ratio > 0


def test_where_it_is_not_installed_ours_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = measured(pipe_of("none"), parts=("step",))
    assert [row.by for row in found.rows] == ["latentry"]
    assert "diffusers: not compared. diffusers is not installed. Install it (pip install diffusers) to compare." in (
        found.notes
    )


def test_a_model_that_it_cannot_hold_is_named() -> None:
    """A shift of the latents has no place there."""
    pipe = pipe_of("none")
    pipe.autoencoder.latent_shift.fill_(0.5)
    found = measured(pipe, parts=("step",))
    assert [row.by for row in found.rows] == ["latentry"]
    assert any(note.startswith("diffusers: not compared. ") and "latent_shift" in note for note in found.notes)


def test_a_solver_that_it_has_not_leaves_the_steps_compared() -> None:
    found = measured(pipe_of("none", solver="heun", levels="karras"), parts=("step", "samples"))
    assert [(row.what, row.by) for row in found.rows] == [
        ("step", "latentry"), ("step", "diffusers"), ("samples", "latentry"),
    ]  # fmt: skip
    assert any(note.startswith("diffusers: samples are not compared") for note in found.notes)


def test_their_scripts_train_the_same_network() -> None:
    """An update beside ours, and their first loss is that of a network that predicts as ours does."""
    pipe = pipe_of("text")
    found = measured(pipe, parts=("training",), batch=(2,))
    assert [(row.what, row.by) for row in found.rows] == [
        ("training autoencoder", "latentry"), ("training diffusion", "latentry"), ("training diffusion", "diffusers"),
    ]  # fmt: skip
    work = update(theirs(Subject(pipe)), 8, (16, 16), PLAIN)
    stage, example = second_stage(Subject(pipe), 8, (16, 16), PLAIN)
    _, errors, _ = stage.losses(example, 0)
    assert float(work().detach()) == pytest.approx(float(errors.mean().detach()), rel=0.5)
    before = [float(work().detach()) for _ in range(3)]
    assert all(0 < loss < 100 for loss in before)


def test_an_optimiser_that_they_have_not_leaves_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipe_of("none")
    section = section_of(Subject(pipe))
    muon = section.model_copy(update={"train": section.train.model_copy(update={"optimiser": "muon"})})
    monkeypatch.setattr(their_training, "section_of", lambda subject: muon)
    found = measured(pipe, parts=("training",))
    assert {row.by for row in found.rows} == {"latentry"}
    assert "diffusers: training is not compared. Its scripts train no epsilon by muon." in found.notes


def test_each_mode_of_ours_stands_beside_the_nearest_of_theirs() -> None:
    """Weights that are prepacked without a compiler are ours alone: they stand beside its best without."""
    modes = ("fp32", "fp32,channels_last", "fp32,channels_last,frozen", "bf16,channels_last")
    found = measured(pipe_of("text"), parts=("step",), modes=modes)
    ours = [row for row in found.rows if row.by == "latentry"]
    assert [row.mode for row in ours] == list(modes)
    assert [row.mode for row in found.rows if row.by == "diffusers"] == [modes[0], modes[1], modes[3]]
    assert all(row.ratio is not None and row.share is not None for row in ours)


@pytest.mark.parametrize("text", ["fp32,channels_last,frozen", "bf16,channels_last"])
def test_a_mode_changes_speed_and_not_the_picture(text: str) -> None:
    """The networks that are timed are those of the model, whatever their mode; the model itself stays as it is."""
    pipe = pipe_of("text")
    subject = Subject(pipe)
    plain = subject.samples(1, (16, 16), PLAIN, 3, 1)()
    other = subject.samples(1, (16, 16), Mode.parse(text), 3, 1)()
    assert_close(other, plain, text, 1e-3 if "fp32" in text else 0.2)
    assert torch.equal(subject.samples(1, (16, 16), PLAIN, 3, 1)(), plain)
    assert pipe.denoiser is not None
    assert all(value.is_contiguous() for value in pipe.denoiser.unet.state_dict().values())

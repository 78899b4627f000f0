"""If these fail, nobody can say at which learning rate a step was taken, or a longer run jumps without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latentry.cli.progress import line
from latentry.errors import UsageError
from latentry.training.loop.loop import Progress
from latentry.training.loop.optimiser import rate_factor
from latentry.training.plan.recipes import load
from latentry.training.recipe.training import StageTraining
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

COSINE: dict[str, Any] = {
    "steps": 8,
    "batch": 2,
    "log_every": 2,
    "validate_every": 4,
    "precision": "fp32",
    "lr": 1e-3,
    "decay": "cosine",
    "warmup": 2,
}
CRITIC = {"perceptual": "none", "discriminator": {"channels": 4, "layers": 1}}
CHANGES: dict[str, Any] = {
    "data.held_out": 0.3,
    "autoencoder.train": {**COSINE, "discriminator_lr": 4e-3, "scale_lr": True},
    "autoencoder.objective": CRITIC,
    "diffusion.train": COSINE,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), noise(16, (16, 16, 3)))


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    seen: list[Progress] = []
    return run_tiny(tmp_path_factory.mktemp("run"), data, CHANGES, progress=seen.append).path, seen


def rows(run: Path, stage: str) -> list[dict[str, Any]]:
    return [r for r in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if r["stage"] == stage]


def test_every_row_of_the_log_has_the_rate_of_its_step(made: tuple[Path, list[Progress]]) -> None:
    training = StageTraining(**COSINE)
    for stage, height in (("autoencoder", 2e-3), ("diffusion", 1e-3)):  # the first scaled by a batch of 2
        found = rows(made[0], stage)
        assert any("held_out_psnr" in r or "train_psnr" in r or "train_error" in r for r in found)
        for row in found:
            assert row["lr"] == pytest.approx(height * rate_factor(row["step"] - 1, training))
            if stage == "autoencoder":
                assert row["discriminator_lr"] == pytest.approx(2 * row["lr"])


def test_the_progress_line_has_the_rate_and_what_tells_how_it_goes(made: tuple[Path, list[Progress]]) -> None:
    """With a discriminator the loss is -0.25, 0.08, 0.47 in turn, whatever the pictures are."""
    last = {now.stage: now for now in made[1]}
    first, second = line(last["autoencoder"]), line(last["diffusion"])
    assert "  psnr " in first
    assert " dB  lr " in first
    assert "  held out psnr " in first  # of the newest validation
    assert "loss" not in first
    assert "  error " in second
    assert "held out error" in second
    assert f"  lr {rows(made[0], 'diffusion')[-1]['lr']:.3g}  " in second


def test_the_log_has_the_fidelity_of_the_steps_beside_the_loss(made: tuple[Path, list[Progress]]) -> None:
    for row in rows(made[0], "autoencoder"):
        if "loss" in row:
            assert 0 < row["psnr"] < 60
            assert {"pixel", "adversarial", "gradient_norm", "images_per_second"} <= row.keys()


def test_the_card_has_the_rate_and_how_it_came_about(made: tuple[Path, list[Progress]]) -> None:
    card = (made[0] / "model" / "README.md").read_text()
    first = "0.002 (base rate 0.001 x batch 2), 2 steps of warm-up, cosine decay to 0 of it at step 8"
    assert f"| first stage's learning rate | {first}; of the discriminator 0.004 |" in card
    assert "| denoiser's learning rate | 0.001, 2 steps of warm-up, cosine decay to 0 of it at step 8 |" in card


def finished(folder: Path, data: Path, **changes: Any) -> dict[str, Any]:
    """A first stage trained to the end of its decay; the recipe's changes."""
    train = {**COSINE, "steps": 4, "warmup": 0, **changes}
    run_tiny(folder, data, {"autoencoder.train": train}, stage="autoencoder")
    return train


def longer(folder: Path, data: Path, train: dict[str, Any], **changes: Any) -> tuple[list[str], list[float]]:
    """What is said of the rate when the run goes on otherwise, and the rates of its further rows."""
    said: list[str] = []
    run = run_tiny(folder, data, {"autoencoder.train": {**train, **changes}}, stage="autoencoder", report=said.append)
    rates = [row["lr"] for row in rows(run.path, "autoencoder") if row["step"] > 4 and "loss" in row]
    return [text for text in said if "learning rate" in text], rates


def test_more_steps_of_a_finished_decay_lift_the_rate_and_say_so(data: Path, tmp_path: Path) -> None:
    train = finished(tmp_path, data)
    said, rates = longer(tmp_path, data, train, steps=12, log_every=1)
    assert said == [
        "autoencoder: its cosine decay now ends at step 12 instead of 4: from step 4 on the learning rate is 0.00075 "
        "instead of 0 (75% of its full height instead of 0%). To keep the decay as it was and go on at a low rate, add "
        "autoencoder.train.decay_steps=4 autoencoder.train.lr_end=0.1"
    ]
    assert rates[0] == pytest.approx(0.75e-3)
    assert longer(tmp_path, data, train, steps=12, log_every=1)[0] == []  # it is said once


def test_the_way_that_is_offered_keeps_the_rate_low(data: Path, tmp_path: Path) -> None:
    train = finished(tmp_path, data)
    said, rates = longer(tmp_path, data, train, steps=12, log_every=1, decay_steps=4, lr_end=0.1)
    assert rates == pytest.approx([1e-4] * 8)
    (text,) = said
    assert "the learning rate is 0.0001 instead of 0 (10% of its full height instead of 0%)" in text


def test_a_constant_rate_has_nothing_to_say(data: Path, tmp_path: Path) -> None:
    train = finished(tmp_path, data, decay="constant")
    assert longer(tmp_path, data, train, steps=6)[0] == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"decay_steps": 5, "decay": "constant"}, "decay_steps 5 with decay constant"),
        ({"decay_steps": 2}, "decay_steps 2 is not beyond warmup 2"),
        ({"decay_steps": 5}, "decay_steps 5 of steps 8 with lr_end 0: the rest would learn nothing"),
    ],
)
def test_a_decay_that_leaves_nothing_to_learn_is_an_error(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        load(recipe(tmp_path, {"autoencoder.train": {**COSINE, **changes}}))


def test_the_rate_is_held_after_the_decay() -> None:
    t = StageTraining(steps=100, warmup=10, decay="linear", decay_steps=60, lr_end=0.2)
    assert rate_factor(35, t) == pytest.approx(0.2 + 0.8 * 0.5)
    assert {rate_factor(step, t) for step in (60, 70, 99)} == {0.2}

"""Pictures in a mode: the same ones, saying so in their files, drawn again in it, in memory that does not grow."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentry.errors import UsageError
from latentry.models.modes import PLAIN, Mode
from latentry.models.modes.mode import mode_of
from latentry.pipeline import Pipeline
from latentry.pipeline.speed import modes
from tests.unit.pipeline.small_pipelines import pipeline

FROZEN = Mode(channels_last=True, frozen=True)
WORDS: dict[str, Any] = {"text": "a red circle", "n": 3, "steps": 4, "solver": "ddim", "batch": 2}


def bits(pipe: Pipeline, **options: Any) -> torch.Tensor:
    return (pipe.run("generate", **{**WORDS, **options}).tensor * 255).round()


@pytest.mark.parametrize("conditions", ["both", "text"])
@pytest.mark.parametrize("mode", ["fp32,channels_last", "fp32,frozen", "fp32,channels_last,frozen"])
def test_pictures_agree_within_the_rounding_of_8_bits(mode: str, conditions: str) -> None:
    """A mode is about speed: what a seed shows stays."""
    pipe = pipeline(conditions=conditions)
    assert (bits(pipe, mode=mode) - bits(pipe)).abs().max() <= 1


def test_a_picture_says_its_mode_and_is_drawn_again_in_it(tmp_path: Path) -> None:
    """To the bit, by a pipeline in another mode too."""
    pipe = pipeline()
    out = pipe.run("generate", **WORDS, mode="bf16,frozen")
    (path, *_) = out.save(tmp_path)
    with Image.open(path) as image:
        assert image.text["mode"] == "bf16,frozen"
        assert json.loads(image.text["latentry"])["mode"] == "bf16,frozen"
    assert mode_of(pipe.denoiser.unet).precision == "bf16"  # type: ignore[union-attr]
    pipe.run("generate", **WORDS)
    assert pipe.again(path).tensor.equal(out.tensor[:1])
    assert not pipe.run("generate", **WORDS).tensor.equal(out.tensor)


def test_pictures_from_before_modes_say_their_precision(tmp_path: Path) -> None:
    """Their records have `precision` alone; they must open, and be drawn in the mode of then."""
    from latentry.pipeline.record import Record

    record = {"task": "generate", "conditions": {}, "options": {}, "n": 1, "seed": 0, "batch": 1}
    assert Record.model_validate({**record, "precision": "bf16"}).words({})["mode"] == "bf16"
    assert Record.model_validate(record).words({})["mode"] == "fp32"


def test_bf16_by_its_old_keyword_is_the_mode() -> None:
    """`bf16=True` means the precision, of whatever else the pipeline's mode is."""
    pipe = pipeline()
    pipe.mode = FROZEN
    out = pipe.run("generate", **WORDS, bf16=True)
    assert out.facts[0]["mode"] == str(FROZEN.but(precision="bf16"))


def test_encode_and_decode_are_in_the_pipelines_mode() -> None:
    """Else their bits would depend on what was drawn before."""
    pipe = pipeline()
    z = torch.randn(2, 4, 8, 8)
    before = pipe.decode(z)
    bits(pipe, mode=FROZEN)
    assert pipe.decode(z).equal(before)


def test_a_wrong_mode_is_refused_before_anything_is_drawn() -> None:
    """As one line."""
    with pytest.raises(UsageError, match='mode: "quick" is unknown'):
        pipeline().run("generate", **WORDS, mode="quick")


def test_auto_tells_and_remembers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second time nothing is timed; another size is another question; the file says what was chosen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(modes, "choose", lambda trial: (Mode(frozen=True), "of a toy"))
    pipe, told = pipeline(), list[str]()
    pipe.mode, pipe.tell = "auto", told.append
    out = pipe.run("generate", **WORDS)
    assert told == ["mode: timing modes for auto; the answer is remembered", "mode: fp32,frozen: of a toy"]
    assert out.facts[0]["mode"] == "fp32,frozen"
    monkeypatch.setattr(modes, "choose", lambda _: pytest.fail("timed again"))
    pipe.run("generate", **WORDS)
    assert told[2:] == ["mode: fp32,frozen, as was found before: of a toy"]
    monkeypatch.setattr(modes, "choose", lambda _: (PLAIN, "of a toy"))
    assert pipe.run("generate", **WORDS, size=32).facts[0]["mode"] == "fp32"


def test_auto_draws_what_the_usual_mode_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the real timer, whatever it finds: the same pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("latentry.models.modes.choosing.no_compiler", lambda _: "slow")
    pipe = pipeline()
    assert (bits(pipe, mode="auto") - bits(pipe)).abs().max() <= 1
    assert (tmp_path / "latentry" / "modes.json").is_file()


def test_memory_does_not_grow_over_samplings() -> None:
    """A server that keeps a little of each request ends after a day. 100 of them, after 20 that fill caches."""
    pipe = pipeline()
    how: dict[str, Any] = {"steps": 1, "mode": FROZEN, "solver": "ddim", "guidance": 1.0}

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not Path("/proc/self/statm").is_file():
        pytest.skip("no /proc")
    for seed in range(20):
        pipe.sample("a red circle", seed=seed, **how)
    before = resident()
    for seed in range(100):
        pipe.sample("a red circle", seed=seed, **how)
    assert resident() - before < 4e6

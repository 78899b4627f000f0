"""An image depends on its request and its seed alone, and its file says how to make it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from latentry import __version__, rng
from latentry.diffusion.schedule import CLEAN
from latentry.errors import UsageError
from latentry.models.config import Distilled, SampleOptions
from latentry.pipeline import Pipeline
from tests.unit.pipeline.small_pipelines import pipeline

SOLVERS: list[Any] = [
    "ddim",
    "ddpm",
    {"kind": "ddim", "eta": 0.5},
    {"kind": "dpmpp_2m", "eta": 1.0},
    "unipc",
    "heun:churn=4",
]
PROMPTS = ["a red circle", "a blue square"]


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline()


@pytest.mark.parametrize(("solver", "said"), [("ddim", False), ("consistency", True)])
@pytest.mark.parametrize("distilled", [False, True])
def test_a_solver_for_another_sort_of_model_is_told(pipe: Pipeline, solver: str, said: bool, distilled: bool) -> None:
    if distilled:
        made = Distilled(name="teacher")
        config = pipe.config.model_copy(update={"distilled": made})
        pipe = Pipeline(config, pipe.autoencoder, pipe.denoiser, model_hash="c", source="small")
    notes = pipe.sample(PROMPTS[0], steps=1, guidance=1, solver=solver).notes
    assert [note.split()[1] for note in notes] == [solver] * (said != distilled)


def assert_same_image(found: Tensor, expected: Tensor) -> None:
    """fp32 before rounding within 1e-4, and 8-bit values off by at most 1, in at most 0.1% of them (here: one)."""
    assert (found - expected).abs().max() <= 1e-4
    bits = ((found * 255).round() - (expected * 255).round()).abs()
    assert bits.max() <= 1
    assert (bits > 0).sum() <= max(1, 1e-3 * bits.numel())


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_image_does_not_depend_on_those_beside_it(pipe: Pipeline, solver: Any, guidance: float) -> None:
    request = {"solver": solver, "guidance": guidance, "seed": 11, "label": "star"}
    eight = pipe.sample("a red circle", n=8, **request).tensor
    for n in (1, 3):
        assert_same_image(pipe.sample("a red circle", n=n, **request).tensor, eight[:n])
    for batch in (1, 3, 8):
        assert_same_image(pipe.sample("a red circle", n=8, batch=batch, **request).tensor, eight)
    last = pipe.sample("a red circle", n=1, **{**request, "seed": 18}).tensor
    assert_same_image(last, eight[7:])
    assert (eight[0] - eight[1]).abs().max() > 0.01


def test_noise_bits_are_those_of_the_image_alone(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the fresh noise of every step."""
    seen: list[list[Tensor]] = []

    def watch(n: int, seed: int) -> list[Tensor]:
        from latentry.pipeline import sampling as module

        def solver(denoise: Any, x: Tensor, levels: Any, *, noise: Any) -> Any:
            seen.append([x, *(noise(step) for step in range(3))])
            return iter(())

        monkeypatch.setattr(module, "build", lambda *_: solver)
        list(pipe.steps("a red circle", n=n, seed=seed))
        return seen[-1]

    eight = watch(8, 5)
    assert all(torch.equal(alone, together[:1]) for alone, together in zip(watch(1, 5), eight, strict=True))
    assert all(torch.equal(some, together[2:5]) for some, together in zip(watch(3, 7), eight, strict=True))
    flat = torch.stack(eight)
    assert len(torch.unique(flat)) > 0.99 * flat.numel()  # no draw is used twice


def test_prompts_beside_each_other(pipe: Pipeline) -> None:
    """n of each prompt, seeds running on; each as if asked for by itself."""
    both = pipe.sample(PROMPTS, n=2, seed=3)
    assert [facts["prompt"] for facts in both.facts] == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2
    assert_same_image(pipe.sample(PROMPTS[1], n=2, seed=5).tensor, both.tensor[2:])
    assert (both.tensor[2] - pipe.sample(PROMPTS[0], seed=5).tensor[0]).abs().max() > 1e-3


@pytest.mark.parametrize("depth", [8, 16])
def test_the_file_says_how_to_make_the_image_again(tmp_path: Path, depth: int) -> None:
    pipe = pipeline(depth=depth)
    request: dict[str, Any] = {"label": "star", "solver": "ddpm", "steps": 3, "guidance": 2.5}
    out = pipe.sample("a réd circle", n=2, seed=40, **request)
    paths = out.save(tmp_path)
    assert [path.name for path in paths] == ["seed-40.png", "seed-41.png"]
    with Image.open(paths[1]) as image:
        text = dict(image.text)
    assert pipe.again(paths[1]).tensor.equal(out.tensor[1:])
    assert text.pop("latentry").startswith("{")
    assert text == {
        "prompt": "a réd circle",
        "label": "star",
        "seed": "41",
        "solver": "ddpm",
        "steps": "3",
        "guidance": "2.5",
        "levels": "exponential",
        "evaluations": "3",
        "clip": "false",
        "size": "16x16",
        "mode": "fp32",
        "model": "abc123",
        "software": f"latentry {__version__}",
    }
    again = pipe.sample(
        text["prompt"],
        label=text["label"],
        seed=int(text["seed"]),
        solver=text["solver"],
        steps=int(text["steps"]),
        guidance=float(text["guidance"]),
    )
    assert_same_image(again.tensor, out.tensor[1:])


@pytest.mark.parametrize("size", [(16, 32), (32, 16), (48, 48), (18, 30), (2, 6)])
def test_other_sizes_than_those_trained_on(pipe: Pipeline, size: tuple[int, int]) -> None:
    out = pipe.sample("a red circle", size=size)
    assert out.tensor.shape == (1, 3, *size)
    assert out.images[0].size == size[::-1]
    assert out.tensor.isfinite().all()


def test_a_large_image_is_drawn_in_tiles(pipe: Pipeline, tmp_path: Path) -> None:
    """Each as the network would see it alone, and again from its file; a tile as large as the image changes nothing."""
    whole = pipe.sample("a red circle", size=(16, 48))
    assert_same_image(pipe.sample("a red circle", size=(16, 48), tile=48).tensor, whole.tensor)
    tiles = pipe.sample("a red circle", size=(16, 48), tile=16, overlap=0)
    assert tiles.tensor.shape == (1, 3, 16, 48)
    assert not torch.allclose(tiles.tensor, whole.tensor, atol=1e-3)
    (path,) = tiles.save(tmp_path / "one.png")
    assert torch.equal(pipe.again(path).tensor, tiles.tensor)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"size": (17, 31)}, r"size 17x31 .* multiple of 2 \(f 2\); nearest: 16x30 or 18x32"),
        ({"size": 31}, "nearest: 30x30 or 32x32"),
        ({"size": (0, 16)}, "size 0x16"),
        ({"tile": 10}, "tile: 10; accepted: multiples of 4, nearest: 8 or 12"),
        ({"tile": 8, "overlap": 8}, "overlap: 8; accepted: multiples of 2 below the tile's 8"),
        ({"overlap": 8}, "overlap: 8 without tiles"),
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "1001 with levels exponential; accepted are 1 to 1000"),
        ({"solver": "ddmi"}, "ddmi.*ddim"),
        ({"solver": {"kind": "ddim", "eta": -1}}, "eta"),
        ({"levels": "trailling"}, "trailling.*did you mean .*trailing"),
        ({"n": 0}, "n: 0"),
        ({"batch": 0}, "batch: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"label": "stra"}, "stra.*star"),
        ({"lable": "star"}, "lable.*label"),
        ({"label": ["star", "square", "star"]}, "label: 3 values|text: 1|give one"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_one_clear_error(pipe: Pipeline, request_: dict[str, Any], text: str) -> None:
    if request_.get("label") == ["star", "square", "star"]:
        request_ = {**request_, "text": PROMPTS}
    with pytest.raises(UsageError, match=text):
        pipe.sample(**{"text": "a red circle", **request_})


def test_a_first_stage_alone_does_not_sample() -> None:
    with pytest.raises(UsageError, match="first stage only"):
        pipeline(conditions="").sample()


def test_steps_stream_the_same_request(pipe: Pipeline) -> None:
    request: dict[str, Any] = {"n": 2, "seed": 4, "steps": 5, "label": "square", "solver": "ddpm"}
    steps = list(pipe.steps("a red circle", **request))
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert steps[-1].level == CLEAN
    times = [step.level.t for step in steps]
    assert times == sorted(times, reverse=True)
    out = pipe.sample("a red circle", **request).tensor
    assert_same_image(((pipe.decode(steps[-1].x) + 1) / 2).clamp(0, 1), out)
    assert not steps[-1].x.requires_grad


def test_streaming_can_stop_early_and_leaves_gradients_as_they_were(pipe: Pipeline) -> None:
    for step in pipe.steps("a red circle"):
        assert torch.is_grad_enabled()
        if step.index == 1:
            break
    assert torch.is_grad_enabled()


def test_guidance_where_nothing_is_asked_changes_nothing(pipe: Pipeline) -> None:
    assert torch.equal(pipe.sample(guidance=5.0).tensor, pipe.sample(guidance=1.0).tensor)
    assert (
        pipe.sample(PROMPTS[0], guidance=5.0).tensor - pipe.sample(PROMPTS[0], guidance=1.0).tensor
    ).abs().max() > 0.01


def test_progress_counts_network_calls(pipe: Pipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipe.sample(PROMPTS[0], n=3, batch=2, steps=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize(
    ("solver", "steps", "calls"), [("dpmpp_2m", 5, 5), ("heun", 5, 5), ("heun", 6, 5), ("unipc", 1, 1), ("plms", 4, 5)]
)
def test_steps_are_evaluations_of_the_network(pipe: Pipeline, solver: str, steps: int, calls: int) -> None:
    """Counted at the network; told by the progress and in the picture."""
    told, counted = [(0, 0)], [0]
    assert pipe.denoiser is not None
    hook = pipe.denoiser.unet.register_forward_pre_hook(lambda *_: counted.append(counted[-1] + 1))
    out = pipe.sample(PROMPTS[0], solver=solver, steps=steps, progress=lambda done, total: told.append((done, total)))
    hook.remove()
    assert counted[-1] == calls
    assert told[-1] == (calls, calls)
    assert out.facts[0]["evaluations"] == str(calls)


def test_passes_of_each_step_are_counted(pipe: Pipeline, tmp_path: Path) -> None:
    """Of a model that was not trained to fill, each pass begins anew."""
    Image.new("RGB", (16, 16), "#2040c0").save(tmp_path / "image.png")
    counted = [0]
    assert pipe.denoiser is not None
    hook = pipe.denoiser.unet.register_forward_pre_hook(lambda *_: counted.append(counted[-1] + 1))
    told = [(0, 0)]
    asked: dict[str, Any] = {
        "file": tmp_path / "image.png",
        "box": [(4, 4, 6, 8)],
        "solver": "heun",
        "steps": 7,
        "resample": 3,
    }
    out = pipe.run("inpaint", **asked, progress=lambda done, total: told.append((done, total)))
    hook.remove()
    assert told[-1] == (counted[-1], counted[-1]) == (21, 21)
    assert out.facts[0]["evaluations"] == "21"


def test_a_solver_brings_its_own_levels_and_steps_and_old_recipes_keep_theirs() -> None:
    """`solver: ddim` alone means what it meant before there was another default."""
    chosen = {name: SampleOptions.model_validate({"solver": name}) for name in ("ddim", "heun")}
    assert (chosen["ddim"].levels, chosen["ddim"].steps) == ("trailing", 50)
    assert (chosen["heun"].levels, chosen["heun"].steps) == ("karras", 20)
    assert SampleOptions().steps <= 20
    assert SampleOptions.model_validate({"solver": "ddim", "steps": 7, "levels": "uniform"}).levels == "uniform"


def test_sampling_leaves_the_global_randomness_alone(pipe: Pipeline) -> None:
    before = torch.get_rng_state()
    pipe.sample(PROMPTS[0], solver="ddpm")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_encode_and_decode(kind: str) -> None:
    """Scaled latents out and in; what `decode` gives is what the first stage makes of what `encode` got."""
    pipe = pipeline(kind)
    images = torch.rand(11, 3, 16, 24) * 2 - 1  # more than are worked on at once
    z = pipe.encode(images)
    with torch.no_grad():
        moments = torch.cat([pipe.autoencoder.moments(image[None]) for image in images])
    plain = moments.chunk(2, dim=1)[0] if kind == "kl" else moments
    assert torch.allclose(z, 0.7 * plain, atol=1e-5)
    assert torch.allclose(pipe.decode(z)[9:10], pipe.decode(z[9:10]), atol=1e-4)
    assert pipe.decode(z).shape == images.shape


def test_encode_draws_by_seed() -> None:
    pipe = pipeline()
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    mean, drawn = pipe.encode(images), pipe.encode(images, sample=5)
    assert not mean.requires_grad
    assert torch.allclose(drawn[2:], pipe.encode(images[2:], sample=7), atol=1e-5)
    assert not torch.allclose(drawn, pipe.encode(images, sample=6), atol=1e-3)
    with torch.no_grad():
        log_variance = pipe.autoencoder.moments(images[:1]).chunk(2, dim=1)[1]
    noise = rng.normal(5, "posterior", [0], 0, mean.shape[1:])
    assert torch.allclose(drawn[:1] - mean[:1], 0.7 * (log_variance / 2).exp() * noise, atol=1e-5)


def test_images_that_cannot_be_encoded(pipe: Pipeline) -> None:
    with pytest.raises(UsageError, match=r"17x16 does not fit.*nearest: 16x16 or 18x16"):
        pipe.encode(torch.zeros(1, 3, 17, 16))
    with pytest.raises(UsageError, match=r"takes \(B, 3, H, W\)"):
        pipe.encode(torch.zeros(3, 16, 16))
    with pytest.raises(UsageError, match="1x4x16x16"):
        pipe.encode(torch.zeros(1, 4, 16, 16))


def test_words_without_a_token_are_told(pipe: Pipeline) -> None:
    assert pipe.unknown_words("a red 犬, a 犬 circle") == ["犬"]
    assert pipe.unknown_words("a red circle") == pipeline(conditions="vector").unknown_words("a 犬") == []
    with pytest.raises(UsageError, match="holds a first stage only"):
        pipeline(conditions="").unknown_words("a 犬")

"""Two processes train what one trains on the same batches; else a model would depend on how many made it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import yaml
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from latentry.errors import UsageError
from latentry.training.loop.world import World
from tests.unit.training.small_stages import (
    ALONE,
    DISCRIMINATOR,
    RECIPE,
    assert_close,
    classifier_stage,
    first_stage,
    gradients,
    images,
    second_stage,
    train,
    weights,
)

Result = dict[str, Any]
PERCEPTUAL = {"net": "none", "weight": 0.5}
FIRST = {"objective__discriminator": {**DISCRIMINATOR, "weight": 0.5}, "objective__perceptual": PERCEPTUAL}
KL = {**FIRST, "train__batch": 4, "objective__reduction": "mean", "objective__learn_log_variance": True}
STAGES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "kl": (first_stage, KL),
    "vq": (first_stage, {**FIRST, "train__batch": 4, "kind": "vq"}),
    "diffusion": (second_stage, {"train__accumulate": 2, "objective__learn_log_variance": True}),
    "classifier": (classifier_stage, {"train__accumulate": 2}),
}
STEPS, FEWEST = 10, 4
ON_LATENTS = ("diffusion", "classifier")
SGD_RATES = {"kl": 1e-3, "vq": 1e-3, "diffusion": 1e-2, "classifier": 1e-2}
# vq: no vector comes near a tie, where rounding decides
ADAMW_RATES = {"kl": 1e-3, "vq": 1e-4, "diffusion": 1e-3, "classifier": 1e-3}


def run(root: Path, name: str, world: World) -> Result:
    """First gradients; weights after each of 10 steps of SGD; losses of 10 steps of AdamW; the codes of both."""
    build, changes = STAGES[name]
    sgd = build(root, world, train__optimiser="sgd", train__lr=SGD_RATES[name], **changes)
    adamw = build(root, world, train__optimiser="adamw", train__lr=ADAMW_RATES[name], **changes)
    codes = {optimiser: codes_of(stage) for optimiser, stage in (("sgd", sgd), ("adamw", adamw))}
    path = []
    for step in range(STEPS):
        train(sgd, 1, start=step)
        buffers = dict(sgd.objective.named_buffers() if name not in ON_LATENTS else ())
        path.append(weights(sgd) | {key: value.clone() for key, value in buffers.items()})
    return {
        "gradients": gradients(build(root, world, **changes)),
        "sgd": path,
        "loss": [row["loss"] for row in train(adamw, STEPS)],
        "codes": codes,
    }


def codes_of(stage: Any) -> list[Tensor]:
    """Where the nearest codes (B, h, w) of this process will be: of both passes of each step; of `vq` alone."""
    codes: list[Tensor] = []
    if getattr(stage.model, "quantiser", None) is not None:
        quantise = stage.model.quantise

        def recorded(moments: Tensor) -> Any:
            codes.append((result := quantise(moments)).indices)
            return result

        stage.model.quantise = recorded
    return codes


def steps_alike(name: str, optimiser: str, one: dict[str, Result], two: list[dict[str, Result]]) -> int:
    """How many steps one process and two took from the same codes: one that lies between two vectors, where rounding
    decides, may be another on another processor, and from then on the weights part."""
    whole = one[name]["codes"][optimiser]
    halves = [torch.cat(parts) for parts in zip(*(rank[name]["codes"][optimiser] for rank in two), strict=True)]
    passes = len(whole) // STEPS
    return next((place // passes for place, (a, b) in enumerate(zip(whole, halves)) if not torch.equal(a, b)), STEPS)


def worker(rank: int, root: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    world = World(rank, 2, torch.device("cpu"))
    torch.save({name: run(Path(root), name, world) for name in STAGES}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def two(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Result]]:
    folder = tmp_path_factory.mktemp("processes")
    spawn(worker, (str(root), str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one(root: Path) -> dict[str, Result]:
    return {name: run(root, name, ALONE) for name in STAGES}


@pytest.mark.parametrize("name", STAGES)
def test_first_gradients(name: str, one: dict[str, Result], two: list[dict[str, Result]]) -> None:
    expected = one[name]["gradients"]
    assert expected.keys() == ({"updater"} if name in ON_LATENTS else {"updater", "critic"})
    for rank in two:
        for updater, whole in expected.items():
            assert whole
            assert_close(rank[name]["gradients"][updater], whole, 1e-5)


@pytest.mark.parametrize("name", STAGES)
def test_steps_of_sgd(name: str, one: dict[str, Result], two: list[dict[str, Result]]) -> None:
    steps = steps_alike(name, "sgd", one, two)
    assert steps == STEPS if name != "vq" else steps >= FEWEST
    for rank in two:
        for key, value in one[name]["sgd"][steps - 1].items():
            assert (rank[name]["sgd"][steps - 1][key] - value).abs().max() <= 1e-5, key
        for key, value in rank[name]["sgd"][-1].items():
            assert torch.equal(value, two[0][name]["sgd"][-1][key])


@pytest.mark.parametrize("name", STAGES)
def test_losses_of_adamw(name: str, one: dict[str, Result], two: list[dict[str, Result]]) -> None:
    steps = steps_alike(name, "adamw", one, two)
    assert steps == STEPS if name != "vq" else steps >= FEWEST
    for rank in two:
        assert rank[name]["loss"][:steps] == pytest.approx(one[name]["loss"][:steps], rel=0, abs=1e-4)
    assert two[0][name]["loss"] == two[1][name]["loss"]


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_shares_are_the_batch_once(size: int, accumulate: int) -> None:
    worlds = [World(rank, size, torch.device("cpu")) for rank in range(size)]
    worlds[0].check_batch("train", 24, accumulate)
    places = [p for part in range(accumulate) for world in worlds for p in world.share(24, accumulate, part)]
    assert places == list(range(24))


def test_uneven_shares_are_refused() -> None:
    world = World(0, 2, torch.device("cpu"))
    with pytest.raises(UsageError, match=r"diffusion\.train\.batch: 10 .* 2 processes x 2 .* multiple of 4.* 8 or 12"):
        world.check_batch("diffusion.train", 10, 2)
    with pytest.raises(UsageError, match="batch to 2,"):
        world.check_batch("diffusion.train", 1, 1)


def command(root: Path, out: Path, steps: int, *overrides: str) -> list[str]:
    """`torchrun -m latentry train` on two processes of this machine."""
    tree = {**RECIPE, "sample": {"steps": 2}}
    for stage in ("autoencoder", "diffusion"):
        every = {"steps": steps, "save_every": 2000, "log_every": 1, "validate_every": 3000, "sample_every": 3000}
        tree[stage] = {**RECIPE[stage], "train": {**RECIPE[stage]["train"], **every}}
    recipe = root.parent / f"small-{steps}.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*torchrun, "-m", "latentry", "train", str(recipe), *overrides, "--data", str(root), "--out", str(out)]


ENVIRONMENT = {**os.environ, "LATENTRY_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}


def launch(*asked: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*asked), env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)


def test_torchrun_trains_both_stages_once(root: Path, tmp_path: Path) -> None:
    """One process prints, locks and saves; both end, and the model is there."""
    from latentry import load

    done = launch(root, tmp_path / "run", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("autoencoder: deviation of latents") == 1
    assert "destroy_process_group" not in done.stderr
    rows = [json.loads(row) for row in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    trained = [(row["stage"], row["step"]) for row in rows if "gradient_norm" in row]
    assert trained == [(stage, step) for stage in ("autoencoder", "diffusion") for step in (1, 2, 3)]
    assert (tmp_path / "run/autoencoder/step-3").is_dir()
    assert load(tmp_path / "run/model").sample("a red circle", n=1).tensor.shape == (1, 3, 16, 16)


@pytest.mark.soak
def test_torchrun_refuses_uneven_shares(root: Path, tmp_path: Path) -> None:
    done = launch(root, tmp_path / "run", 3, "diffusion.train.batch=7")
    assert done.returncode != 0
    assert done.stderr.count("error: diffusion.train.batch: 7 images") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the second process through /proc")
def test_a_stop_asked_of_one_process_stops_both_after_a_save(root: Path, tmp_path: Path) -> None:
    """Else the other would wait for it until a time-out, and nothing would be saved."""
    run = tmp_path / "run"
    asked = subprocess.Popen(
        command(root, run, 100_000), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: (run / "log.jsonl").exists() or asked.poll() is not None)
        os.kill(second_process(asked.pid), signal.SIGTERM)
        asked.communicate(timeout=60)
    finally:
        asked.kill()
    assert asked.returncode != 0
    (saved,) = (run / "autoencoder").glob("step-*")
    rows = [json.loads(row) for row in (run / "log.jsonl").read_text().splitlines()]
    assert saved.name == f"step-{rows[-1]['step']}"


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def second_process(launcher: int) -> int:
    """The process of rank 1 among a launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())

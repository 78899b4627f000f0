"""Kill trainings with -9 again and again, resume them, and compare every bit with trainings that nobody disturbed.

Each trial trains one stage of the tiny experiment, `kl` and `vq` in turn. It is killed up to three times: at a random
moment, or at a random disk operation inside a save (half done, if it is a write). It is resumed by the same call with
another number of loader workers each time, then weights, discriminator, averages, optimisers, log and model must be
those of the unbroken run. Everything random is drawn from --seed.

A trial's processes are forked from this one, which has torch loaded, so that dying costs little.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["LATENTRY_DEVICE"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch._dynamo  # what an optimiser and the log will want: loaded here, once for all children
import torch.utils.tensorboard

from latentry.checkpoints import Store, durable
from latentry.training.run import train
from tests.e2e import tiny

STAGES = ("autoencoder", "diffusion")
KINDS = ("kl", "vq")
MOST_KILLS = 3


@dataclass
class Reference:
    """An unbroken run. seconds, operations: processor time and disk operations inside saves of each stage."""

    run: Path
    first: Path
    recipe: Path
    seconds: dict[str, float] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)


@dataclass
class Death:
    """When a child dies: after so many seconds of its processor time, or at an operation inside a save, or never."""

    seconds: float | None = None
    operation: int | None = None


def count_operations(die_at: int | None) -> Callable[[], int]:
    """Count disk operations inside saves, and die by SIGKILL at number `die_at`; returns the counter."""
    state = {"saving": False, "count": 0}
    write, save = os.write, Store.save

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if state["saving"]:
                if state["count"] == die_at:
                    if real is write:
                        write(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                state["count"] += 1
            return real(*args, **options)

        return call

    def saving(self: Store, *args: Any) -> Path:
        state["saving"] = True
        try:
            return save(self, *args)
        finally:
            state["saving"] = False

    os.fsync = lambda fd: None  # what a kill leaves does not depend on it, and waiting for the disk is slow
    for name in ("open", "write", "fsync", "unlink", "rmdir"):
        setattr(os, name, watched(getattr(os, name)))
    durable.rename = watched(durable.rename)
    Store.save = saving  # type: ignore[method-assign]
    return lambda: int(state["count"])


def child(work: Callable[[], Any], log: Path, death: Death) -> bool:
    """Run `work` in a child process; whether it lived to its end. Raises RuntimeError if it failed by itself."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = _wait(process, death.seconds)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        raise RuntimeError(f"failed by itself:\n{log.read_text()[-3000:]}")
    return True


def _wait(process: int, seconds: float | None) -> int:
    """The exit status; kills after so many seconds of the child's own processor time."""
    if seconds is None:
        return os.waitpid(process, 0)[1]
    clock = (~process << 3) | 2  # Linux: the clock of another process
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status
        if time.clock_gettime(clock) >= seconds:
            os.kill(process, signal.SIGKILL)
            return os.waitpid(process, 0)[1]
        time.sleep(0.001)


def attempt(reference: Reference, data: Path, out: Path, stage: str | None, workers: int, death: Death) -> bool:
    """One call of `train` in a process of its own; whether it lived."""

    def work() -> None:
        torch.set_num_threads(1)
        counted = count_operations(death.operation)
        overrides = [f"{name}.train.workers={workers}" for name in STAGES]
        started = time.process_time()
        train(str(reference.recipe), data, out, overrides, stage=stage)  # type: ignore[arg-type]
        (out.parent / f"{out.name}.measured").write_text(f"{time.process_time() - started} {counted()}")

    return child(work, out.with_suffix(".txt"), death)


def unbroken(folder: Path, data: Path, kind: str) -> Reference:
    """Both stages, never disturbed; `first` is a copy made after the first stage, before its model was written."""
    recipe = tiny.write_recipe(folder / f"{kind}.yaml", tiny.recipe(kind))
    made = Reference(folder / f"{kind}-unbroken", folder / f"{kind}-first", recipe)
    for stage in STAGES:
        attempt(made, data, made.run, stage, 0, Death())
        seconds, operations = (folder / f"{made.run.name}.measured").read_text().split()
        made.seconds[stage], made.operations[stage] = float(seconds), int(operations)
        if stage == "autoencoder":
            ignored = shutil.ignore_patterns("model", "figures.json")
            shutil.copytree(made.run, made.first, ignore=ignored)
    return made


def trial(
    reference: Reference, data: Path, out: Path, stage: str, chance: random.Random
) -> tuple[list[str], list[str]]:
    """(what differs from the unbroken run, how it was killed)."""
    kills: list[str] = []
    if stage == "diffusion":
        shutil.copytree(reference.first, out)
    for number in range(chance.randint(1, MOST_KILLS)):
        death = Death()
        if chance.random() < 0.5:
            most = reference.operations[stage] if not number else reference.operations[stage] // 2
            death.operation = chance.randrange(most)
        else:
            death.seconds = chance.uniform(0.02, 0.95 if not number else 0.6) * reference.seconds[stage]
        if attempt(reference, data, out, stage, chance.randrange(3), death):
            break
        kills.append(_what_was_killed(out))
    attempt(reference, data, out, stage, chance.randrange(3), Death())
    return "; ".join(differences(reference.run, out, stage)), kills


def _what_was_killed(out: Path) -> str:
    """Where the run is, and whether a save was cut off: its folder without a name is still there."""
    places = [f"{stage} {steps[-1]}" for stage in STAGES if (steps := Store(out / stage).steps())]
    return (places[-1] if places else "start") + (" in a save" if any(out.glob("*/*.tmp")) else "")


def differences(reference: Path, out: Path, stage: str) -> list[str]:
    """What is not equal, bit for bit."""
    found = []
    wanted, got = tiny.checkpoint(reference, stage), tiny.checkpoint(out, stage)
    found += [name for name in sorted({*wanted, *got}) if wanted.get(name) != got.get(name)]
    if tiny.rows(reference, stage) != tiny.rows(out, stage):
        found.append("log.jsonl")
    if stage == "diffusion":
        wanted, got = tiny.model(reference), tiny.model(out)
        found += [f"model/{name}" for name in sorted({*wanted, *got}) if wanted.get(name) != got.get(name)]
    found += [f"left behind: {path.relative_to(out)}" for path in out.rglob("*.tmp")]
    return found


def soak(folder: Path, stages: list[str], trials: int, seed: int) -> bool:
    """All trials; whether every one ended equal."""
    data = tiny.write_data(folder / "data")
    references = {kind: unbroken(folder, data, kind) for kind in KINDS[:trials]}
    good = True
    for stage in stages:
        equal, kills = 0, list[str]()
        for number in range(trials):
            kind, out = KINDS[number % 2], folder / f"{stage}-{number}"
            wrong, killed = trial(references[kind], data, out, stage, random.Random(f"{seed} {stage} {number}"))
            print(
                f"  {stage} {number} ({kind}), killed at {', '.join(killed)}: {'; '.join(wrong) or 'equal'}", flush=True
            )
            equal, kills = equal + (not wrong), [*kills, *killed]
            if not wrong:
                shutil.rmtree(out)
        inside = sum("in a save" in kill for kill in kills)
        print(
            f"{stage}: {equal} of {trials} equal after {len(kills)} kills, {inside} of them inside a save", flush=True
        )
        good = good and equal == trials
    return good


def main() -> int:
    """Exit code 0 if all trials ended equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="for each stage")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, kept; default: a temporary one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if soak(folder, args.stage or list(STAGES), args.trials, args.seed) else 1


if __name__ == "__main__":
    sys.exit(main())

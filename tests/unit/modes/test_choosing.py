"""`auto`: a busy machine must not choose, pictures must stay the same, and the answer is kept where it holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latentry.models.modes import Mode, choosing, remembered
from latentry.models.modes.choosing import Trial, choose
from latentry.models.modes.mode import usual
from latentry.models.modes.remembered import key, recall, remember

CPU = torch.device("cpu")
USUAL = usual(CPU)
OTHER = Mode(channels_last=not USUAL.channels_last)


class Machine:
    """seconds(mode, i): of the i-th pass. difference: of pictures to the usual mode's, in steps of 8 bits."""

    def __init__(self, seconds: Callable[[Mode, int], float], difference: float = 0.0) -> None:
        self.seconds, self.difference, self.passes = seconds, difference, 0
        self.mode = USUAL

    def trial(self, device: torch.device = CPU) -> Trial:
        def enter(mode: Mode) -> None:
            self.mode = mode

        moved = torch.full((1, 3, 2, 2), self.difference / 255)
        return Trial(device, enter, lambda: torch.zeros(1, 3, 2, 2) + (self.mode != USUAL) * moved, lambda: None)

    def pass_of(self, _: Trial) -> float:
        self.passes += 1
        return self.seconds(self.mode, self.passes)


def chosen(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> tuple[Mode, str]:
    monkeypatch.setattr(choosing, "seconds", machine.pass_of)
    return choose(machine.trial(), [OTHER])


def test_a_clearly_faster_mode_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with its median and spread."""
    mode, why = chosen(monkeypatch, Machine(lambda mode, i: 0.8 if mode == OTHER else 1.0))
    assert mode == OTHER
    assert why == f"took 0.80 times as long (0.80 to 0.80 in 12 pairs) as {USUAL}"


def test_a_busy_machine_does_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal modes, passes from 1 to 3 times as long by chance: of 300 such machines none takes the other."""
    for seed in range(300):
        noise = random.Random(seed)
        machine = Machine(lambda mode, i, noise=noise: 1 + 2 * noise.random())  # type: ignore[misc]
        assert chosen(monkeypatch, machine)[0] == USUAL


def test_a_mode_that_is_faster_only_at_times_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its median would be better, but some of the pairs speak against it; one that is slower is dropped at once."""
    mode, why = chosen(monkeypatch, Machine(lambda mode, i: (1.4 if i % 8 > 5 else 0.7) if mode == OTHER else 1.0))
    assert mode == USUAL
    assert why == "none of 1 other modes was clearly faster"
    slow = Machine(lambda mode, i: 1.2 if mode == OTHER else 1.0)
    assert chosen(monkeypatch, slow)[0] == USUAL
    assert slow.passes == 2


@pytest.mark.parametrize(("difference", "taken"), [(0.9, True), (1.5, False)])
def test_on_a_cpu_only_the_same_pictures_count(monkeypatch: pytest.MonkeyPatch, difference: float, taken: bool) -> None:
    """Else timing would decide what a seed shows."""
    mode, why = chosen(monkeypatch, Machine(lambda mode, i: 0.1 if mode == OTHER else 1.0, difference))
    assert (mode == OTHER) == taken
    assert ("would change pictures" in why) != taken


def test_on_a_cpu_bf16_is_tried_and_on_a_gpu_first() -> None:
    """The formats that the hardware is made for."""
    assert choosing.candidates(torch.device("cuda"))[0] == Mode("bf16", channels_last=True, compile=True, frozen=True)
    assert Mode("bf16", channels_last=True, frozen=True) in choosing.candidates(CPU)
    assert USUAL not in choosing.candidates(CPU)


def test_the_answer_is_kept_for_this_machine_network_and_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another shape, network, number of threads or version of torch is timed anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    of = key(CPU, {"channels": 8}, (1, 64, 64))
    assert recall(of) is None
    remember(of, OTHER, "because")
    remember("another", USUAL, "too")
    assert recall(of) == (OTHER, "because")
    assert recall(key(CPU, {"channels": 8}, (2, 64, 64))) is None
    assert recall(key(CPU, {"channels": 9}, (1, 64, 64))) is None
    monkeypatch.setattr(remembered, "machine", lambda _: ["another machine"])
    assert key(CPU, {"channels": 8}, (1, 64, 64)) != of


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"k": 1}', '{"k": {"mode": "bf17", "why": ""}}', '{"k": {"mode": 3}}']
)
def test_a_damaged_memory_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """A file cut by a full disk must not stop a sampling, and the next answer mends it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "latentry").mkdir()
    (tmp_path / "latentry" / remembered.FILE).write_text(text)
    assert recall("k") is None
    remember("k", OTHER, "why")
    assert recall("k") == (OTHER, "why")


def test_where_nothing_can_be_written_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A read-only home: the next process times again."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("k", OTHER, "why")
    assert recall("k") is None

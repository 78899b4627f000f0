"""If these fail, a model computes elsewhere than it was told to, or a missing GPU gives a traceback."""

from __future__ import annotations

import pytest
import torch

from latentry import devices
from latentry.errors import UsageError


def present(monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    monkeypatch.setattr(devices, "_count", lambda kind: {"cpu": 1, **counts}.get(kind, 0))


@pytest.mark.parametrize(
    ("counts", "best"), [({}, "cpu"), ({"mps": 1}, "mps"), ({"cuda": 2}, "cuda"), ({"cuda": 1, "mps": 1}, "cuda")]
)
def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], best: str) -> None:
    present(monkeypatch, **counts)
    assert devices.choose() == torch.device(best)
    assert devices.choose("cpu") == torch.device("cpu")


def test_the_environment_says_what_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, cuda=2)
    monkeypatch.setenv(devices.VARIABLE, "cpu")
    assert devices.choose() == torch.device("cpu")
    assert devices.choose("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuba", r'no "cuba"; known: auto, cuda, mps, cpu, cuda:1 \(did you mean "cuda"\?\)'),
        ("cuda:x", 'no "cuda:x"'),
        ("mps", "there is no mps device for torch .* here; there is cuda, cpu"),
        ("cuda:2", "cuda:2; cuda devices here go from cuda:0 to cuda:1"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    present(monkeypatch, cuda=2)
    with pytest.raises(UsageError, match=message):
        devices.choose(name)


@pytest.mark.parametrize(("counts", "said"), [({}, "sees no GPU here"), ({"mps": 1}, "2 threads")])
def test_who_believes_to_have_a_gpu_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], said: str
) -> None:
    present(monkeypatch, **counts)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    words = devices.described(torch.device("cpu"))
    assert words.startswith("cpu, 2 threads")
    assert words.endswith(said)

"""If these fail, a model computes elsewhere than it was told to, or a missing GPU gives a traceback."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types

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


FAULTS = """
import ctypes, resource, torch
from latentry import devices
def step():
    for many in (10, 4, 10):
        kept = [torch.ones(5 * devices.MIB) for _ in range(many)]  # of 20 MiB
        del kept
def faults():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
ctypes.CDLL(None).mallopt(devices.MMAP_THRESHOLD, devices.MIB)  # or glibc may keep some of it by itself
plain = faults()
with devices.keeping_freed(torch.device("cpu")):
    keeping, within = faults(), held()
print(plain, keeping, within - held())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc alone keeps what is freed")
def test_a_training_fetches_no_memory_anew_that_it_freed_and_gives_it_back_at_the_end() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(devices.CHOSEN)}
    ran = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    plain, keeping, given_back = map(int, ran.stdout.split())
    assert plain > 10_000 > 500 > keeping, "pages fetched in four steps"
    assert given_back > 100 * devices.MIB, "at the end"


def test_how_memory_is_kept_stays_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    called: list[object] = []
    libc = types.SimpleNamespace(gnu_get_libc_version=None, mallopt=called.append, malloc_trim=called.append)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    with devices.keeping_freed(torch.device("cpu")):
        pass
    assert not called

"""If these fail, something that a person can type, or put into a folder, ends in a traceback, a hang, or all memory.

`make test` draws few cases, always the same; `make soak` draws thousands anew.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import latentry
from latentry import config, pipeline
from latentry.cli import run
from latentry.errors import UsageError
from latentry.pipeline import Output, record
from latentry.training.plan.recipes import load, read
from tests.fuzz.nasty import values, words
from tests.unit.pipeline import small_pipelines

SECONDS, MEGABYTES = 5.0, 200
FEW = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
MANY = settings(FEW, max_examples=3000, derandomize=False, print_blob=True)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What commands import when they run is no part of the time that a value may take."""
    for module in pkgutil.walk_packages(latentry.__path__, "latentry."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def few_and_many(*strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A test of drawn cases: few in `make test`, as `KIND[few]`, and thousands in `make soak`."""

    def made(check: Callable[..., None]) -> Any:
        def test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: settings) -> None:
            @how
            @given(st.tuples(*strategies))
            def drawn(case: tuple[Any, ...]) -> None:
                with bounded():
                    check(tmp_path, monkeypatch, *case)

            drawn()

        test.__doc__ = check.__doc__
        ways = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.soak)]
        return pytest.mark.parametrize("how", ways)(test)

    return made


@contextmanager
def bounded() -> Iterator[None]:
    """Within a second of work (five where the machine is busy, or a library is used first) and 200 MB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def refused_in_lines(work: Callable[[], object]) -> None:
    """Done, or a `UsageError` of which no line is endless."""
    said = ""
    try:
        work()
    except UsageError as error:
        said = str(error)
    assert max(map(len, said.splitlines()), default=0) < 1200


def paths(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield above + key
        if isinstance(value, dict):
            yield from paths(value, f"{above}{key}.")


RECIPE = read("tiny-shapes")
PATHS = sorted(paths(RECIPE))
TEXT = config.dump_yaml(RECIPE).encode()


@few_and_many(st.dictionaries(st.sampled_from(PATHS) | st.text(max_size=8), values, max_size=3))
def test_recipes_with_any_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    refused_in_lines(lambda: load("tiny-shapes", changes))


@few_and_many(st.sampled_from(PATHS), words)
def test_overrides_as_they_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, word: str) -> None:
    refused_in_lines(lambda: load("tiny-shapes", [f"{path}={word}"]))
    refused_in_lines(lambda: load("tiny-shapes", [word]))
    refused_in_lines(lambda: load(word))


@few_and_many(
    st.integers(0, len(TEXT)),
    st.integers(0, 12),
    st.binary(max_size=12) | words.map(lambda w: w.encode("utf-8", "surrogatepass")),
)
def test_files_of_recipes_that_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, cut: int, put: bytes
) -> None:
    (tmp_path / "r.yaml").write_bytes(TEXT[:place] + put + TEXT[place + cut :])
    refused_in_lines(lambda: load(str(tmp_path / "r.yaml")))


@few_and_many(values)
def test_what_is_written_as_yaml_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    refused_in_lines(lambda: config.parse_yaml(config.dump_yaml({"a": value}), "a"))


class Drawn:
    """A pipeline that checks a request as the real one does, and draws nothing."""

    def __init__(self) -> None:
        self.real = small_pipelines.pipeline()

    def run(self, task: str, progress: Any = None, **options: Any) -> Output:
        self.real._request(task, options)
        return Output(torch.zeros(1, 3, 16, 16), 8, [{"seed": "0"}])

    def check(self, task: str, **options: Any) -> None:
        self.real.check(task, **options)

    def check_target(self, path: Path, size: Any = None) -> None:
        self.real.check_target(path, size)

    def unknown_words(self, text: str) -> list[str]:
        return self.real.unknown_words(text)


OPTIONS = ["-n", "--steps", "--solver", "--levels", "--guidance", "--seed", "--size", "--label", "--weights", "--step",
           "--device", "--from", "--json", "--no-metadata", "--nonsense", "--out", "--"]  # fmt: skip
COMMANDS = [
    ["sample", "m"], ["sample"], ["reconstruct", "m"], ["train"], ["train", "tiny-shapes"], ["recipes", "show"],
    ["reconstruct", "m", "."],
    ["inspect"], ["import"], ["export"], ["verify"], ["data", "check"], ["data", "shapes", "--count", "1"], [],
]  # fmt: skip


@few_and_many(st.sampled_from(COMMANDS), st.lists(st.tuples(st.sampled_from(OPTIONS) | words, words), max_size=3))
def test_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], pairs: list[tuple[str, str]]
) -> None:
    """Exit codes are those that are promised. Nothing leaves a traceback; run in an empty folder."""
    pipe = Drawn()
    monkeypatch.setattr(pipeline, "load", lambda path, **how: pipe)
    place = tmp_path / "place"
    place.mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    if not any(word.startswith(("/", "~", "..")) for pair in pairs for word in pair):
        assert run([*command, *(word for pair in pairs for word in pair), "--out", "out"]) in (0, 1, 2)


ROWS = st.dictionaries(
    st.sampled_from(["file_name", "text", "label", "objects", "semantic", "mask", "split"]) | st.text(max_size=4),
    values,
)


@few_and_many(
    st.lists(ROWS.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=30), max_size=4),
    st.sampled_from(["metadata.jsonl", "metadata.csv", "0.txt"]),
)
def test_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes], name: str) -> None:
    """Of a folder that somebody else made."""
    for index in range(3):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(tmp_path / f"{index}.png")
    for other in ("metadata.jsonl", "metadata.csv", "0.txt"):
        (tmp_path / other).unlink(missing_ok=True)
    row = b"" if name == "0.txt" else b"file_name,text\n" if name.endswith("csv") else b'{"file_name": "0.png"}\n'
    (tmp_path / name).write_bytes(row + b"\n".join(lines))
    assert run(["data", "check", str(tmp_path)]) in (0, 1, 2)


@few_and_many(st.dictionaries(st.sampled_from(sorted(record.Record.model_fields)), values))
def test_texts_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    good = {"task": "generate", "conditions": {"text": ["a"]}, "options": {}, "n": 1, "seed": 0, "batch": 1}
    info = PngImagePlugin.PngInfo()
    info.add_itxt(record.KEY, json.dumps({**good, **changes}))
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=info)

    def again() -> None:
        found = record.read(tmp_path / "a.png")
        Drawn().run(found.task, **{k: v for k, v in found.words({}).items() if k not in ("batch", "mode")})

    refused_in_lines(again)

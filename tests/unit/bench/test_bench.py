"""If these fail, what a benchmark tells of a model is not what it measured, or a bad request is met too late."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentry import config
from latentry.bench import groups, peak, run
from latentry.bench.options import BenchOptions
from latentry.bench.peak import products
from latentry.bench.result import COLUMNS, Findings, to_csv, to_json
from latentry.bench.run import bench
from latentry.bench.subject import Subject
from latentry.bench.writing import write
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from latentry.timing import flops
from tests.unit.pipeline import small_pipelines

SPEED = 1e10
"""FLOP/s of the planted machine."""


@pytest.fixture(autouse=True, scope="module")
def small_products() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("OTHER_SIDE", 128), ("CHANNELS", 16), ("SIDE", 16)):
            patch.setattr(peak, name, size)
        yield


class Planted:
    """A clock of a machine that does products at one speed and takes `seconds` for everything else."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        device = torch.device("cpu")
        self.products = {name: count / SPEED for name, (_, count) in products(device, "fp32").items()}

    def __call__(self, work: Callable[[], Any], wait: Callable[[], None]) -> tuple[float, Any]:
        result = work()
        inner = work.__closure__[0].cell_contents if work.__closure__ else work  # what is repeated
        name = getattr(inner, "__name__", "")
        return self.products.get(name, self.seconds), result


@pytest.mark.parametrize("there", [True, False])
def test_bf16_is_measured_unasked_where_it_is_more_than_imitated(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "computes_bf16", lambda _: there)
    subject = Subject(small_pipelines.pipeline())
    unasked = [str(mode) for mode in groups.modes_of(BenchOptions(), subject)]
    assert unasked[0] == "fp32"
    assert any("bf16" in mode for mode in unasked) == there
    asked = groups.modes_of(BenchOptions(modes=("bf16",)), subject)
    assert [str(mode) for mode in asked] == ["bf16"]


def options(**changes: Any) -> BenchOptions:
    small = {"batch": (1, 2), "steps": (2,), "rounds": 2, "modes": ("fp32",), "budget": 60}
    return config.validate(BenchOptions, {**small, **changes}, "bench")


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return small_pipelines.pipeline()


@pytest.fixture(scope="module")
def found(pipe: Pipeline) -> Findings:
    return bench(pipe, options(batch=(1, 3), images=(3,)), clock=Planted(1e-2))


def rows(findings: Findings, what: str) -> list[Any]:
    return [row for row in findings.rows if row.what == what]


def test_everything_is_measured_of_every_batch(found: Findings) -> None:
    assert {(row.what, row.batch) for row in found.rows} == {
        (what, batch)
        for what in ("step", "decode", "samples", "training autoencoder", "training diffusion")
        for batch in (1, 3)
    }
    assert all(0 < row.memory < 50 for row in found.rows)


def test_speed_and_share_are_those_of_the_planted_clock(pipe: Pipeline, found: Findings) -> None:
    """A step of known FLOPs in a known time on a machine of known speed."""
    for row in rows(found, "step"):
        assert row.seconds == pytest.approx(1e-2)
        assert row.images_per_second == pytest.approx(row.batch / 1e-2)
        assert row.share == pytest.approx(row.flops / 1e-2 / SPEED)
        assert 0 < row.share < 1.2
    one, three = rows(found, "step")
    assert three.flops == 3 * one.flops
    assert found.peaks["fp32"] == pytest.approx({"matmul": SPEED, "conv": SPEED})


def test_a_guided_step_is_two_predictions(pipe: Pipeline, found: Findings) -> None:
    """Counted by torch over the network itself, with its context projected beforehand as in sampling."""
    assert pipe.denoiser is not None
    unet, cond = pipe.denoiser.unet, pipe.denoiser.condition({}, 2)
    assert cond.context is not None
    projected = unet.project_context(cond.context)
    t, x = torch.zeros(2), torch.zeros(2, 4, 8, 8)
    embedding = unet.embed_time(t)
    told = {"context": cond.context, "vector": cond.vector, "context_kv": projected, "time_embedding": embedding}
    with torch.no_grad():
        count = flops(lambda: unet(x, t, **told))
    assert found.model["predictions a step"] == 2
    assert rows(found, "step")[0].flops == pytest.approx(count, rel=0.02)


def test_samples_tell_their_steps_and_images(found: Findings) -> None:
    assert {(row.steps, row.images, row.batch) for row in rows(found, "samples")} == {(2, 3, 1), (2, 3, 3)}
    assert all(row.images_per_second == pytest.approx(3 / row.seconds) for row in rows(found, "samples"))


def test_the_model_is_left_as_it_was(pipe: Pipeline) -> None:
    assert pipe.denoiser is not None
    before = {name: value.clone() for name, value in pipe.denoiser.state_dict().items()}
    bench(pipe, options(batch=(2,), parts=("training",)))
    assert all(torch.equal(before[name], value) for name, value in pipe.denoiser.state_dict().items())
    assert not pipe.denoiser.training


def test_json_csv_and_table_tell_the_same(found: Findings, tmp_path: Path) -> None:
    files = {path.name: path for path in write(tmp_path / "new", found)}
    told = json.loads(files["bench.json"].read_text())
    assert told["rows"] == [asdict(row) for row in found.rows]
    lines = list(csv.DictReader(io.StringIO(files["bench.csv"].read_text())))
    assert [float(line["seconds"]) for line in lines] == [row["seconds"] for row in told["rows"]]
    assert [line["what"] for line in lines] == [row.cells[0] for row in found.rows]
    place = COLUMNS.index("seconds")
    assert [float(row.cells[place]) for row in found.rows] == pytest.approx([r.seconds for r in found.rows], rel=1e-2)
    assert to_json(found) == files["bench.json"].read_text()
    assert to_csv(found.rows) == files["bench.csv"].read_text()


def test_the_picture_is_there_in_light_and_dark(found: Findings, tmp_path: Path) -> None:
    write(tmp_path, found)
    corner = {}
    for shade in ("light", "dark"):
        with Image.open(tmp_path / f"bench-{shade}.png") as picture:
            assert picture.width > 1000
            corner[shade] = sum(picture.convert("RGB").getpixel((2, 2)))
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 50
    assert corner["light"] > 600 > 200 > corner["dark"]


def test_the_budget_leaves_out_what_is_dear_and_says_so(pipe: Pipeline) -> None:
    """The cheapest is always measured."""
    found = bench(pipe, options(batch=(1, 100_000), parts=("decode",), budget=1), clock=Planted(10.0))
    assert [row.batch for row in found.rows] == [1]
    assert any(note.startswith("no time for decode at batch 100000, 16x16, of 2.") for note in found.notes)


def test_a_busy_machine_is_told(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "busy", lambda: True)
    assert run.BUSY in bench(pipe, options(batch=(1,), parts=("decode",))).notes
    monkeypatch.setattr(run, "busy", lambda: False)
    assert run.BUSY not in bench(pipe, options(batch=(1,), parts=("decode",))).notes


def test_a_first_stage_alone_decodes_and_is_trained() -> None:
    found = bench(small_pipelines.pipeline("vq", ""), options(batch=(1,)))
    assert [row.what for row in found.rows] == ["decode", "training autoencoder"]
    assert any("a first stage alone" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"modes": ("fp8",)}, 'mode: "fp8" is unknown'),
        ({"batch": (0, 1)}, "batch.0: found 0"),
        ({"parts": ()}, "parts: none given"),
        ({"budget": 0}, "budget: found 0"),
        ({"parts": ("sample", "step")}, "parts.0: found"),
        ({"against": "compvis"}, "against: found"),
        ({"size": ((18, 16),)}, "size 18x16 does not fit"),
        ({"steps": (2000,)}, "steps"),
    ],
)
def test_a_bad_request_is_one_line(pipe: Pipeline, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        bench(pipe, options(**changes), clock=never)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def never(work: Callable[[], Any], wait: Callable[[], None]) -> tuple[float, Any]:
    raise AssertionError("something was timed")

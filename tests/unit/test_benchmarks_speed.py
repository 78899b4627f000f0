"""If these fail, the scripts that prove how fast it is do not run, or tell other numbers than they measured."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from latentry.bench import peak
from latentry.bench.result import Row

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, size in (("OTHER_SIDE", 128), ("CHANNELS", 16), ("SIDE", 16)):
        monkeypatch.setattr(peak, name, size)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gpu() -> ModuleType:
    return importlib.import_module("gpu")


def test_the_figures_of_a_gpu_are_all_there_at_tiny_sizes_on_a_cpu(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "QUICK", gpu.QUICK._replace(rounds=1))
    assert gpu.main(["--device", "cpu", "--quick"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "torch" in lines[0]["machine"]
    told = {line["figure"]: line for line in lines[1:]}
    for name in (
        "step at batch 1", "step at batch 2", "share of the peak at batch 2", "training at batch 2",
        "samples of 32x32 at batch 2", "memory of samples at batch 2", "memory of step at batch 2",
        "memory of training diffusion at batch 2",
    ):  # fmt: skip
        assert name in told
    step = told["step at batch 1"]
    assert step["ours / theirs"] == pytest.approx(step["ours (s)"] / step["theirs (s)"])
    training = told["training at batch 2"]
    assert training["ours / theirs"] == pytest.approx(training["ours (images/s)"] / training["theirs (images/s)"])
    assert told["samples of 32x32 at batch 2"]["steps"] == 20


def test_the_shell_script_is_one_and_says_that_no_gpu_is_here(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "benchmarks" / "gpu.sh"
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    assert script.stat().st_mode & 0o111
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "no GPU is here" in capsys.readouterr().err


def row(by: str, mode: str, seconds: float, batch: int = 1) -> Row:
    shown = {"size": "32x32", "steps": None, "images": batch, "low": seconds, "high": seconds, "rounds": 1}
    return Row("step", by, mode, batch, seconds=seconds, images_per_second=1, flops=1, share=1, memory=1, **shown)  # type: ignore[arg-type]


def test_the_best_mode_is_the_quickest_of_its_program_and_batch() -> None:
    forward = importlib.import_module("unet_forward")
    rows = [
        row("latentry", "fp32", 3),
        row("latentry", "bf16", 2),
        row("diffusers", "fp32", 1),
        row("latentry", "x", 1, 8),
    ]
    assert forward.best(rows, "latentry", 1).mode == "bf16"
    assert len(forward.MODES) == len(set(forward.MODES)) == 16


def test_the_best_of_both_stand_beside_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the size of LDM-4's in small, in one mode of each."""
    forward = importlib.import_module("unet_forward")
    words = ["--small", "--pairs", "1", "--batch", "2", "--modes", "fp32,channels_last", "--threads", "1"]
    (found,) = forward.main(words)
    ours, theirs = found["ours"], found["theirs"]
    assert ours["mode"] == theirs["mode"] == "fp32,channels_last"
    assert found["ours / theirs"] == pytest.approx(ours["seconds"] / theirs["seconds"])
    rates = found["GFLOP/s"]
    assert found["share of the lower"] == pytest.approx(rates["ours"] / min(rates["matmul"], rates["conv"]))


def test_the_page_of_cost_curves_is_written_between_its_marks(tmp_path: Path) -> None:
    curves = importlib.import_module("performance")
    page = tmp_path / "costs.md"
    page.write_text(f"before\n{curves.BEGIN}\nold\n{curves.END}\nafter\n")
    words = ["--models", str(ROOT / "models" / "shapes"), "--curves", "steps", "--seconds", "1", "--page", str(page)]
    assert curves.main(words) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{curves.BEGIN}\n## shapes on cpu")
    assert text.endswith(f"{curves.END}\nafter\n")
    assert "old" not in text
    assert "| samples | fp32" in text
    assert (tmp_path / "costs" / "shapes-steps.png").stat().st_size > 10_000
    assert "![shapes: steps](costs/shapes-steps.png)" in text
    assert json.loads((tmp_path / "costs" / "shapes-steps.json").read_text())["rows"]


def test_the_page_has_its_marks() -> None:
    curves = importlib.import_module("performance")
    text = curves.PAGE.read_text(encoding="utf-8")
    assert text.count(curves.BEGIN) == text.count(curves.END) == 1

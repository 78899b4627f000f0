"""Every fixture of the published code, imported by the command and compared tensor by tensor.

If these fail, published checkpoints are denoised, decoded or trained on otherwise than by the code they come from.
A further folder in `compat` is tested without a change here.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from latentry.cli import run
from latentry.diffusion.schedule import CLEAN
from latentry.verify import sampler_checks
from latentry.verify.compare import result_of, verify
from latentry.verify.fixture import NotThere, Subject
from tests.shared import SHARED, needs_shared

FOLDERS = sorted(path.parent for path in (SHARED / "compat").glob("*/expected.safetensors"))
pytestmark = [needs_shared, pytest.mark.skipif(not FOLDERS, reason="no fixtures")]
GRID = sampler_checks.grid
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def bring(folder: Path, out: Path) -> Path:
    """The fixture's model, by the command."""
    assert run(["import", str(folder / "model.ckpt"), "--config", str(folder / "config.yaml"), "--out", str(out)]) == 0
    return out


@each
def test_every_tensor_is_the_published_one(folder: Path, tmp_path: Path) -> None:
    lines = list(verify(bring(folder, tmp_path / "model"), folder))
    assert [line for line in lines if not line.good] == []
    told = json.loads((folder / "expected.json").read_text())["tensors"]
    assert {line.name for line in lines} == {name for name in told if name.startswith("out.")}


REPEATS = ("uncond", "inpaint", "loss_vq")
"""Of which the others have all parts; for `make soak`."""


@pytest.mark.parametrize(
    "folder",
    [pytest.param(f, id=f.name, marks=pytest.mark.soak if f.name.startswith(REPEATS) else ()) for f in FOLDERS],
)
@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_every_check_computes_where_the_model_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands for a GPU: what needs numbers ends there, but nothing may meet a tensor of the CPU.

    It is slow, so walks are of as many steps as the solver that looks back farthest needs to be itself.
    """
    monkeypatch.setattr(sampler_checks, "grid", lambda *asked: [*GRID(*asked)[:4], CLEAN])
    subject = Subject(bring(folder, tmp_path / "model"), folder, torch.device("meta"))
    names = [name.removeprefix("out.") for name in subject.tensors if name.startswith("out.")]
    errors = [error for error in (error_of(subject, name) for name in names) if error]
    assert [error for error in errors if "expected device" in error] == []
    assert len(errors) < len(names)


def error_of(subject: Subject, name: str) -> str:
    try:
        result_of(subject, name)
    except (RuntimeError, NotThere) as error:
        return f"{name}: {error}"
    return ""


def test_the_command_says_what_is_off_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of another model's numbers nearly all are off."""
    kl, vq = (next(f for f in FOLDERS if f.name.startswith(f"loss_{kind}")) for kind in ("kl", "vq"))
    model = bring(kl, tmp_path / "model")
    capsys.readouterr()
    assert run(["verify", str(model), str(kl)]) == 0
    assert "all within tolerance" in capsys.readouterr().out
    assert run(["verify", str(model), str(vq)]) == 1
    out, err = capsys.readouterr()
    assert "OFF" in out
    assert "tensors are off" in err


def test_a_file_without_averages_is_compared_by_its_raw_weights(tmp_path: Path) -> None:
    """As cin256-v2 and txt2img-1p4B, whose configs say use_ema: false."""
    source = next(folder for folder in FOLDERS if folder.name.startswith("class"))
    content = torch.load(source / "model.ckpt", weights_only=True)
    state = {key: value for key, value in content["state_dict"].items() if not key.startswith("model_ema")}
    folder = tmp_path / "fixture"
    folder.mkdir()
    torch.save({**content, "state_dict": state}, folder / "model.ckpt")
    for name in ("config.yaml", "expected.json", "expected.safetensors"):
        shutil.copy(source / name, folder)
    lines = {line.name: line for line in verify(bring(folder, tmp_path / "model"), folder)}
    raw = [line for name, line in lines.items() if name.startswith(("out.eps.raw", "out.loss", "out.grad"))]
    assert [line for line in raw if not line.good] == []
    assert not lines["out.eps.ema.t0"].good

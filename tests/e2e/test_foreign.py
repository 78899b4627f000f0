"""If these fail, a checkpoint from elsewhere runs something, is opened wrongly, or fails without a clear word."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import latentry as lt
from latentry.checkpoints.compvis.locations import locations
from latentry.cli import run
from latentry.training.plan.preset import preset
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
CLASS, FIRST = SHARED / "compat" / "class_vq", SHARED / "compat" / "loss_kl"


class Attack:
    """Runs a command when Python's own unpickler opens it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that fails."""
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) in (1, 2)
    error = said(capsys)
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


def changed(folder: Path, out: Path, **tensors: torch.Tensor | None) -> Path:
    """A copy of a fixture's checkpoint and config with other tensors (None: without)."""
    out.mkdir()
    shutil.copy(folder / "config.yaml", out)
    content = torch.load(folder / "model.ckpt", weights_only=True)
    for name, tensor in tensors.items():
        if tensor is None:
            del content["state_dict"][name]
        else:
            content["state_dict"][name] = tensor
    torch.save(content, out / "model.ckpt")
    return out / "model.ckpt"


@pytest.mark.parametrize("legacy", [False, True])
def test_an_attack_creates_nothing_and_is_named(
    legacy: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CLASS / "config.yaml", tmp_path)
    content = {"state_dict": {"a": torch.ones(2)}, "callbacks": {"deep": [Attack(tmp_path / "marker")]}}
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=not legacy)
    for command in (["import", tmp_path / "model.ckpt", "--out", tmp_path / "m"], ["inspect", tmp_path / "model.ckpt"]):
        assert "system" in fails(capsys, *command)
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "m").exists()


def test_unknown_classes_are_left_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Lightning's checkpoints hold them; the class is not there when the file is opened."""
    content = torch.load(CLASS / "model.ckpt", weights_only=True)
    kind = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning_gone.callbacks"})
    import sys
    import types

    module = types.ModuleType("pytorch_lightning_gone.callbacks")
    module.ModelCheckpoint = kind  # type: ignore[attr-defined]
    sys.modules |= {"pytorch_lightning_gone": types.ModuleType("pytorch_lightning_gone"), module.__name__: module}
    try:
        torch.save({**content, "callbacks": {kind: {"best": kind()}}}, tmp_path / "model.ckpt")
    finally:
        del sys.modules[module.__name__], sys.modules["pytorch_lightning_gone"]
    shutil.copy(CLASS / "config.yaml", tmp_path)
    assert run(["import", str(tmp_path / "model.ckpt"), "--out", str(tmp_path / "m")]) == 0
    assert "pytorch_lightning_gone.callbacks.ModelCheckpoint" in said(capsys)
    ours, theirs = lt.load(tmp_path / "m").denoiser, lt.load(CLASS / "model.ckpt").denoiser
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_weights_of_another_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first key that differs, and both shapes."""
    narrow = changed(CLASS, tmp_path / "a")
    tree = yaml.safe_load((CLASS / "config.yaml").read_text())
    tree["model"]["params"]["unet_config"]["params"]["model_channels"] = 64
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(tree))
    error = fails(capsys, "import", narrow, "--config", tmp_path / "wide.yaml", "--out", tmp_path / "m")
    assert "model.diffusion_model.time_embed.0.weight is 128x32; the config asks for 256x64" in error
    missing = changed(CLASS, tmp_path / "b", **{"first_stage_model.encoder.conv_in.bias": None})
    assert "has no first_stage_model.encoder.conv_in.bias" in fails(capsys, "import", missing, "--out", tmp_path / "m")


def test_averages_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [n for n in torch.load(CLASS / "model.ckpt", weights_only=True)["state_dict"] if n.startswith("model_ema")]
    raw = changed(CLASS, tmp_path / "raw", **dict.fromkeys(names))
    assert "no averaged weights" in fails(capsys, "import", raw, "--weights", "ema", "--out", tmp_path / "m")
    assert lt.load(raw).denoiser is not None
    assert run(["import", str(raw), "--out", str(tmp_path / "m")]) == 0
    assert sorted(path.stem for path in (tmp_path / "m").glob("*.safetensors")) == [
        "autoencoder",
        "conditioning",
        "unet",
    ]


def test_keys_without_a_place_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = changed(CLASS, tmp_path / "more", **{"optimizer.extra": torch.ones(3)})
    assert run(["import", str(more), "--out", str(tmp_path / "m")]) == 0
    assert "not used, as the config has no such part: optimizer.extra" in said(capsys)


def test_epsilon_on_a_schedule_with_pure_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = torch.linspace(0.999, 0.0, 1000)
    path = changed(CLASS, tmp_path / "zero", alphas_cumprod=table)
    error = fails(capsys, "import", path, "--out", tmp_path / "m")
    assert "epsilon" in error
    assert "alpha" in error


@pytest.mark.parametrize("how", ["truncated", "web page", "lying header", "no torch file"])
def test_damaged_files(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CLASS / "config.yaml", tmp_path)
    path, whole = tmp_path / "model.ckpt", (CLASS / "model.ckpt").read_bytes()
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "web page":
        path.write_text("<!DOCTYPE html><html>Sign in</html>")
    elif how == "lying header":
        path = tmp_path / "model.safetensors"
        header = json.dumps({"a": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"12345678")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    assert str(path) in fails(capsys, "import", path, "--out", tmp_path / "m")
    assert str(path) in fails(capsys, "inspect", path)


CONFIGS: dict[str, tuple[str, Any, str]] = {
    "target": ("target", "ldm.models.diffusion.ddpm.LatentDifusion", 'did you mean "LatentDiffusion"'),
    "positions": (
        "params.use_positional_encodings",
        True,
        "use_positional_encodings is True, which changes the numbers",
    ),
    "schedule": ("params.beta_schedule", "linar", 'did you mean "linear"'),
    "encoder": ("params.cond_stage_config.target", "my.OwnEmbedder", 'ends in "OwnEmbedder"'),
    "unet": ("params.unet_config.params.num_classes", 10, "num_classes"),
    "incomplete": ("params.first_stage_config.params", {"embed_dim": 3}, "has no 'ddconfig'"),
    "no number": ("params.timesteps", "many", "cannot be followed"),
    "hybrid": ("params.conditioning_key", "hybrid", "known: concat, crossattn"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_that_mean_something_else(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, value, expected = CONFIGS[name]
    tree = yaml.safe_load((CLASS / "config.yaml").read_text())
    place = tree["model"]
    *path, last = key.split(".")
    for part in path:
        place = place[part]
    place[last] = value
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    assert expected in fails(
        capsys, "import", CLASS / "model.ckpt", "--config", tmp_path / "c.yaml", "--out", tmp_path / "m"
    )


def test_a_field_without_meaning_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = yaml.safe_load((CLASS / "config.yaml").read_text())
    tree["model"]["params"]["my_own_note"] = 3
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    source = [str(CLASS / "model.ckpt"), "--config", str(tmp_path / "c.yaml")]
    assert run(["import", *source, "--out", str(tmp_path / "m")]) == 0
    assert "model.params.my_own_note has no meaning here" in said(capsys)


def test_what_inspect_says_needs_no_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["inspect", str(CLASS / "model.ckpt"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["conditions"] == {"label": "class_label"}
    assert told["parameters"]["unet (raw)"] == told["parameters"]["unet (averaged)"] - 2
    assert told["global_step"] == 1234
    shutil.copy(FIRST / "model.ckpt", tmp_path / "lonely.ckpt")
    assert run(["inspect", str(tmp_path / "lonely.ckpt"), "--json"]) == 0
    assert "give --config YAML" in json.loads(capsys.readouterr().out)["config"]
    assert "--config" in fails(capsys, "import", tmp_path / "lonely.ckpt", "--out", tmp_path / "m")


def test_prompts_need_a_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SHARED / "compat" / "text_kl"
    words = [f"[unused{i}]" for i in range(500)]
    for place, token in ((0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]"), (200, "apple")):
        words[place] = token
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    source = ["import", str(text / "model.ckpt"), "--config", str(text / "config.yaml")]
    assert run([*source, "--out", str(tmp_path / "without")]) == 0
    assert "--vocabulary" in fails(capsys, "sample", tmp_path / "without", "apple", "-n", 1, "--out", tmp_path / "o")
    assert run([*source, "--vocabulary", str(tmp_path / "vocab.txt"), "--out", str(tmp_path / "with")]) == 0
    pipe = lt.load(tmp_path / "with")
    assert pipe.denoiser is not None
    apple = [101, 200, 102, *[0] * 74]
    by_words = pipe.denoiser.condition({"text": ["apple"]}, 1).context
    by_numbers = pipe.denoiser.condition({"text": torch.tensor([apple])}, 1).context
    assert by_words is not None
    assert by_numbers is not None
    assert torch.equal(by_words, by_numbers)
    (tmp_path / "vocab.txt").write_text("\n".join(words[:300]))
    assert "has 300 tokens" in fails(capsys, *source, "--vocabulary", tmp_path / "vocab.txt", "--out", tmp_path / "n")


def test_a_plain_pickle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CLASS / "config.yaml", tmp_path)
    (tmp_path / "model.ckpt").write_bytes(pickle.dumps({"state_dict": Attack(tmp_path / "marker")}))
    fails(capsys, "import", tmp_path / "model.ckpt", "--out", tmp_path / "m")
    assert not (tmp_path / "marker").exists()


def test_a_recipe_stands_in_for_a_missing_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a first stage alone, whose file says nothing of its architecture."""
    wanted = preset("tiny-shapes", first_stage_alone=True)
    draw = torch.Generator().manual_seed(0)
    state = {key: torch.randn(p.shape, generator=draw) for key, p in locations(wanted.config, {}).kept.items()}
    torch.save({"state_dict": state}, tmp_path / "lonely.ckpt")
    source = [str(tmp_path / "lonely.ckpt"), "--config"]
    assert run(["import", *source, "tiny-shapes", "--out", str(tmp_path / "m")]) == 0
    pipe = lt.load(tmp_path / "m")
    assert pipe.denoiser is None
    assert torch.equal(pipe.autoencoder.encoder.conv_in.weight, state["encoder.conv_in.weight"])
    assert "no such file" in fails(capsys, "import", *source, "tiny-shape", "--out", tmp_path / "n")

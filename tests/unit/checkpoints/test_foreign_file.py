"""If these fail, published weights cannot be opened, come in wrong, or fill the memory when they are."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from latentry.checkpoints.foreign.file import ForeignFile, headers, read
from latentry.checkpoints.foreign.names import Dropped
from tests.shared import SHARED, needs_shared
from tests.unit.checkpoints.hostile import passing_class

FORMATS = ("zip", "legacy")
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip


def save(path: Path, value: object, form: str = "zip", **options: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form == "zip", **options)
    return path


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and torch.equal(a, b)


def check_equal(path: Path, form: str, expected: dict[str, Tensor] | None = None) -> ForeignFile:
    """As torch reads it, and `headers` tells the same without the weights."""
    expected = expected or torch.load(path, weights_only=True)
    file = read(path)
    assert file.kind == form
    assert file.dropped == ()
    assert file.tensors.keys() == expected.keys()
    assert all(same(file.tensors[name], value.detach()) for name, value in expected.items())
    assert headers(path) == {name: (value.dtype, tuple(value.shape)) for name, value in expected.items()}
    return file


@pytest.mark.parametrize("form", FORMATS)
def test_every_dtype(tmp_path, form):
    values = torch.arange(-3, 9).reshape(3, 4)
    tensors = {str(dtype): values.to(dtype) for dtype in DTYPES}
    check_equal(save(tmp_path / "a.pt", tensors, form), form)


def test_newer_dtypes_that_have_no_storage_of_their_own(tmp_path):
    dtypes = (torch.uint16, torch.uint32, torch.float8_e4m3fn)
    path = save(tmp_path / "a.pt", {str(dtype): torch.arange(4).to(dtype) for dtype in dtypes})
    file = read(path)
    for name, value in torch.load(path, weights_only=True).items():
        assert file.tensors[name].dtype == value.dtype
        assert torch.equal(file.tensors[name].view(torch.uint8), value.view(torch.uint8))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_views_parameters_and_odd_shapes(tmp_path, form, protocol):
    base = torch.randn(5, 6)
    tensors = {
        "base": base, "transposed": base.T, "part": base[1:4, ::2], "scalar": torch.tensor(2.5), "none": torch.empty(0),
        "thin": torch.empty(3, 0, 2), "expanded": torch.ones(1).expand(4, 3), "parameter": nn.Parameter(base[0]),
        "end": base.flatten()[30:],
    }  # fmt: skip
    path = save(tmp_path / "a.ckpt", tensors, form, pickle_protocol=protocol)
    file = check_equal(path, form, tensors if protocol > 2 else None)  # torch refuses later protocols
    file.tensors["base"][1, 0] = 99
    assert file.tensors["part"][0, 0] == 99
    assert read(tmp_path / "a.ckpt").tensors["base"][1, 0] == base[1, 0]


@pytest.mark.parametrize("form", FORMATS)
def test_mixed_widths_leave_nothing_unaligned(tmp_path, form):
    tensors = {f"{i}": torch.arange(1, 4).to(DTYPES[i % len(DTYPES)]) for i in range(30)}
    file = check_equal(save(tmp_path / "a.bin", tensors, form), form)
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in file.tensors.values())


@pytest.mark.parametrize("form", FORMATS)
def test_a_checkpoint_of_lightning_whose_classes_are_not_here(tmp_path, form):
    path = tmp_path / "last.ckpt"
    weights = OrderedDict(w=torch.randn(2, 3), b=torch.zeros(3))
    callback, config = (
        "vendor_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "vendor_conf.dictconfig.DictConfig",
    )
    with passing_class(callback) as Callback, passing_class(config) as Config:
        thing = Config()
        thing.__dict__.update(content={"lr": 1e-4}, parent=Callback)
        given = {
            "epoch": 7, "global_step": 1234, "pytorch-lightning_version": "1.4.2", "state_dict": weights,
            "callbacks": {Callback: {"best": torch.tensor(0.5), "path": Path("x")}}, "hyper_parameters": thing,
            "optimizer_states": [{"state": {0: {"step": 3, "m": torch.ones(2, 3)}}, "param_groups": [{"lr": 1e-4}]}],
            "args": Namespace(a=1), "loops": defaultdict(int, {"fit": 1}),
        }  # fmt: skip
        save(path, given, form)
    file = read(path)
    assert file.facts == {"epoch": 7, "global_step": 1234, "pytorch-lightning_version": "1.4.2"}
    assert file.tensors.keys() == weights.keys()
    assert all(same(file.tensors[name], weights[name]) for name in weights)
    assert {callback, config, "argparse.Namespace"} <= set(file.dropped)
    assert isinstance(file.root["hyper_parameters"], Dropped)
    assert torch.equal(file.root["optimizer_states"][0]["state"][0]["m"], torch.ones(2, 3))
    assert file.root["loops"] == {"fit": 1}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"model": {"a": 1}, "ema": {"w": torch.ones(1)}, "opt": {"m": torch.ones(1)}}, {"w"}),
        ({"module": {"state_dict": {"w": torch.ones(1)}, "step": torch.ones(1)}}, {"w"}),
        ({"state_dict": {"w": torch.ones(1)}, "best": torch.ones(())}, {"w"}),
        ({"a": {"w": torch.ones(1)}, "b": [torch.ones(1), (torch.ones(1),)]}, {"a.w", "b.0", "b.1.0"}),
        (torch.ones(3), {"tensor"}),
        ([torch.ones(3), {0: torch.ones(2)}], {"0", "1.0"}),
    ],
)
def test_where_the_weights_are(tmp_path, given, names):
    path = save(tmp_path / "a.pth", given)
    assert read(path).tensors.keys() == names
    assert headers(path).keys() == names


def test_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"w": torch.randn(3, 2).bfloat16(), "n": torch.empty(0, 4), "s": torch.tensor(3)}
    safetensors.torch.save_file(tensors, path, {"format": "pt", "step": "12"})
    file = read(path)
    assert file.kind == "safetensors"
    assert file.facts == {"format": "pt", "step": "12"}
    assert all(same(file.tensors[name], tensors[name]) for name in tensors)
    assert headers(path) == {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_a_look_leaves_the_weights_where_they_are(tmp_path, form):
    path = save(tmp_path / "a.pt", {"w": torch.ones(3), "epoch": 3}, form)
    file = read(path, weights=False)
    assert file.tensors["w"].is_meta
    assert file.facts == {"epoch": 3}


def test_names_of_files_need_not_be_text(tmp_path):
    path = tmp_path / b"a\xff.ckpt".decode("utf-8", "surrogateescape")
    try:
        path.touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only text")
    with path.open("wb") as file:
        torch.save({"w": torch.ones(2)}, file)
    assert torch.equal(read(path).tensors["w"], torch.ones(2))


MEASURE = """
import sys
from pathlib import Path
from latentry.checkpoints.foreign.file import read
def anonymous():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])
read(Path(sys.argv[2]))
before = anonymous()
file = read(Path(sys.argv[1]))
print(anonymous() - before, sum(t.nbytes for t in file.tensors.values()), float(file.tensors["3"][-1, -1]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("form", ["zip", "safetensors"])
def test_opening_does_not_read_the_weights(tmp_path, form):
    for path, width in ((tmp_path / "big", 2500), (tmp_path / "small", 2)):
        tensors = {str(i): torch.full((width, width), float(i)) for i in range(8)}
        (safetensors.torch.save_file if form == "safetensors" else torch.save)(tensors, path)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "big"), str(tmp_path / "small")],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert int(told[1]) == 200_000_000
    assert float(told[2]) == 3
    assert int(told[0]) < 20_000  # KiB


FIXTURES = sorted(SHARED.glob("compat/*/model.ckpt"))


@needs_shared
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parent.name)
def test_published_checkpoints(path):
    expected = torch.load(path, weights_only=True)
    file = read(path)
    assert file.tensors.keys() == expected["state_dict"].keys()
    assert all(same(file.tensors[name], value) for name, value in expected["state_dict"].items())
    assert file.facts["global_step"] == expected["global_step"]
    assert file.dropped == ()
    assert headers(path) == {name: (t.dtype, tuple(t.shape)) for name, t in expected["state_dict"].items()}

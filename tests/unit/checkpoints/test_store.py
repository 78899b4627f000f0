"""What a checkpoint keeps, which ones stay, and what happens to a damaged one."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentry.checkpoints import DiskFull, Saved, Store, durable, verify
from latentry.errors import LatentryError, UsageError


def save(store: Store, step: int) -> None:
    store.save(step, {"model": {"w": torch.full((8, 3), float(step))}, "ema": {"w": torch.zeros(5)}}, {"step": step})


def value(saved: Saved | None) -> int:
    assert saved is not None
    weights = saved.tensors("model")["w"]
    assert (weights == weights[0, 0]).all()
    assert int(weights[0, 0]) == saved.step == saved.state["step"]
    return saved.step


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[str]) -> Store:
    return Store(tmp_path / "diffusion", report=told.append)


def test_tensors_of_any_layout_and_dtype_come_back_as_they_were(store: Store) -> None:
    """Else a resumed run would continue with other weights, or with rounded ones."""
    base = torch.randn(4, 6)
    group = {
        "plain": base,
        "transposed": base.t(),
        "shared": base[1:3],
        "strided": base[:, ::2],
        "expanded": torch.ones(1).expand(3, 2),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "name with spaces.and.dots é": torch.randn(2),
        **{
            f"{dtype}": torch.arange(5).to(dtype)
            for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.int8)
        },
        **{
            f"{dtype}": torch.arange(5).to(dtype)
            for dtype in (torch.bool, torch.uint8, torch.int64, torch.float8_e4m3fn)
        },
    }
    store.save(1, {"all": group}, {})
    saved = store.newest()
    assert saved is not None
    found = saved.tensors("all")
    assert set(found) == set(group)
    for name, tensor in group.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].double(), tensor.double()), name
    assert set(load_file(saved.path / "all.safetensors")) == set(group), "other safetensors readers must agree"


def test_state_keeps_numbers_exactly(store: Store) -> None:
    """A learning rate or a best loss that came back rounded would change the run."""
    state = {"lr": 0.1 + 0.2, "big": 2**70, "best": float("inf"), "nested": {"list": [1, None, True, "é"]}}
    store.save(3, {}, state)
    saved = store.newest()
    assert saved is not None
    assert saved.state == state
    assert saved.groups == []


def test_the_newest_and_the_milestones_stay(tmp_path: Path) -> None:
    """A long run would fill the disk, or lose the checkpoints it was asked to keep."""
    store = Store(tmp_path, keep=2, milestones=300)
    for step in range(100, 1100, 100):
        save(store, step)
    assert store.steps() == [300, 600, 900, 1000]
    assert (tmp_path / "latest").read_text() == "step-1000\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "step-1000", "step-300", "step-600", "step-900"]


def test_no_checkpoint_is_none_and_an_unknown_step_lists_the_known(store: Store) -> None:
    assert store.newest() is None
    save(store, 5)
    assert value(store.at(5)) == 5
    with pytest.raises(UsageError, match="no checkpoint of step 6; known: 5"):
        store.at(6)


def test_every_one_of_200_flipped_bits_is_found(store: Store, told: list[str]) -> None:
    """Safetensors does not notice a flipped bit: the run would go on with wrong weights."""
    save(store, 1)
    save(store, 2)
    files = sorted((store.root / "step-2").iterdir())
    assert {file.name for file in files} == {"ema.safetensors", "manifest.json", "model.safetensors", "state.json"}
    draw = random.Random(5)
    for turn in range(200):
        file = files[turn % len(files)]
        good = file.read_bytes()
        bit = draw.randrange(8 * len(good))
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bad)
        assert value(store.newest()) == 1, f"bit {bit} of {file.name}"
        assert "step-2" in told[-1], told[-1]
        assert file.name in told[-1], told[-1]
        file.write_bytes(good)
    assert len(told) == 200
    assert value(store.newest()) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut by one", "cut to nothing", "zeroed", "gone", "a folder"])
def test_a_damaged_file_is_named_and_the_previous_checkpoint_taken(
    store: Store, told: list[str], name: str, damage: str
) -> None:
    save(store, 1)
    save(store, 2)
    file = store.root / "step-2" / name
    good = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "gone":
        file.write_bytes({"cut by one": good[:-1], "cut to nothing": b"", "zeroed": bytes(len(good))}[damage])
    assert value(store.newest()) == 1
    assert len(told) == 1
    assert name in told[0]
    with pytest.raises(LatentryError, match=name):
        store.at(2)


def test_after_going_back_the_damaged_one_goes_and_the_good_ones_stay(tmp_path: Path, told: list[str]) -> None:
    """Counting the damaged one among the newest would prune the good checkpoint just written."""
    store = Store(tmp_path, keep=1, report=told.append)
    save(store, 100)
    Store(tmp_path, keep=2).save(200, {}, {})
    (tmp_path / "step-200" / "state.json").write_bytes(b"")
    assert value(store.newest()) == 100
    save(store, 150)
    assert store.steps() == [150]
    assert value(Store(tmp_path).newest()) == 150


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    """A model folder from a stranger must not make us read other files."""
    files = {"../secret": {"sha256": "0", "size": 1}}
    own = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    text = json.dumps({"files": files, "sha256": own}, indent=1) + "\n"
    (tmp_path / "manifest.json").write_text(text)
    assert verify(tmp_path) == ["../secret lies outside the folder"]


def test_too_little_room_is_known_before_anything_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that cannot fit should not fill the disk first."""
    save(store, 1)
    monkeypatch.setattr(durable, "free_space", lambda path: 1000)
    with pytest.raises(DiskFull, match=r"step-2.* needed, 1\.0 kB free") as failure:
        save(store, 2)
    assert failure.value.exit_code == 74
    assert sorted(p.name for p in store.root.iterdir()) == ["latest", "step-1"]


def test_a_root_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LatentryError, match="cannot be written"):
        save(Store(tmp_path / "file" / "run"), 1)


def test_folder_names_with_spaces_or_no_unicode_work(tmp_path: Path) -> None:
    store = Store(tmp_path / os.fsdecode(b"my run caf\xe9"))
    save(store, 1)
    assert value(store.newest()) == 1

"""If these fail, opening a stranger's checkpoint can run the stranger's program, or fill the memory."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path

import pytest
import torch

from latentry.checkpoints.foreign.file import read
from latentry.checkpoints.foreign.names import Dropped, Unreadable
from latentry.checkpoints.foreign.unpickle import unpickle
from latentry.errors import LatentryError
from tests.unit.checkpoints.hostile import (
    MAGIC,
    mapping,
    name,
    program,
    stack_name,
    tensor,
    text,
    write_legacy,
    write_zip,
)


def no_storage(_: object) -> object:
    raise AssertionError


def run(body: bytes) -> tuple[object, tuple[str, ...]]:
    dropped: dict[str, None] = {}
    return unpickle(io.BytesIO(program(body)), no_storage, dropped), tuple(dropped)


def attacks(marker: str) -> dict[str, tuple[bytes, str]]:
    """Opcodes that would make the file `marker`, and the name that the error tells."""
    touch, code = text(f"touch {marker}"), text(f"open({marker!r}, 'w')")
    state = mapping(args=touch)
    return {
        "reduce os": (name("os", "system") + touch + b"\x85R", "os.system"),
        "reduce posix": (name("posix", "system") + touch + b"\x85R", "posix.system"),
        "reduce popen": (name("subprocess", "Popen") + text("sh") + b"\x85R", "subprocess.Popen"),
        "reduce eval": (name("builtins", "eval") + code + b"\x85R", "builtins.eval"),
        "reduce exec": (name("__builtin__", "exec") + code + b"\x85R", "builtins.exec"),
        "stack global": (stack_name("builtins", "exec") + code + b"\x85R", "builtins.exec"),
        "a path in the name": (stack_name("torch", "serialization.os.system") + touch + b"\x85R", "os.system"),
        "getattr": (name("builtins", "getattr") + name("torch", "Size") + text("x") + b"\x86R", "builtins.getattr"),
        "getattr of an object": (
            name("builtins", "getattr") + name("vendor", "Thing") + b")R" + text("os.system") + b"\x86R",
            "vendor.Thing.os.system",
        ),
        "global alone": (name("os", "system"), "os.system"),
        "inst": (b"(" + touch + b"ios\nsystem\n", "os.system"),
        "obj": (b"(" + name("os", "system") + touch + b"o", "os.system"),
        "newobj": (name("subprocess", "Popen") + touch + b"\x85\x81", "subprocess.Popen"),
        "newobj_ex": (name("subprocess", "Popen") + b")" + state + b"\x92", "subprocess.Popen"),
        "build": (name("code", "InteractiveInterpreter") + b")\x81" + state + b"b", "code.InteractiveInterpreter"),
        "memo": (name("os", "system") + b"q\x000h\x00" + touch + b"\x85R", "os.system"),
        "as the class of an attribute": (
            name("copyreg", "_reconstructor") + name("os", "system") + name("builtins", "object") + b"N\x87R",
            "os.system",
        ),
        "nested load": (name("torch.storage", "_load_from_bytes") + b"C\x01x\x85R", "torch.storage._load_from_bytes"),
    }


@pytest.mark.parametrize("form", ["zip", "legacy", "raw pickle", "magic"])
@pytest.mark.parametrize("kind", attacks("x"))
def test_an_attack_ends_in_one_line_that_names_it(tmp_path, kind, form):
    marker, path = tmp_path / "marker", tmp_path / "file.ckpt"
    body, told = attacks(str(marker))[kind]
    deep = mapping(state_dict=mapping(w=tensor(legacy=form == "legacy")), more=b"](" + mapping(x=body) + b"e")
    if form == "zip":
        write_zip(path, deep)
    elif form == "legacy":
        write_legacy(path, deep)
    else:
        path.write_bytes((MAGIC if form == "magic" else b"") + program(body))
    with pytest.raises(LatentryError, match="nothing of it was run") as caught:
        read(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{path}: asks to run ")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_other_members_of_the_archive_are_never_opened(tmp_path):
    marker = tmp_path / "marker"
    evil = program(name("os", "system") + text(f"touch {marker}") + b"\x85R")
    path = write_zip(
        tmp_path / "a.pt", mapping(w=tensor()), more={"evil.pkl": evil, "code/data.pkl": evil, "data/9": evil}
    )
    assert read(path).tensors["w"].shape == (4,)
    assert not marker.exists()


@pytest.mark.parametrize(
    "body",
    [
        name("vendor.things", "Thing") + b")R",
        name("vendor.things", "Thing") + b")\x81" + mapping(a=b"K\x01") + b"b",
        name("vendor.things", "Thing") + b")}\x92",
        b"(K\x01ivendor.things\nThing\n",
        b"(" + name("vendor.things", "Thing") + b"K\x01o",
        name("copy_reg", "_reconstructor") + name("vendor.things", "Thing") + name("__builtin__", "object") + b"N\x87R",
        name("vendor.things", "Thing") + b")R" + b"(" + text("a") + b"K\x01u" + b"(K\x02e",
    ],
)
def test_unknown_classes_are_dropped_by_name_and_never_imported(body, monkeypatch):
    monkeypatch.setitem(sys.modules, "vendor", None)
    root, dropped = run(body)
    assert isinstance(root, Dropped)
    assert root.name == "vendor.things.Thing"
    assert "vendor.things.Thing" in dropped


def test_a_method_of_an_unknown_class_is_dropped_with_it():
    bound = name("__builtin__", "getattr") + name("vendor.callbacks", "Logger") + b")\x81" + text("save") + b"\x86R"
    root, dropped = run(b"](" + bound + b"K\x07e")
    assert isinstance(root, list)
    assert root[0].name == "vendor.callbacks.Logger.save"
    assert root[1] == 7
    assert "vendor.callbacks.Logger" in dropped


def test_a_dropped_name_can_be_shown_on_a_terminal():
    _, dropped = run(stack_name("vendor\x1b[2J\nx", "y" * 1000) + b")R")
    assert dropped[0].isprintable()
    assert len(dropped[0]) < 300


PLAIN = {
    "a": [1, -2, 1 << 70, 2.5, None, True, "ü", b"\x00\xff", (), (1, 2), {3, 4}, frozenset({5}), 1j],
    (1, "b"): {"c": [{}]},
    7: bytearray(b"xy"),
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_are_as_python_reads_them(protocol):
    stream = io.BytesIO(pickle.dumps(PLAIN, protocol))
    assert unpickle(stream, no_storage, {}) == PLAIN


def test_values_that_torch_writes():
    root, dropped = run(
        b"]("
        + name("torch", "bfloat16")
        + name("torch", "Size") + b"(K\x02K\x03t\x85R"
        + name("torch", "device") + text("cuda") + b"K\x01\x86R"
        + name("collections", "OrderedDict") + b")R" + text("a") + b"K\x01s" + mapping(_metadata=b"}") + b"b"
        + b"e"
    )  # fmt: skip
    assert root == [torch.bfloat16, torch.Size((2, 3)), "cuda:1", {"a": 1}]
    assert dropped == ()


def doubling(levels: int, join: bytes) -> bytes:
    """Tuples or lists in themselves: 2 to the power of `levels` leaves, in a few bytes each."""
    return b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + join for i in range(levels))


@pytest.mark.parametrize(
    "body",
    [
        b"]q\x00h\x00a",
        b"]" * 100_000 + b"a" * 99_999,
        doubling(100, b"\x86"),
        b"]q\x00(" + b"K\x01" * 1000 + b"e](" + (name("builtins", "list") + b"h\x00\x85R") * 300_000 + b"e",
        b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\x01" * (1 << 20),
        b"X\xff\xff\xff\xffabc",
        b"\x8d" + b"\xff" * 8,
        b"\x96" + b"\xff" * 8,
        b"\x97",
        b"\x82\x01",
        b"Pid\n",
        b"K\x01r\xff\xff\xff\xff" + b"R",
        b"h\x05",
        b"K\x01K\x02R",
        b"K\x01K\x02a",
        b"e",
        b"0",
        b"",
    ],
    ids=range(18),
)
def test_absurd_and_broken_pickles_are_refused(body):
    with pytest.raises(Unreadable):
        run(body)


def test_deep_tuples_as_keys_do_not_take_for_ever():
    root, _ = run(b"}" + doubling(40, b"\x86") + b"K\x01s")
    assert isinstance(root, dict)
    assert [type(key) for key in root] == [Dropped]


def test_numpy_numbers_and_arrays():
    import numpy as np

    given = [np.float32(1.5), np.int64(-3), np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(2, dtype=">i2"))]
    for protocol in (2, 4, 5):
        dropped: dict[str, None] = {}
        found = unpickle(io.BytesIO(pickle.dumps(given, protocol)), no_storage, dropped)
        assert not dropped
        assert all((np.asarray(a) == b).all() for a, b in zip(found, given, strict=True))
    dropped = {}
    unpickle(io.BytesIO(pickle.dumps(np.array([{}], dtype=object), 2)), no_storage, dropped)
    assert dropped


def test_tensors_are_never_taken_for_rows(tmp_path):
    """A tensor of a few bytes can have any number of elements; nobody may walk over them."""
    for wrap in ("list", "set", "dict"):
        wide = tensor(size=(1 << 26,), stride=(0,))
        path = write_zip(tmp_path / f"{wrap}.pt", name("builtins", wrap) + wide + b"\x85R")
        with pytest.raises(LatentryError, match="a container is made from Tensor"):
            read(path)


def test_text_mentions_no_path_of_ours(tmp_path: Path):
    path = write_zip(tmp_path / "a.pt", b"K\x01K\x02R")
    with pytest.raises(LatentryError, match=r"a\.pt: is damaged: it calls a int"):
        read(path)

"""Files as an attacker, an old program or a bad line would leave them, written byte by byte."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
PROTOCOL = pickle.dumps(1001, 2)
MACHINE = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, member: str) -> bytes:
    return f"c{module}\n{member}\n".encode()


def stack_name(module: str, member: str) -> bytes:
    return text(module) + text(member) + b"\x93"


def program(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def tensor(key: str = "0", elements: int = 4, size: tuple[int, ...] = (4,), **place: Any) -> bytes:
    """Opcodes of one float tensor."""
    stride = place.get("stride", (1,) * len(size))
    identity = b"(" + text("storage") + name("torch", "FloatStorage") + text(key) + text("cpu") + number(elements)
    if place.get("legacy"):
        identity += b"N"
    rows = [b"(" + b"".join(map(number, row)) + b"t" for row in (size, stride)]
    arguments = identity + b"tQ" + number(place.get("offset", 0)) + rows[0] + rows[1] + b"\x89N"
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def mapping(**entries: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def write_zip(
    path: Path,
    body: bytes,
    storages: dict[str, bytes] | None = None,
    more: Mapping[str, bytes] = types.MappingProxyType({}),
) -> Path:
    """more: further members, by name."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program(body))
        for key, data in (storages if storages is not None else {"0": bytes(16)}).items():
            archive.writestr(f"archive/data/{key}", data)
        for member, data in more.items():
            archive.writestr(f"archive/{member}", data)
    return path


def write_legacy(path: Path, body: bytes, storages: dict[str, tuple[int, bytes]] | None = None) -> Path:
    """storages: by key, the length told and the bytes."""
    storages = {"0": (4, bytes(16))} if storages is None else storages
    data = b"".join(count.to_bytes(8, "little") + raw for count, raw in storages.values())
    path.write_bytes(MAGIC + PROTOCOL + MACHINE + program(body) + pickle.dumps(list(storages), 2) + data)
    return path


@contextmanager
def passing_class(dotted: str) -> Iterator[type]:
    """A class that is there while a file is written and gone when it is read."""
    module_name, _, class_name = dotted.rpartition(".")
    cls = type(class_name, (), {"__module__": module_name})
    parts = module_name.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    assert names[0] not in sys.modules
    sys.modules.update({each: types.ModuleType(each) for each in names})
    setattr(sys.modules[module_name], class_name, cls)
    try:
        yield cls
    finally:
        for each in names:
            del sys.modules[each]


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()

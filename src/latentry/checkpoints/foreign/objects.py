"""What a foreign pickle may build: tensors, numbers, plain containers. Everything here is a small function of ours."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from latentry.checkpoints.foreign.arrays import NUMPY_CALLS, encoded
from latentry.checkpoints.foreign.names import Damaged, Dropped, attack, dotted
from latentry.checkpoints.foreign.storage import Stored, counts, view


@dataclass(frozen=True)
class Known:
    """A function or class that a pickle may call by name, and what is done here instead."""

    name: str
    build: Callable[..., Any]


@dataclass(frozen=True)
class StorageType:
    """dtype: None for untyped storages."""

    dtype: torch.dtype | None


KEYS = (str, bytes, int, float, complex, type(None), torch.dtype, Dropped, Known, StorageType)
LONGEST_KEY = 16


def key(value: object) -> Any:
    """The value as a dictionary key. What is neither scalar nor a short tuple of scalars is dropped: deep tuples take
    for ever to hash."""
    if isinstance(value, KEYS):
        return value
    if type(value) is tuple and len(value) <= LONGEST_KEY and all(isinstance(part, KEYS) for part in value):
        return value
    return Dropped(type(value).__name__)


def _items(container: object = ()) -> list[Any]:
    """What is in a container; never the elements of a tensor, of which there may be any number."""
    if isinstance(container, dict):
        return list(container.items())
    if isinstance(container, list | tuple | set | frozenset):
        return list(container)
    raise Damaged(f"is damaged: a container is made from {type(container).__name__}. Take another copy.")


def _pairs(container: object = ()) -> dict[Any, Any]:
    pairs = _items(container)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise Damaged("is damaged: a mapping is made from items that are not pairs. Take another copy.")
    return {key(name): value for name, value in pairs}


def _keys(container: object = ()) -> set[Any]:
    return {key(item) for item in _items(container)}


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> object:
    if isinstance(storage, Dropped):
        return storage
    if not isinstance(storage, Stored):
        raise Damaged("is damaged: a tensor has no storage. Take another copy.")
    return view(storage, storage.dtype, offset, size, stride)


def _tensor_of_dtype(
    storage: object, offset: object, size: object, stride: object, _grad: object, _hooks: object, dtype: object,
    _metadata: object = None,
) -> object:  # fmt: skip
    if not isinstance(storage, Stored) or not isinstance(dtype, torch.dtype):
        raise Damaged("is damaged: a tensor has no storage or no dtype. Take another copy.")
    return view(storage, dtype, offset, size, stride)


def _parameter(data: object, *_: object) -> object:
    return data


def _of_subclass(function: object, _cls: object, arguments: object, _state: object) -> object:
    if isinstance(function, Known) and isinstance(arguments, tuple) and function.build in (_tensor, _tensor_of_dtype):
        return function.build(*arguments)
    return Dropped(function.name if isinstance(function, Known | Dropped) else type(function).__name__)


def _instance(cls: object, *_: object) -> object:
    return Dropped(cls.name if isinstance(cls, Known | Dropped) else type(cls).__name__)


def _attribute(owner: object, name: object = "", *_: object) -> object:
    """How Python spells methods of an object, which callbacks hold: dropped like the object."""
    if not isinstance(owner, Dropped):
        raise attack("builtins.getattr")
    return Dropped(dotted(owner.name, name))


def _plain_bytes(value: object = b"", encoding: str = "latin1") -> bytes:
    if isinstance(value, str):
        return encoded(value, encoding)
    return bytes(value if isinstance(value, bytes | bytearray) else _items(value))


def _size(sides: object = ()) -> torch.Size:
    return torch.Size(counts(sides))


def _device(kind: object, index: object = None) -> object:
    """As text: the machine that wrote the file may have had others."""
    if not isinstance(kind, str) or not isinstance(index, int | None):
        return Dropped("torch.device")
    return kind if index is None else f"{kind}:{index}"


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": lambda items=(): OrderedDict(_pairs(items)),
    "collections.defaultdict": lambda _=None, items=(): defaultdict(None, _pairs(items)),
    "collections.Counter": _pairs,
    "collections.deque": lambda items=(), _=None: _items(items),
    "builtins.dict": _pairs,
    "builtins.list": _items,
    "builtins.tuple": lambda items=(): tuple(_items(items)),
    "builtins.set": _keys,
    "builtins.frozenset": lambda items=(): frozenset(_keys(items)),
    "builtins.bytes": _plain_bytes,
    "builtins.bytearray": lambda *arguments: bytearray(_plain_bytes(*arguments)),
    "builtins.getattr": _attribute,
    "builtins.complex": lambda real, imaginary=0.0: complex(float(real), float(imaginary)),
    "_codecs.encode": encoded,
    "copyreg._reconstructor": _instance,
    "copyreg.__newobj__": _instance,
    "copyreg.__newobj_ex__": _instance,
    **NUMPY_CALLS,
}
STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexDouble": torch.complex128, "ComplexFloat": torch.complex64,
}  # fmt: skip
VALUES: dict[str, object] = {
    **{f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in STORAGES.items()},
    **{f"torch.cuda.{name}Storage": StorageType(dtype) for name, dtype in STORAGES.items()},
    "torch.storage.UntypedStorage": StorageType(None),
    "torch.UntypedStorage": StorageType(None),
    **{name: Known(name, build) for name, build in CALLS.items()},
}
"""Every name that is not dropped."""

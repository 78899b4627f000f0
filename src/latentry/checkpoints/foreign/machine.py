"""The machine that a pickle is a program for, without its dangerous half: only functions of our table are called."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from latentry.checkpoints.foreign.arrays import set_state
from latentry.checkpoints.foreign.names import Damaged, Dropped, Unreadable, dotted, printable
from latentry.checkpoints.foreign.objects import VALUES, Known, key

MOST_OPCODES = 1_000_000
MOST_COPIED = 1 << 28
LONGEST_NUMBER = 4096
TEXTS = (str, bytes, bytearray)
COPIED = (*TEXTS, list, tuple, dict, set, frozenset)
REFERENCE = 8


class Machine:
    """The pickle machine: a stack, the stacks below each mark, and the memo."""

    def __init__(self, persistent: Callable[[Any], object], dropped: dict[str, None]) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0
        self.persistent = persistent
        self.dropped = dropped

    def run(self, stream: IO[bytes]) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MOST_OPCODES:
                raise Unreadable(f"has more than {MOST_OPCODES} steps in its pickle. Save the weights alone.")
            if opcode.name not in STEPS:
                raise Damaged(f"uses {opcode.name}, which no checkpoint needs. Take another copy.")
            STEPS[opcode.name](self, argument)
        return self.stack.pop()

    def literal(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > LONGEST_NUMBER:
            raise Unreadable(
                f"holds a number of {value.bit_length()} bits; at most {LONGEST_NUMBER}. Take another copy."
            )
        self.stack.append(value)

    def mark(self, _: Any = None) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self, _: Any = None) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def join(self, make: Callable[[list[Any]], Any], count: int) -> None:
        """The topmost `count` values become one."""
        items = [self.stack.pop() for _ in range(count)]
        self.stack.append(make(items[::-1]))

    def gather(self, make: Callable[[list[Any]], Any]) -> None:
        """The values since the mark become one."""
        items = self.since_mark()
        self.stack.append(make(items))

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update({key(name): value for name, value in zip(items[::2], items[1::2], strict=True)})
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(map(key, items))
        elif not isinstance(target, Dropped):
            raise Damaged(f"is damaged: it fills a {type(target).__name__}. Take another copy.")

    def set_item(self, _: Any) -> None:
        self.join(list, 2)
        self.fill(self.stack.pop())

    def named(self, module: object, name: object) -> object:
        full = dotted(module, name)
        return VALUES[full] if full in VALUES else self.drop(full)

    def drop(self, name: str) -> Dropped:
        name = printable(name)
        self.dropped[name] = None
        return Dropped(name)

    def call(self, function: object, arguments: object) -> object:
        if isinstance(function, Dropped):
            return Dropped(function.name)
        if not isinstance(function, Known) or not isinstance(arguments, tuple):
            raise Damaged(f"is damaged: it calls a {type(function).__name__}. Take another copy.")
        self.count_copied(arguments)
        result = function.build(*arguments)
        if isinstance(result, Dropped):
            self.dropped[result.name] = None
        return result

    def count_copied(self, values: object) -> None:
        """A few bytes of a pickle can ask for any number of copies of what is already there; the sum is bounded."""
        if isinstance(values, tuple):
            self.copied += sum(
                len(v) * (1 if isinstance(v, TEXTS) else REFERENCE) for v in values if isinstance(v, COPIED)
            )
        if self.copied > MOST_COPIED:
            raise Unreadable(f"copies more than {MOST_COPIED} bytes in its pickle. Save the weights alone.")

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.count_copied(state)
        if not set_state(target, state) and isinstance(target, np.ndarray):
            self.drop("numpy.ndarray")

    def inst(self, name: str) -> None:
        self.gather(lambda items: self.call(self.named(*name.split(" ", 1)), tuple(items)))


LITERALS = """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT
"""
STEPS: dict[str, Callable[[Machine, Any], object]] = {
    **dict.fromkeys(LITERALS.split(), Machine.literal),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _machine, _: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    **dict.fromkeys(("APPEND",), lambda m, _: m.fill([m.stack.pop()])),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), lambda m, _: m.fill(m.since_mark())),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda m, _: m.join(lambda items: m.call(*items), 2)),
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.since_mark,
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "MEMOIZE": Machine.memoize,
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_SET": lambda m, _: m.stack.append(set()),
    "TUPLE1": lambda m, _: m.join(tuple, 1),
    "TUPLE2": lambda m, _: m.join(tuple, 2),
    "TUPLE3": lambda m, _: m.join(tuple, 3),
    "TUPLE": lambda m, _: m.gather(tuple),
    "LIST": lambda m, _: m.gather(list),
    "DICT": lambda m, _: m.gather(lambda items: {key(a): b for a, b in zip(items[::2], items[1::2], strict=True)}),
    "FROZENSET": lambda m, _: m.gather(lambda items: frozenset(map(key, items))),
    "SETITEM": Machine.set_item,
    "GLOBAL": lambda m, name: m.stack.append(m.named(*name.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.join(lambda items: m.named(*items), 2),
    "NEWOBJ_EX": lambda m, _: m.join(lambda items: m.call(*items[:2]), 3),
    "INST": Machine.inst,
    "OBJ": lambda m, _: m.gather(lambda items: m.call(items[0], tuple(items[1:]))),
    "BUILD": Machine.build,
    "BINPERSID": lambda m, _: m.join(lambda items: m.persistent(items[0]), 1),
}

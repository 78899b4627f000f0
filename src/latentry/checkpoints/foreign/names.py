"""What the names in a foreign pickle mean here: no name is ever imported, it is only looked up in these tables."""

from __future__ import annotations

from dataclasses import dataclass

ATTACK_MODULES = """
    os posix nt subprocess _posixsubprocess sys shutil socket _socket importlib _frozen_importlib imp runpy ctypes
    _ctypes cffi codeop pty webbrowser pickle _pickle cPickle marshal shelve pdb bdb timeit cProfile popen2 zipimport
    pkgutil pydoc doctest pip ensurepip idlelib urllib urllib2 requests httplib ftplib smtplib telnetlib fileinput
"""
ATTACK_MEMBERS = {
    "builtins": "eval exec execfile compile open file input raw_input __import__ reload apply setattr delattr "
    "globals locals vars breakpoint exit quit help map filter __build_class__",
    "operator": "attrgetter itemgetter methodcaller call",
    "_operator": "attrgetter itemgetter methodcaller call",
    "code": "interact compile_command InteractiveInterpreter InteractiveConsole",
    "commands": "getoutput getstatusoutput",
    "functools": "reduce",
    "io": "open open_code FileIO",
    "_io": "open open_code FileIO",
    "types": "FunctionType LambdaType CodeType",
    "profile": "run runctx",
    "platform": "popen",
    "numpy": "load",
    "torch": "load",
    "torch.serialization": "load",
    "torch.storage": "_load_from_bytes",
    "torch.hub": "load",
    "torch.jit": "load",
}
ATTACKS = {f"{module}.{name}" for module, names in ATTACK_MEMBERS.items() for name in names.split()}
"""Nothing that a checkpoint needs; each opens a door to running code, files or the network."""
ATTACK_PARTS = {
    "os",
    "sys",
    "posix",
    "nt",
    "subprocess",
    "builtins",
    "importlib",
    "shutil",
    "socket",
    "ctypes",
    "runpy",
}
"""No class lies below one of these: `torch.serialization` + `os.system` is `os.system` in disguise."""
OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
LONGEST_NAME = 200
CUT = "the download or copy was probably cut short. Take another copy."
ACCEPTED = "accepted are checkpoints of torch.save (.ckpt, .pt, .pth, .bin) and .safetensors"


class Unreadable(Exception):
    """A file that cannot be taken. The text says what was found, what is accepted and what to do, without the path."""


class Damaged(Unreadable):
    """A pickle that cannot be followed, or a file that is not a pickle."""


@dataclass(frozen=True, eq=False)
class Dropped:
    """Stands where the file holds an object of another class. It has that class's dotted name and nothing else."""

    name: str


def dotted(module: object, name: object) -> str:
    """`module.name` in today's spelling. Raises `Unreadable` where it is plainly an attack, named in the text."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise Unreadable("is damaged: a name in its pickle is not text. Take another copy.")
    module = OLD_MODULES.get(module, module)
    full = f"{module}.{name}"
    root = full.partition(".")[0].strip()
    if root in ATTACK_MODULES.split() or full in ATTACKS or ATTACK_PARTS & set(name.split(".")):
        raise attack(full)
    return full


def attack(name: str) -> Unreadable:
    """The error for a file that wants the function of that dotted name."""
    return Unreadable(
        f"asks to run {printable(name)} when it is opened; nothing of it was run. Accepted are tensors, plain "
        "containers and classes that are dropped. Do not open this file with anything else; take the weights as "
        ".safetensors from its author."
    )


def printable(text: str) -> str:
    """A name from a file as it may be shown on a terminal: one line, no control characters, not endless."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_NAME])
    return shown + ("..." if len(text) > LONGEST_NAME else "")

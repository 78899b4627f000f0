"""Text from outside: the one place where bytes of files and arguments become text."""

from __future__ import annotations

import codecs
import os
import re
import stat

from latentry.errors import UsageError

LIMIT = 64 * 2**20
"""Most bytes of a text file, where its reader sets no other bound."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_ACCEPTED = "accepted: text in UTF-8 or UTF-16. Save it as UTF-8."
_LOOKED_AT = 256  # bytes that tell UTF-16 without a mark from UTF-8


def decode(data: bytes, where: str) -> str:
    """The text that bytes hold: UTF-8 or UTF-16, with or without the mark that Windows puts in front.

    where: names the bytes in errors. Errors: `UsageError`, one line with the place of the first wrong byte.
    """
    for mark, encoding, name in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding, name, len(mark), where)
    unmarked = _unmarked_utf16(data[:_LOOKED_AT])
    return _decoded(data, unmarked, "UTF-16", 0, where) if unmarked else _decoded(data, "utf-8", "UTF-8", 0, where)


def _unmarked_utf16(start: bytes) -> str | None:
    """UTF-16 of mostly Latin letters has a NUL in every other byte, which text in UTF-8 has nowhere."""
    even, odd = start[0::2], start[1::2]
    if len(odd) and odd.count(0) * 2 > len(odd) and not even.count(0):
        return "utf-16-le"
    if len(odd) and even.count(0) * 2 > len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def _decoded(data: bytes, encoding: str, name: str, skipped: int, where: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        place = error.start + skipped
        if skipped and name != "UTF-8":  # what looked like a mark may have been none
            raise UsageError(
                f"{where}: byte 0 is not UTF-8, and byte {place} is not {name}, as which it begins; {_ACCEPTED}"
            ) from None
        raise UsageError(f"{where}: byte {place} is not {name}; {_ACCEPTED}") from None


def read_bytes(path: str | os.PathLike[str], limit: int = LIMIT, where: str | None = None) -> bytes:
    """The bytes of a file of at most `limit` bytes. A pipe or a device is refused and never waited for.

    where: names the file in errors; its path, if None. Errors: `UsageError`, one line.
    """
    where = where or one_line(os.fspath(path))
    data = start_of(path, limit + 1, where)
    if len(data) > limit:
        raise UsageError(
            f"{where}: is longer than {limit} bytes; accepted: at most that much text. Shorten or split it."
        )
    return data


def start_of(path: str | os.PathLike[str], count: int, where: str) -> bytes:
    """The first `count` bytes of a file, fewer where it is shorter; else as `read_bytes`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            os.close(descriptor)
            raise UsageError(f"{where}: is {kind_of(kind)}; accepted: a text file. Name a file.")
        with os.fdopen(descriptor, "rb") as file:
            return file.read(count)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{where}: cannot be read ({reason}); accepted: a text file that may be read.") from None


def read(path: str | os.PathLike[str], limit: int = LIMIT, where: str | None = None) -> str:
    """The text of a file: `read_bytes` and `decode` in one."""
    return decode(read_bytes(path, limit, where), where or one_line(os.fspath(path)))


def kind_of(mode: int) -> str:
    """What a path leads to, in words, from its `st_mode`."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe (FIFO)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISLNK, "a link"),
    )
    return next((words for test, words in kinds if test(mode)), "a file")


def printable(text: str) -> str:
    r"""`text` as UTF-8 can hold it: a byte of a file name that is not UTF-8 becomes `\xe9`, half a pair `\ud83d`.

    Text files, terminals and JSON refuse such halves (lone surrogates), which is how Python keeps those bytes.
    """
    return _HALVES.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""`text` for a line that people read: `printable`, and what moves the cursor or turns the text written as `\n`."""
    return _UNSEEN.sub(_escaped, text)


_HALVES = re.compile("[\ud800-\udfff]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(found: re.Match[str]) -> str:
    letter, code = found[0], ord(found[0])
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return _NAMED.get(letter) or (f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}")


def whole(text: str, where: str) -> str:
    """`text`, if all of it is letters: an argument that is not UTF-8 reaches Python with half pairs in their place.

    where: names it in errors. Errors: `UsageError`, one line with the place of the first.
    """
    place = next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
    if place is None:
        return text
    raise UsageError(f"{where}: {printable(text[place])} at letter {place + 1} is not UTF-8; accepted: text in UTF-8.")


def number(text: str) -> int | None:
    """The whole number that up to 18 digits write, a minus before them or not; None for any other text."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None

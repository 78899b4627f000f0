"""Which images a folder itself keeps from training: `train/`, `test/`, ... at its top, or a field `split`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from latentry.data.folders.record import Record, Remarks
from latentry.data.options import DataOptions
from latentry.text import one_line

FIELD = "split"
TRAIN = ("train", "training")
OTHERS = ("val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation", "holdout", "held_out")
_AROUND = re.compile(r"[ _-]?(sets?|data|images?|imgs?|splits?|samples?)?[ _-]?\d{0,4}")
"""What names of splits have behind them: train2017, training_set, test-images, val_2."""
_OFF = "data.splits: off turns this off"


def is_train(name: str) -> bool:
    """Whether a split of this name is trained on; any other is kept from training."""
    return _named(name, TRAIN)


def _is_split(name: str) -> bool:
    return _named(name, (*TRAIN, *OTHERS))


def _named(name: str, words: Iterable[str]) -> bool:
    folded = name.lower()
    return any(folded.startswith(word) and _AROUND.fullmatch(folded, len(word)) for word in words)


def mark(records: Sequence[Record], options: DataOptions | None, remarks: Remarks) -> list[Record]:
    """The records with the split that the folder gives them, and with where their class folders begin.

    Folders at the top, or in the one folder that holds all images, are splits if one is called train and another test,
    val, validation, ...; a field `split` is one if it has such values. A recipe that itself chooses by that folder or
    field (where, split_by, label) is heeded.
    """
    if options is not None and options.splits == "off":
        return list(records)
    records = list(records) if _chosen_by("folder", options) else _by_folder(records, remarks)
    return records if _chosen_by(FIELD, options) else _by_field(records, remarks)


def _chosen_by(field: str, options: DataOptions | None) -> bool:
    if options is None:
        return False
    if field == "folder":
        listed = options.listed(field) if field in options.where else []
        return any(isinstance(value, str) and _is_split(value) for value in listed)
    return field in options.where or field in (options.split_by, options.label, options.balance, options.text)


def _by_folder(records: Sequence[Record], remarks: Remarks) -> list[Record]:
    outer = _around_all(records)
    below = [record.path[len(outer) :] for record in records]
    tops = {path.split("/", 1)[0] for path in below if "/" in path}
    found = {top for top in tops if _is_split(top)}
    real = any(map(is_train, found)) and not all(map(is_train, found))
    loose = len(found) < len(tops) or any("/" not in path for path in below)
    if not found or (loose and not real):
        return list(records)
    marked = []
    for record, path in zip(records, below, strict=True):
        top = path.split("/", 1)[0]
        inner = "/" in path and top in found
        marked.append(record._replace(split=top if real else "", above=f"{outer}{top}/") if inner else record)
    where = f"in {one_line(outer)}" if outer else "at the top"
    if real:
        remarks.read.append(f"the folders {where} are splits: {_shares(marked)}; {_OFF}")
    else:
        names = ", ".join(sorted(found))
        remarks.read.append(f"the folder {names} {where} is no class: classes are the folders in it; {_OFF}")
    return marked


def _around_all(records: Sequence[Record]) -> str:
    """The folders that all images lie in, none of them a split, with their last `/`: images/ of images/train/."""
    outer = records[0].path.split("/")[:-1] if records else []
    for record in records:
        folders = record.path.split("/")[:-1]
        same = (a == b for a, b in zip(outer, folders, strict=False))
        outer = outer[: next((place for place, equal in enumerate(same) if not equal), min(len(outer), len(folders)))]
        if not outer:
            return ""
    outer = outer[: next((place for place, name in enumerate(outer) if _is_split(name)), len(outer))]
    return "/".join([*outer, ""]) if outer else ""


def _by_field(records: Sequence[Record], remarks: Remarks) -> list[Record]:
    values = [record.fields.get(FIELD) for record in records]
    names = {value for value in values if isinstance(value, str) and value}
    if not any(map(is_train, names)) or all(map(is_train, names)):
        if names:
            shown = ", ".join(sorted(map(one_line, names))[:5])
            remarks.left.append(
                f"the field `split` of the metadata, which divides nothing into train and others ({shown})"
            )
        return list(records)
    marked = [
        record._replace(split=value) if isinstance(value, str) and value else record
        for record, value in zip(records, values)
    ]
    remarks.read.append(f"the field `split` of the metadata is used: {_shares(marked)}; {_OFF}")
    return marked


def _shares(records: Iterable[Record]) -> str:
    """`train (12 images) is trained on; test (6) is kept from training and measured on`."""
    counts = Counter(record.split for record in records)
    rest = counts.pop("", 0)
    kept = [f"{one_line(name)} ({count})" for name, count in sorted(counts.items()) if not is_train(name)]
    used = [f"{one_line(name)} ({count})" for name, count in sorted(counts.items()) if is_train(name)]
    text = f"{', '.join(used)} trained on; {', '.join(kept)} kept from training and measured on"
    return f"{text}; {rest} other images by data.held_out" if rest else text

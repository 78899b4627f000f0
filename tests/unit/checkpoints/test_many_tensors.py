"""If these fail, a small file from a stranger costs minutes and gigabytes before latentry says that it is bad."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from latentry import safe_header
from latentry.checkpoints import tensors
from latentry.checkpoints.foreign.file import read
from latentry.errors import LatentryError

SECONDS, MEGABYTES = 1.0, 50
PROBE = """
import resource, sys, time
from pathlib import Path
from latentry.checkpoints.foreign import file
from latentry.checkpoints import tensors
from latentry.nn import weights
from latentry.errors import LatentryError

READERS = {"foreign": file.read, "headers": file.headers, "own": tensors.read, "weights": weights.read}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[2:]:
    start = time.process_time()
    try:
        READERS[name](Path(sys.argv[1]))
        said = "nothing"
    except LatentryError as error:
        said = str(error)
    rise = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(time.process_time() - start, rise, said, sep="|")
"""


def measured(path: Path, *readers: str) -> list[str]:
    """What each reader says of a file, within a second, and 50 MB above what the process had before the first."""
    done = subprocess.run([sys.executable, "-c", PROBE, path, *readers], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(readers)
    for line in lines:
        seconds, rise, said = line.split("|", 2)
        assert len(said) < 400
        assert float(seconds) < SECONDS, said
        assert float(rise) < MEGABYTES, said
    return lines


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def million() -> bytes:
    entry = '"t%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    return framed(("{" + ",".join(entry % (i, i, i + 1) for i in range(1_000_000)) + "}").encode(), bytes(1_000_000))


def huge_text() -> bytes:
    return framed(json.dumps({"__metadata__": {"notes": "x" * 90_000_000}}).encode())


def empty_lists() -> bytes:
    """4 MB that are a million objects: within the length, beyond the parts."""
    return framed(b'{"a":[' + b",".join([b"[]"] * 1_300_000) + b"]}")


def as_many_parts_as_accepted() -> bytes:
    """The worst that passes the count: a quarter of a million names of one mapping, which is no tensor."""
    return framed(b'{"a":{' + b",".join(b'"%06d":1' % i for i in range(safe_header.MOST_PARTS - 10)) + b"}}")


@pytest.mark.alone
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (million, "bytes long; accepted: at most"),
        (huge_text, "bytes long; accepted: at most"),
        (empty_lists, "parts; accepted: at most"),
        (as_many_parts_as_accepted, "does not describe a"),
    ],
)
def test_a_header_of_a_million_things_is_refused_at_once(tmp_path: Path, make: Callable[[], bytes], what: str) -> None:
    path = tmp_path / "many.safetensors"
    path.write_bytes(make())
    assert all(what in said for said in measured(path, "foreign", "own", "weights"))


@pytest.mark.alone
def test_a_zip_file_of_a_million_members_is_refused_at_once(tmp_path: Path) -> None:
    """An archive whose list of contents alone is 7 MB."""
    path = tmp_path / "many.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(90_000):
            archive.writestr(f"a/data/{i}", b"")
    assert all("list of contents of" in said for said in measured(path, "foreign", "headers"))


def test_as_many_tensors_as_a_large_model_has_are_read(tmp_path: Path) -> None:
    """Ten thousand tensors, and notes as other trainers leave them: nothing published is refused."""
    path = tmp_path / "large.safetensors"
    named = {
        f"model.diffusion_model.output_blocks.{i}.transformer_blocks.weight": torch.ones(1, 1) for i in range(10_000)
    }
    save_file(named, path, {"ss_tag_frequency": json.dumps({f"tag {i}": i for i in range(20_000)})})
    assert len(read(path).tensors) == len(tensors.read(path)) == 10_000


ONE = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (f"{{{ONE},{ONE}}}", "names a twice"),
        (f'{{{ONE},"b":{{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}}}', "b overlaps the one before it"),
        (f'{{{ONE},"b":{{"dtype":"Q7","shape":[1],"data_offsets":[4,8]}}}}', "holds b as Q7; known: F64"),
        ('{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,4]}}', "not JSON"),
        ('{"' + "n" * 5000 + '":1}', "does not describe nnn"),
    ],
)
def test_what_a_header_may_not_say_is_one_short_line_everywhere(tmp_path: Path, header: str, what: str) -> None:
    """Of model folders and checkpoints of runs as of files of others."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(framed(header.encode(), bytes(8)))
    for reader in (read, tensors.read):
        with pytest.raises(LatentryError, match=what) as caught:
            reader(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400 + len(str(path))

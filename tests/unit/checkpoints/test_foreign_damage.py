"""If these fail, a bad download ends in a traceback, a crash or wrong weights, not in a line that says what to do."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentry.checkpoints.foreign.file import headers, read
from latentry.errors import LatentryError, UsageError
from tests.unit.checkpoints.hostile import mapping, program, saved, tensor, text, write_legacy, write_zip

TENSORS = {"state_dict": {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(3).half()}, "epoch": 3}
ZIP, LEGACY = saved(TENSORS), saved(TENSORS, _use_new_zipfile_serialization=False)
SAFE = safetensors.torch.save(TENSORS["state_dict"])  # type: ignore[arg-type]


def refused(path: Path, what: str, kind: type[LatentryError] = LatentryError) -> None:
    """By both readers, with one line that begins with the path."""
    for reader in (read, headers):
        with pytest.raises(kind, match=what) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    refused(tmp_path / "a.ckpt", "no such file", UsageError)
    refused(tmp_path, "is a folder", UsageError)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>Not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"Not a checkpoint at all, only words.", "neither a zip file nor a pickle"),
        (b"\x00" * 600, "neither a zip file nor a pickle"),
        (b"x" * 257 + b"ustar", "tar archive"),
        (ZIP[: len(ZIP) // 2], "cut short"),
        (ZIP[:-30], "cut short"),
        (LEGACY[:-1], "cut short"),
        (LEGACY[:-40], "cut short"),
        (LEGACY[:200], "is damaged"),
        (program(mapping(a=b"K\x01")), "torch.save did not write"),
        (saved({"epoch": 3}), "holds no tensors"),
        (SAFE[:-4], "cut short"),
        (SAFE[:20], "cut short"),
    ],
)
def test_one_line_for_each_kind_of_bad_file(tmp_path, content, what):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    refused(path, what)


def test_a_whole_model_is_told_to_be_one(tmp_path):
    (tmp_path / "a.pt").write_bytes(saved(torch.nn.Linear(2, 2)))
    refused(tmp_path / "a.pt", r"only objects of torch\.nn\.modules\.linear\.Linear.*state_dict")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("form", "what"),
    [
        ({"size": (5,)}, "needs 20 bytes of a storage that has 16"),
        ({"size": (4,), "offset": 1}, "needs 20 bytes"),
        ({"size": (2, 3), "stride": (4, 1)}, "needs 28 bytes"),
        ({"size": (2,), "stride": (1 << 61,)}, "needs"),
        ({"size": (4,), "stride": (-1,)}, "not a short list"),
        ({"size": (-1,)}, "not a short list"),
        ({"size": (1 << 64,)}, "not a short list"),
        ({"size": (4,), "offset": -1}, "no offset"),
        ({"size": (4,), "stride": (1, 1)}, "more sizes than strides"),
        ({"size": (1 << 40,), "stride": (0,)}, "share 16 bytes"),
        ({"size": (0, 1 << 40, 1 << 40)}, "share 16 bytes"),
        ({"size": (1,) * 65}, "not a short list"),
        ({"elements": 1 << 61}, "storage|cut short"),
        ({"elements": -1}, "storage"),
    ],
)
def test_a_tensor_lies_inside_its_storage(tmp_path, form, what, legacy):
    write = write_legacy if legacy else write_zip
    path = write(tmp_path / "a.pt", mapping(w=tensor(legacy=legacy, **form)))
    refused(path, what)


def test_members_of_the_archive_are_there_once_and_plain(tmp_path):
    path = tmp_path / "a.pt"
    refused(write_zip(path, mapping(w=tensor()), {}), "lacks the member archive/data/0")
    refused(write_zip(path, mapping(w=tensor()), {"0": bytes(12)}), "12 bytes, fewer")
    refused(write_zip(path, mapping(w=tensor()), more={"byteorder": b"big"}), "byte order")
    refused(write_zip(path, mapping(w=tensor()), more={"constants.pkl": b""}), "TorchScript")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"")
    refused(path, "TorchScript|two members")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", program(mapping(w=tensor())) + bytes(100_000))
    refused(path, "compressed or encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"hello")
    refused(path, "zip file with 0 members")


def test_lengths_of_legacy_storages_are_as_declared(tmp_path):
    path = tmp_path / "a.pt"
    refused(write_legacy(path, mapping(w=tensor(legacy=True)), {"0": (3, bytes(16))}), "3 elements instead of 4")
    refused(write_legacy(path, mapping(w=tensor(legacy=True)), {"1": (4, bytes(16))}), "other storages")
    both = mapping(w=tensor(legacy=True), v=tensor(legacy=True, elements=2, size=(2,)))
    refused(write_legacy(path, both), "two lengths")


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"w": ENTRY | {"shape": [3]}}, "needs 12"),
        ({"w": ENTRY | {"data_offsets": [0, 12], "shape": [3]}}, "cut short"),
        ({"w": ENTRY, "v": ENTRY}, "overlaps"),
        ({"w": ENTRY | {"data_offsets": [4, 8], "shape": [1]}}, "leaves a hole"),
        ({"w": ENTRY | {"data_offsets": [8, 0]}}, "needs 8"),
        ({"w": ENTRY | {"data_offsets": [0, 1e3]}}, "not a short list"),
        ({"w": ENTRY | {"shape": [1 << 61, 1 << 61, 0], "data_offsets": [0, 0]}}, "absurd"),
        ({"w": ENTRY | {"shape": -1}}, "not a short list"),
        ({"w": ENTRY | {"dtype": "F31"}}, "known: F64"),
        ({"w": ENTRY | {"dtype": {}}}, "known: F64"),
        ({"w": [1]}, "does not describe w"),
        ({"__metadata__": 3}, "not a mapping"),
        ([], "not a mapping"),
    ],
)
def test_a_lying_safetensors_header(tmp_path, header, what):
    path = tmp_path / "a.safetensors"
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8))
    refused(path, what)


def test_a_safetensors_header_longer_than_the_file_or_no_json(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 7 + b"\x00{}")
    refused(path, "cut short")
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    refused(path, "not JSON")


def test_names_do_not_grow_without_bound(tmp_path):
    body = text("x" * 1900) + b"q\x000" + tensor() + b"".join(b"q\x01}h\x00h\x01s" for _ in range(2))
    refused(write_zip(tmp_path / "a.pt", body), "characters")


def check(path: Path, content: bytes) -> None:
    """Both readers take it or refuse it alike; what is taken can be computed with."""
    path.write_bytes(content)
    try:
        file = read(path)
    except LatentryError as error:
        refused(path, re.escape(str(error)))
        return
    assert headers(path) == {name: (value.dtype, tuple(value.shape)) for name, value in file.tensors.items()}
    for value in file.tensors.values():
        if value.numel() < 1 << 20:
            value.double().abs().sum()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("whole", [ZIP, LEGACY, SAFE], ids=["zip", "legacy", "safetensors"])
@FUZZ
@given(data=st.data())
def test_files_cut_anywhere(tmp_path, whole, data):
    check(tmp_path / "fuzzed.ckpt", whole[: data.draw(st.integers(0, len(whole)))])


@pytest.mark.parametrize("whole", [ZIP, LEGACY, SAFE], ids=["zip", "legacy", "safetensors"])
@FUZZ
@given(data=st.data())
def test_files_with_flipped_bytes(tmp_path, whole, data):
    content = bytearray(whole)
    places = st.integers(0, len(whole) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    check(tmp_path / "fuzzed.ckpt", bytes(content))


@FUZZ
@given(body=st.binary(max_size=60))
def test_any_bytes_as_a_pickle(tmp_path, body):
    check(tmp_path / "fuzzed.ckpt", program(body))

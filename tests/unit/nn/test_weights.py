"""Weight files: where they are looked for, that a download is checked, and that nothing in them is run."""

from __future__ import annotations

import hashlib
import pickle
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from latentry.errors import LatentryError, UsageError
from latentry.nn import weights


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder of the user's, an empty cache, no network."""
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str) -> Path:
    """A published file at an address of this machine."""
    remote = tmp_path / "remote.pth"
    torch.save({"a": torch.ones(2)}, remote)
    monkeypatch.undo()
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"net-{digest or hashlib.sha256(remote.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setitem(weights.SOURCES, "net", weights.Source(name, "net", remote.as_uri()))
    return remote


def test_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = publish(tmp_path, monkeypatch, "")
    found = weights.find("net")
    assert found.parent == tmp_path / "cache" / "latentry"
    assert found.read_bytes() == remote.read_bytes()
    remote.unlink()
    assert weights.find("net") == found
    assert [p.name for p in found.parent.iterdir()] == [found.name]


def test_a_download_that_is_not_the_published_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch, "00000000")
    with pytest.raises(LatentryError, match=r"expected 00000000\.\.\."):
        weights.find("net")
    assert list((tmp_path / "cache" / "latentry").iterdir()) == []


def test_without_a_network_one_text_names_file_places_and_ways_out(tmp_path: Path) -> None:
    with pytest.raises(LatentryError) as caught:
        weights.find("vgg16")
    text = str(caught.value)
    assert "\n" not in text
    for part in (
        "vgg16-397923af.pth",
        "$LATENTRY_WEIGHTS (not set)",
        str(tmp_path / "cache" / "latentry"),
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "no network",
        "`perceptual: none`",
        "`perceptual: squeezenet`",
        "`perceptual: {backbone: PATH}`",
    ):
        assert part in text


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, kept = tmp_path / "own", tmp_path / "cache" / "latentry"
    for folder, name in ((kept, "squeezenet1_1-b8a52dc0.pth"), (own, "squeezenet1_1.npz")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    assert weights.find("squeezenet") == kept / "squeezenet1_1-b8a52dc0.pth"
    monkeypatch.setenv("LATENTRY_WEIGHTS", str(own))
    assert weights.find("squeezenet") == own / "squeezenet1_1.npz"
    assert weights.find("squeezenet", kept / "squeezenet1_1-b8a52dc0.pth").parent == kept


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file at"):
        weights.find("vgg16", tmp_path / "nothing.pth")
    with pytest.raises(UsageError, match="did you mean"):
        weights.find("vgg19")


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    values = torch.tensor([0.5, -1.25, 3.0])
    torch.save({"a": values.half()}, tmp_path / "w.pth")
    save_file({"a": values}, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", a=values.numpy().astype(np.float16))
    for path in tmp_path.iterdir():
        assert torch.equal(weights.read(path)["a"], values)
        assert weights.read(path)["a"].dtype == torch.float32


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", ["pickle", "rubbish", "empty"])
def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: str) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps({"a": Bomb()}, protocol=2)
    pickle.loads(bomb)
    Path("exploded").unlink()  # it is a real one
    data = {"pickle": bomb, "rubbish": b"\x00\xff" * 40, "empty": b""}[content]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    with pytest.raises(LatentryError, match="cannot be read") as caught:
        weights.read(path)
    assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()

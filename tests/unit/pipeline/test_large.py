"""If these fail, an image too large for memory is held there, or its file is not the image that the model makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from latentry.cli import run
from latentry.data.files.limits import Limits
from latentry.errors import UsageError
from latentry.models import tiles
from latentry.nn.tiled import layers
from latentry.pipeline import Pipeline
from latentry.pipeline.pictures import large
from latentry.pipeline.pictures.large import LargeOutput
from latentry.tasks.inputs import large as inputs
from latentry.tasks.inputs.images import for_model
from tests.unit.pipeline.small_pipelines import pipeline


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """For which 1000 pixels are a large image, with tiles of 32."""
    monkeypatch.setattr(tiles, "LARGE", 1000)
    monkeypatch.setattr(tiles, "SIDE", 32)
    monkeypatch.setattr(large, "SIDE", 32)
    monkeypatch.setattr(layers, "side_for", lambda channels: 16)
    return pipeline()


def scene(path: Path, height: int, width: int) -> Path:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([y * 3 % 256, x * 2 % 256, (x + y) % 256], -1).astype(np.uint8)
    tifffile.imwrite(path, pixels, tile=(32, 32))
    return path


def test_a_large_image_is_reconstructed_without_being_held(
    pipe: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to its whole reconstruction, within the last step of rounding."""
    path = scene(tmp_path / "big.tif", 71, 91)
    monkeypatch.setattr(tiles, "LARGE", 10**6)
    whole = pipe.reconstruct([path])
    monkeypatch.setattr(tiles, "LARGE", 1000)
    monkeypatch.setattr("latentry.tasks.inputs.large.for_model", refusing_whole(for_model))
    out = pipe.reconstruct([path])
    assert isinstance(out, LargeOutput)
    monkeypatch.setattr(large, "gathered", lambda _: pytest.fail("held whole"))
    (written,) = out.save(tmp_path / "again.tif")
    with tifffile.TiffFile(written) as file:
        assert file.is_bigtiff
        assert file.pages.first.is_tiled
        pixels = file.asarray().astype(int)
    assert pixels.shape == (70, 90, 3)
    assert np.abs(pixels - whole.arrays[0]).max() <= 1
    assert out.save(tmp_path / "folder") == [tmp_path / "folder" / "big.tif"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["again.tif", "big.tif", "folder"]


def refusing_whole(real: Callable[..., Any]) -> Callable[..., Any]:
    def part_alone(path: Path, header: Any, array: NDArray[Any], facts: Any) -> Any:
        assert array.shape[0] * array.shape[1] <= 34 * 34, "the image was read whole"
        return real(path, header, array, facts)

    return part_alone


def test_a_large_sample_is_written_in_tiles_and_drawn_again(pipe: Pipeline, tmp_path: Path) -> None:
    out = pipe.sample("a red circle", size=(48, 64), tile=16, n=2, seed=4)
    paths = out.save(tmp_path)
    assert [path.name for path in paths] == ["seed-4.tif", "seed-5.tif"]
    found = [tifffile.imread(path) for path in paths]
    assert np.array_equal(found[1], out.only(1).arrays[0])
    assert np.abs(found[0].astype(int) - out.arrays[0]).max() <= 1
    again = pipe.again(paths[1])
    (path,) = again.save(tmp_path / "again.tif")
    assert np.array_equal(tifffile.imread(path), found[1])
    (png,) = out.only(0).save(tmp_path / "one.png")
    assert png.is_file()


def test_an_image_too_large_for_memory_is_saved_as_tiff_alone(
    pipe: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "MOST_WHOLE", 2000)
    out = pipe.sample("a red circle", size=(48, 64))
    with pytest.raises(UsageError, match=r"one\.png: an image of 48x64 is saved in tiles, as \.tif"):
        out.save(tmp_path / "one.png")
    with pytest.raises(UsageError, match=r"an image of 48x64 is saved in tiles"):
        out.grid()
    with pytest.raises(UsageError, match=r"one\.png: an image of 48x64 is saved in tiles, as \.tif; name such a file"):
        pipe.check_target(tmp_path / "one.png", (48, 64))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["float", "signed", "huge strip"])
def test_others_are_read_whole(kind: str, pipe: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values whose range the whole image tells, and files that cannot be read in parts, as before."""
    path = tmp_path / "a.tif"
    values = np.random.default_rng(0).random((48, 64, 3))
    if kind == "huge strip":
        monkeypatch.setattr(inputs, "BYTE_LIMIT", 1000)
        tifffile.imwrite(path, (values * 255).astype(np.uint8), rowsperstrip=48)
    else:
        kept = values.astype(np.float32) if kind == "float" else (values * 99).astype(np.int16)
        tifffile.imwrite(path, kept, photometric="rgb")
    with inputs.opened(path, pipe.config.data, 2) as found:
        assert (found is None) == (kind != "float")
    if kind == "signed":
        with pytest.raises(UsageError, match=r"a\.tif: int16 values run from .*; the model takes 8 or 16 bits"):
            pipe.reconstruct([path])
    else:
        assert pipe.reconstruct([path]).tensor.shape == (1, 3, 48, 64)


def test_values_outside_their_range_are_told_wherever_they_lie(pipe: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.zeros((48, 64, 3), np.float32)
    values[40, 60] = 7
    tifffile.imwrite(path, values, tile=(16, 16), photometric="rgb")
    assert Limits().pixels > values.size
    with pytest.raises(UsageError, match=r"a\.tif: float values run from 0 to 7, not in 0..1; the model takes"):
        pipe.reconstruct([path])


def test_layers_and_tiles_are_told_as_they_are_done(pipe: Pipeline, tmp_path: Path) -> None:
    """Decoding is most of the time that a large image takes: each layer in order, then each tile as it is written."""
    told: list[tuple[str, int, int]] = []
    out = pipe.sample("a red circle", size=(48, 64), steps=1)
    assert isinstance(out, LargeOutput)
    out.save(tmp_path / "a.tif", progress=lambda *one: told.append(one))
    layers_told, tiles_told = ([one[1:] for one in told if one[0] == what] for what in ("layer", "tile"))
    middle, levels = 3, 2 * 2 + 1  # block, attention, block; two levels of two blocks, one of them enlarged
    assert layers_told == [(i, middle + levels) for i in range(1, middle + levels + 1)]
    assert tiles_told == [(i, 4) for i in range(1, 5)]
    assert [one[0] for one in told] == ["layer"] * len(layers_told) + ["tile"] * 4


def test_the_command_tells_people_and_not_programs(
    pipe: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipe)
    line = ["sample", "model", "a red circle", "--size", "48x64", "--steps", "1", "-n", "1", "--out"]
    assert run([*line, str(tmp_path / "a.tif")]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("a.tif: 48x64 pixels, decoded while they are written: layer 1 of 8")
    assert told[-1].endswith("tile 4 of 4")
    assert run([*line, str(tmp_path / "b.tif"), "--json"]) == 0
    assert capsys.readouterr().err == ""
    assert run([*line, str(tmp_path / "c.png")]) == 0
    assert "layer 1 of 8" in capsys.readouterr().err


def test_what_a_large_file_has_besides_its_first_page_is_told(pipe: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "moments.tif"
    tifffile.imwrite(path, np.zeros((2, 48, 48, 3), np.uint8), tile=(32, 32), metadata={"axes": "TYXS"})
    out = pipe.reconstruct([path])
    assert isinstance(out, LargeOutput)
    (note,) = out.notes
    assert str(path) in note
    assert "only the first is used" in note

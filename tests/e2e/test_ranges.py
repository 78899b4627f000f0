"""If these fail, images of 12 bits, signed or float values, or 2 and 4 bands, train on black or come back as others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

import latentry as lt
from latentry.cli import run as command
from latentry.data.files import images
from latentry.errors import UsageError
from latentry.evaluation.figures import FILE
from latentry.metrics import psnr
from latentry.pipeline.foreign import export_model, import_model
from tests.e2e.small_runs import recipe, run_tiny

PLAIN = "PSNR of held-out reconstructions (dB)"


def scenes(count: int, low: float, high: float, dtype: str, channels: int = 1) -> list[NDArray[Any]]:
    """(16, 16, channels) of slopes between two values."""
    y, x, c = np.meshgrid(np.linspace(0, 1, 16), np.linspace(0, 1, 16), np.arange(channels), indexing="ij")
    unit = [(y * (i % 3) / 2 + x + c / max(channels, 1)) % 1 for i in range(count)]
    return [(low + u * (high - low)).astype(dtype) for u in unit]


def write_images(folder: Path, arrays: list[NDArray[Any]], suffix: str = ".tif") -> Path:
    """Files 0, 1, ... by other libraries than ours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(arrays):
        one = array[..., 0] if array.shape[2] == 1 else array
        if suffix == ".tif":
            tifffile.imwrite(
                folder / f"{number}.tif",
                one,
                photometric="minisblack",
                planarconfig="contig" if one.ndim == 3 else None,
            )
        else:
            Image.fromarray(one).save(folder / f"{number}{suffix}")
    return folder


def trained(folder: Path, arrays: list[NDArray[Any]], suffix: str = ".tif", **data: Any) -> tuple[Path, list[str]]:
    """A run of them, and what it said."""
    said: list[str] = []
    root = write_images(folder / "data", arrays, suffix)
    changes = {"data.held_out": 0.25, "data.channels": arrays[0].shape[2]}
    run_tiny(folder, root, {**changes, **{f"data.{key}": value for key, value in data.items()}}, report=said.append)
    return folder / "run", said


def model_yaml(run: Path) -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load((run / "model" / "model.yaml").read_text())["data"]
    return facts


def test_figures_of_dark_images_are_relative_to_what_they_use(tmp_path: Path) -> None:
    """Black pictures of 12-bit images came to 37.6 dB: as good as a first stage gets."""
    run, said = trained(tmp_path, scenes(16, 0, 4000, "uint16"), ".png")
    warned = [line for line in said if "WARNING" in line]
    assert "values use 0..3" in warned[0], said
    assert "Set data.range: [0, 4095]" in warned[0]
    figures = json.loads((run / FILE).read_text())
    (name,) = figures
    assert name.startswith("PSNR of held-out reconstructions, relative to the range in use 0..3866 of 0..65535")
    pipe = lt.load(run)
    from latentry.data.dataset import ImageData
    from latentry.data.options import DataOptions

    data = ImageData(DataOptions(size=16, channels=1, held_out=0.25), tmp_path / "data", "held_out")
    real = torch.stack([data.sample(i).image for i in range(len(data))])
    again = pipe.decode(pipe.encode(real)).clamp(-1, 1)
    assert data.in_use is not None
    used = data.in_use[1] - data.in_use[0]
    assert figures[name] == pytest.approx(float(psnr(again, real, 2 * used).mean()), abs=0.01)
    assert (
        float(psnr(-torch.ones_like(real), real, 2 * used).mean())
        < 10
        < 24
        < float(psnr(-torch.ones_like(real), real, 2).mean())
    )
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(abs(row["held_out_psnr"] - figures[name]) < 12 for row in rows if "held_out_psnr" in row)
    card = (run / "model" / "README.md").read_text()
    assert "(5.9%): the model was trained in that part of the range alone" in card
    assert f"| {name} | {figures[name]} |" in card


def test_usual_images_are_measured_and_described_as_before(tmp_path: Path) -> None:
    run, said = trained(tmp_path, scenes(12, 0, 255, "uint8", 3), ".png")
    assert list(json.loads((run / FILE).read_text())) == [PLAIN]
    assert not any("range" in line for line in said)
    assert set(model_yaml(run)) == {"size", "channels", "depth", "background", "labels"}
    assert "range" not in (run / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int16", -1000, 2000), ("float32", -0.5, 7.5), ("uint16", 0, 4095), ("uint32", 0, 70000)],
)
def test_samples_come_back_in_the_units_of_the_files(dtype: str, low: float, high: float, tmp_path: Path) -> None:
    """Who trains on Hounsfield units or heights in metres measures the samples in them."""
    run, said = trained(tmp_path, scenes(12, low, high, dtype), range=[low, high])
    assert any(f"of {dtype} is black to white" in line for line in said)
    facts = model_yaml(run)
    assert (facts["range"], facts["dtype"]) == ([low, high], dtype)
    pipe = lt.load(run / "model")
    source = tmp_path / "data" / "3.tif"
    for path in (*pipe.sample(n=1).save(tmp_path / "s"), *pipe.reconstruct([source]).save(tmp_path / "r")):
        header, array = images.decode(path)
        assert header.dtype == dtype
        assert low <= array.min() <= array.max() <= high
    unit = (pipe.decode(pipe.encode(_seen(source, low, high))) + 1).clamp(0, 2) / 2
    expected = low + unit[0, 0].double().numpy() * (high - low)
    np.testing.assert_allclose(array[..., 0], expected, atol=0.51 if dtype != "float32" else 1e-5)
    assert f"{dtype}) is black to white" in (run / "model" / "README.md").read_text()
    assert json.loads((run / FILE).read_text()).keys() == {
        f"PSNR of held-out reconstructions, relative to data.range {low}..{high} (dB)"
    }


def _seen(path: Path, low: float, high: float) -> torch.Tensor:
    values = torch.from_numpy(tifffile.imread(path).astype(np.float64))
    return (2 * (values - low) / (high - low) - 1).float()[None, None]


def test_a_set_keeps_the_range_it_began_with(tmp_path: Path) -> None:
    """Images that come later would shift every grey of a half-trained model."""
    run, said = trained(tmp_path, scenes(12, 0, 1000, "int16"), range="set", percentiles=[0, 100])
    assert any("percentiles 0 and 100 over all images" in line for line in said)
    top = max(int(array.max()) for array in scenes(12, 0, 1000, "int16"))
    assert model_yaml(run)["range"] == [0, top]
    write_images(tmp_path / "more", scenes(1, 0, 30000, "int16"), ".tif")
    (tmp_path / "more" / "0.tif").rename(tmp_path / "data" / "new.tif")
    changes = {"data.held_out": 0.25, "data.channels": 1, "data.range": "set", "data.percentiles": [0, 100]}
    changes |= {"diffusion.train.steps": 3}
    run_tiny(tmp_path, tmp_path / "data", changes, accept_data_change=True)
    assert model_yaml(run)["range"] == [0, top]


def test_each_image_by_its_own_percentiles_goes_back_to_them(tmp_path: Path) -> None:
    arrays = [array * (i + 1) for i, array in enumerate(scenes(12, 0, 1000, "int16"))]
    run, _ = trained(tmp_path, arrays, range="file", percentiles=[0, 100])
    assert model_yaml(run)["range"] == "file"
    pipe = lt.load(run / "model")
    for number in (1, 8):
        (path,) = pipe.reconstruct([tmp_path / "data" / f"{number}.tif"]).save(tmp_path / "r")
        header, array = images.decode(path)
        assert header.dtype == "int16"
        assert array.max() <= arrays[number].max()
    assert array.max() > 1000
    (sample,) = pipe.sample(n=1).save(tmp_path / "s")
    assert images.header(sample).dtype == "uint16"


@pytest.mark.parametrize("channels", [2, 4])
def test_bands_without_transparency_stay_bands(
    channels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A near-infrared band saved as alpha: the reconstruction opens all but empty."""
    run, _ = trained(tmp_path, scenes(12, 0, 200, "uint8", channels))
    assert model_yaml(run)["transparent"] is False
    out = tmp_path / "r"
    assert command(["reconstruct", str(run), str(tmp_path / "data" / "1.tif"), "--out", str(out)]) == 0
    header = images.header(out / "1.tif")
    assert (header.channels, header.alpha) == (channels, False)
    capsys.readouterr()
    assert command(["sample", str(run / "model"), "-n", "1", "--out", str(tmp_path / "one.png")]) == 2
    assert f"{channels} bands, none of them transparency, is saved as .tif, .tiff" in capsys.readouterr().err
    assert command(["sample", str(run / "model"), "-n", "2", "--out", str(tmp_path / "sheet.png")]) == 0
    assert command(["sample", str(run / "model"), "-n", "1", "--out", str(tmp_path / "one.tif")]) == 0
    sheet = np.asarray(Image.open(next((run / "samples").glob("diffusion-*.png"))))
    assert sheet.shape == (2 + 4 * 18, 2 + 4 * (18 if channels == 4 else 34), 3)


def test_transparency_stays_transparency_and_older_models_are_as_they_were(tmp_path: Path) -> None:
    run, _ = trained(tmp_path, scenes(8, 0, 255, "uint8", 4), ".png", background=None)
    assert model_yaml(run)["transparent"] is True
    (path,) = lt.load(run / "model").sample(n=1).save(tmp_path / "s")
    assert path.suffix == ".png"
    facts = lt.load(run / "model").config.data
    assert facts.model_copy(update={"transparent": None}).alpha


def test_other_programs_are_not_left_to_guess_the_range(tmp_path: Path) -> None:
    wide = {"channels": 32, "multipliers": [1, 2], "blocks": 1, "norm_groups": 32}
    root = write_images(tmp_path / "data", scenes(8, -1000, 1000, "int16"), ".tif")
    changes: dict[str, Any] = {"data.channels": 1, "data.range": [-1000, 1000], "data.held_out": 0}
    changes |= {f"autoencoder.{key}": value for key, value in wide.items()}
    changes |= {"diffusion.unet": {**wide, "attention": [2], "head_channels": 16, "transformer_depth": 0}}
    run_tiny(tmp_path, root, changes)
    said: list[str] = []
    export_model(tmp_path / "run", "compvis", tmp_path / "out.ckpt", report=said.append)
    assert len(said) == 1
    assert said[0].startswith(
        "data.range: compvis has no place for it; images are -1 to 1 there, which here is -1000..1000"
    )
    back = import_model(tmp_path / "out.ckpt", report=lambda _: None)
    assert back.config.data.units == lt.load(tmp_path / "run" / "model").config.data.units


def test_a_first_stage_of_another_range_is_warned_of(tmp_path: Path) -> None:
    """The same value would be another grey to it, and nothing else would show."""
    run, _ = trained(tmp_path / "a", scenes(8, 0, 1000, "int16"), range=[0, 1000])
    said: list[str] = []
    changes = {"data.held_out": 0.25, "data.channels": 1, "data.range": [0, 2000]}
    changes |= {"autoencoder": {"from": str(run / "model")}}
    run_tiny(tmp_path / "b", tmp_path / "a" / "data", changes, report=said.append)
    assert any("the first stage was trained with data.range: [0, 1000], these images have [0, 2000]" in s for s in said)


def test_a_file_that_needs_a_range_is_refused_by_a_model_without_one(tmp_path: Path) -> None:
    run, _ = trained(tmp_path, scenes(8, 0, 255, "uint8"), ".png")
    write_images(tmp_path / "other", scenes(1, -5, 5, "int16"), ".tif")
    with pytest.raises(UsageError, match=r"int16 values run from -5 to .*the model takes 8 or 16 bits from 0"):
        lt.load(run / "model").reconstruct([tmp_path / "other" / "0.tif"])


def test_the_first_lines_say_what_would_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signed folder stops before anything is written, with what to set."""
    root = write_images(tmp_path / "data", scenes(6, -1000, 900, "int16"), ".tif")
    path = recipe(tmp_path, {"data.channels": 1})
    assert command(["train", path, "--data", str(root), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "Set data.range: [-1000, 900], or set (percentiles over all images)" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()

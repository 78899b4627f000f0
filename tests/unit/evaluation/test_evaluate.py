"""If these fail, a figure of `latentry evaluate` is not what its name says, or a mistake ends in a traceback."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from skimage.metrics import structural_similarity

import latentry as lt
from latentry.cli import run as command
from latentry.data.dataset import ImageData
from latentry.data.folders.record import Record
from latentry.data.folders.select import held_out
from latentry.data.options import DataOptions
from latentry.errors import LatentryError, UsageError
from latentry.evaluation import result
from latentry.evaluation.measure.cached import FILE
from latentry.evaluation.measure.fidelity import Fidelity, scores_of
from latentry.evaluation.measure.networks import perceptual
from latentry.evaluation.measure.processes import Processes
from latentry.evaluation.measure.streams import statistics_of
from latentry.evaluation.run import evaluate
from latentry.metrics.features import EncoderFeatures
from latentry.pipeline.images import to_unit
from tests.e2e.small_runs import noise, run_tiny, write_images


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights, and nothing kept by an earlier test."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 16x16 with something in them that blur takes away."""
    return write_images(tmp_path_factory.mktemp("images"), noise(40, (16, 16, 3)))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_tiny(tmp_path_factory.mktemp("run"), folder, {"data.held_out": 0.4}).path


ROOT = Path(__file__).parents[3]


def blurred(folder: Path, to: Path, radius: float) -> Path:
    to.mkdir()
    for path in folder.glob("*.png"):
        Image.open(path).filter(ImageFilter.GaussianBlur(radius)).save(to / path.name)
    return to


def silent(_: str) -> None:
    return None


def measure(*paths: Path | None, **how: object) -> result.Evaluation:
    return evaluate(*paths, draws=0, device="cpu", report=silent, **how)  # type: ignore[arg-type]


def test_a_folder_is_no_way_from_itself_and_further_the_more_it_is_blurred(model, folder, tmp_path):
    same = measure(model, folder, images=folder)
    assert same.value("FD") <= 1e-3
    assert same.value("SWD") <= 1e-3
    assert same.value("precision") == same.value("coverage") == 1
    found = [
        measure(model, folder, images=blurred(folder, tmp_path / str(radius), radius), metrics=["fid"]).value("FD")
        for radius in (0.5, 1.0, 2.0)
    ]
    assert found == sorted(found)
    assert found[0] > 1e-3


def test_a_model_is_measured_and_the_report_read_back(model, folder, tmp_path):
    found = measure(model, folder, out=tmp_path / "report", samples=20, batch=8)
    names = [figure.name for figure in found.figures]
    tags = {name.partition("[")[2].removeprefix("pixels + ") for name in names if "[" in name}
    assert len(tags) == 1, "one kind of features, named with its hash"
    assert {name.partition("[")[0] for name in names} >= {"FD", "KD", "SWD", "recall", "density", "gap of FD", "R-FD"}
    assert result.read(tmp_path / "report") == found
    rows = (tmp_path / "report" / "evaluation.csv").read_text().splitlines()
    assert len(rows) == len(names) + 1
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "index.html", "evaluation.json", "evaluation.csv", "samples.png", "reconstructions.png", "nearest.png"
    }  # fmt: skip
    assert found.model["samples_per_second"] > 0
    assert found.model["parameters"]["all"] == sum(v for k, v in found.model["parameters"].items() if k != "all")
    assert any(note.startswith("LPIPS: images of 3 channels and 16x16") for note in found.notes), "what is left out"


def test_reconstructions_agree_with_scikit_image(model, folder):
    """Through the whole command: the mean of PSNR and SSIM over the held-out images, at their published windows."""
    found = measure(model, folder, metrics=["psnr", "ssim"])
    unseen = ImageData(DataOptions(size=16, held_out=0.4), folder, "held_out")
    pipe = lt.load(model, device="cpu")
    real = torch.stack([unseen.sample(i).image for i in range(len(unseen))])
    again = to_unit(pipe.decode(pipe.encode(real))).double().numpy()
    truth = to_unit(real).double().numpy()
    expected = np.mean([-10 * np.log10(((a - b) ** 2).mean()) for a, b in zip(truth, again, strict=True)])
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}
    likeness = np.mean([structural_similarity(a, b, **how) for a, b in zip(truth, again, strict=True)])
    assert found.value("PSNR of held-out reconstructions (dB)") == pytest.approx(expected, abs=1e-3)
    assert found.value("SSIM of held-out reconstructions") == pytest.approx(likeness, abs=1e-4)


@pytest.mark.parametrize(("shape", "depth", "suffix"), [((16, 16, 5), 16, ".tif"), ((16, 16, 1), 8, ".png")])
def test_other_bands_and_bits_are_measured_by_a_model_of_them(shape, depth, suffix, tmp_path):
    images = write_images(tmp_path / "images", noise(12, shape, depth), suffix)
    run = run_tiny(tmp_path, images, {"data.channels": shape[2], "autoencoder.z_channels": 4})
    found = measure(run.path, images, images=images)
    assert found.value("FD") <= 1e-3
    assert f"{shape[2]} channel" in found.preprocessing["reference"]


def test_the_reference_is_read_once_and_a_damaged_cache_made_again(model, folder, own_cache):
    first = measure(model, folder, samples=8, metrics=["fid"])
    (kept,) = (own_cache / "latentry" / "statistics").glob(f"*/{FILE}")
    written = kept.read_bytes()
    again = measure(model, folder, samples=8, metrics=["fid"])
    assert again.figures == first.figures
    kept.write_bytes(written[:-8] + b"\1" * 8)
    assert measure(model, folder, samples=8, metrics=["fid"]).figures == first.figures
    assert kept.read_bytes() == written


def test_processes_that_share_the_images_have_the_numbers_of_one():
    """Each keeps what one process would have kept of its images, and their moments add up."""
    images = torch.rand(150, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    features = EncoderFeatures(lambda x: x, "ab" * 32, grid=2)

    def read(numbers: range):
        yield images[numbers.start : numbers.stop]

    (whole,) = statistics_of(read, 150, [features], 16)
    shares = [[*Processes(rank, 2).share(150, 16)] for rank in range(2)]
    assert sorted(number for share in shares for numbers in share for number in numbers) == [*range(150)]
    assert torch.equal(whole.vectors, features(images))


PROCESS = """
import sys, torch
from torch import distributed
from latentry.evaluation.measure.processes import Processes
from latentry.evaluation.measure.streams import statistics_of
from latentry.metrics.features import EncoderFeatures
rank, file = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
images = torch.rand(150, 2, 8, 8, generator=torch.Generator().manual_seed(0))
features = EncoderFeatures(lambda x: x, "ab" * 32, grid=2)
read = lambda numbers: [images[numbers.start : numbers.stop]]
for count in map(int, sys.argv[3:]):
    (found,) = statistics_of(read, count, [features], 16, processes=Processes(rank, 2))
    torch.save(found.state(), f"{file}.{rank}.{count}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_have_together_what_one_has_also_where_one_has_no_images(tmp_path):
    """Else each waits for ever for what the other never asks, or every number depends on how it was started."""
    words = [sys.executable, "-c", PROCESS]
    started = [subprocess.Popen([*words, str(rank), str(tmp_path / "meet"), "150", "9"]) for rank in range(2)]
    assert [process.wait(100) for process in started] == [0, 0]
    images = torch.rand(150, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for rank, count in itertools.product(range(2), (150, 9)):
        expected = EncoderFeatures(lambda x: x, "ab" * 32, grid=2)(images[:count])
        state = torch.load(tmp_path / f"meet.{rank}.{count}.pt", weights_only=True)
        assert torch.equal(state["vectors"], expected)
        assert torch.allclose(state["mean"], expected.double().mean(0), atol=1e-9)
        assert int(state["count"]) == count


HELD = """
import resource
from benchmarks.evaluate import PART, Planted
from latentry.evaluation.measure import streams
from latentry.evaluation.watching.copies import Copying
from latentry.metrics.copies import gather
streams.KEPT_NUMBERS, gather.MOST = 200 * 2048, 100
features = Planted(2048)
def peak(count):
    copying = Copying(features, alpha=False)
    read = lambda numbers: features.images(0, numbers)
    (found,) = streams.statistics_of(read, count, [features], PART, watches=[copying.at_training])
    assert found.count == count
    assert len(found.vectors) == 200
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(peak(500), peak(5000))
"""


def test_what_is_held_does_not_grow_with_the_count():
    """Of vectors of 2048 numbers, as Inception's: 4,500 more of them are 37 MB, and are looked at for copies too."""
    run = subprocess.run([sys.executable, "-c", HELD], cwd=ROOT, capture_output=True, text=True, check=True)
    few, many = map(int, run.stdout.split())
    assert many - few < 25


def test_equal_pairs_have_no_end_of_psnr_and_it_is_json():
    fidelity = Fidelity(scores_of(["psnr", "ssim"], (3, 16, 16), lambda: pytest.fail("not asked for"), []))
    images = torch.rand(4, 3, 16, 16)
    fidelity.take(0, images, images)
    figures = fidelity.figures("pairs")
    assert [figure.value for figure in figures] == [float("inf"), pytest.approx(1)]
    found = result.Evaluation("pairs", "themselves", tuple(figures))
    json.loads(found.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert result.Evaluation.from_json(found.to_json()) == found


MISTAKES = {
    "fewer samples than asked": (["--images", "{folder}", "--samples", "41"], "40 images, 41 were asked for"),
    "no such metric": (["{model}", "--metrics", "fd"], 'no "fd"; known: fid'),
    "no such features": (["{model}", "--features", "inceptoin"], 'did you mean "inception"'),
    "own features without a model": (["--images", "{folder}", "--features", "own"], "Name the MODEL"),
    "nothing to measure": ([], "nothing to measure"),
    "other channels": (["--images", "{five}"], "5 channels"),
    "no split": (["{model}", "--against", "held_out", "--data", "{trained}"], "no image is held out"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(name, model, folder, tmp_path, capsys):
    five = write_images(tmp_path / "five", noise(3, (16, 16, 5), 16), ".tif")
    trained = write_images(tmp_path / "trained", noise(3, (16, 16, 3)))
    for path in trained.glob("*.png"):
        if held_out(Record(path.name), DataOptions(held_out=0.4)):
            path.unlink()
    words, said = MISTAKES[name]
    places = {"folder": folder, "model": model, "five": five, "trained": trained}
    words = ["evaluate", "--data", str(folder), "--out", str(tmp_path / "out"), *(w.format(**places) for w in words)]
    assert command(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert said in lines[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/report", "nowhere", "n" * 300, "/proc/report"])
@pytest.mark.parametrize(
    "words",
    ["evaluate --images {f} --data {f}", "compare {f} {f}", "study compression --data {f}",
     "study preference --a {f} --b {f} --no-serve"],
    ids=["evaluate", "compare", "compression", "preference"],
)  # fmt: skip
def test_a_report_that_cannot_be_written_is_told_before_anything_is_done(
    words, place, folder, tmp_path, monkeypatch, capsys
):
    """Else hours of measuring end in an error. Nothing is read or made.

    Places: a file, below one, a link to nowhere, too long a name, and where even root may write nothing.
    """
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for module in ("evaluation.measure.of_images", "evaluation.report.compare", "data.folders.records"):
        monkeypatch.setattr(f"latentry.{module}.read_folder", lambda *_, **__: pytest.fail("read"), raising=False)
    assert command([*words.format(f=folder).split(), "--out", str(tmp_path / place)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --out ")
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("file", "nowhere")] == []


def test_without_weights_the_missing_file_is_named(folder, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(LatentryError, match=r"squeezenet1_1-b8a52dc0\.pth.*begins with b8a52dc0"):
        measure(None, folder, images=folder, features=["squeezenet"])
    with pytest.raises(LatentryError, match=r"4a5350f2.*PSNR, SSIM and the distances go on"):
        perceptual(torch.device("cpu"))
    with pytest.raises(UsageError, match="data: is missing"):
        evaluate(images=folder)

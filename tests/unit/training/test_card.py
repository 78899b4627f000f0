"""If these fail, a model folder does not tell a stranger what it is, where it comes from, or how it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.checkpoints.manifest import verify
from latentry.cli import run as command
from latentry.evaluation.card import minutes_of
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    data = write_images(folder / "my pictures", noise(6, (16, 16, 3)))
    write_metadata(data, [{"text": f"thing {i}", "label": ["red", "green"][i % 2]} for i in range(6)])
    conditioning = {"text": TEXT, "label": {"kind": "class_label", "via": "vector", "width": 8}}
    changes: dict[str, Any] = {"data.text": "text", "data.label": "label", "diffusion.conditioning": conditioning}
    changes |= {"about": "Things.", "licence": "CC BY 4.0, by me", "data.held_out": 0}
    run = run_tiny(folder, data, changes)
    (folder / "figures").write_text(json.dumps(dict(run.figures)))
    return folder


def test_the_card_tells_what_a_stranger_asks(made):
    card = (made / "run" / "model" / "README.md").read_text()
    figures = json.loads((made / "figures").read_text())
    for part in (
        "# tiny\n\nThings.",
        "my pictures, 6 for training",
        "CC BY 4.0, by me",
        "16x16, 3 channels, 8 bit",
        "kl, f = 2, latent 4 x 8 x 8",
        "2 steps of 2 images, 0 minutes, fp32",
        "text (text), label (class_label)",
        "dpmpp_2m, 2 evaluations, guidance 1",
        "Classes: green, red.",
        "![samples](samples.png)",
        *(f"| {name} | {value} |" for name, value in figures.items()),
    ):
        assert part in card
    sheets = made / "run" / "samples" / "diffusion-0000002.png"
    assert (made / "run" / "model" / "samples.png").read_bytes() == sheets.read_bytes()
    assert verify(made / "run" / "model") == []


def test_the_command_on_the_card_works(made, tmp_path):
    card = (made / "run" / "model" / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("latentry sample"))
    assert line == 'latentry sample MODEL "a description" --label "green" -n 4 --out FOLDER'
    model = (made / "run" / "model").rename(made / "elsewhere")
    words = ["sample", str(model), "a description", "--label", "green", "-n", "4", "--out", str(tmp_path / "out")]
    assert command(words) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert lt.load(model).config.name == "tiny"


def test_minutes_count_what_was_trained_twice_once(tmp_path):
    rows: list[dict[str, Any]] = [
        {"stage": "autoencoder", "step": 100, "images_per_second": 10.0},
        {"stage": "autoencoder", "step": 100, "held_out_psnr": 20.0},
        {"stage": "autoencoder", "step": 200, "images_per_second": 5.0},
        {"stage": "diffusion", "step": 60, "images_per_second": 32.0},
    ]
    (tmp_path / "log.jsonl").write_text("\n".join([*map(json.dumps, rows), '{"stage": "diff']))
    found = minutes_of(tmp_path / "log.jsonl", {"autoencoder": 6, "diffusion": 32})
    assert found == {"autoencoder": (60 + 120) / 60, "diffusion": 1.0}
    assert minutes_of(tmp_path / "none", {}) == {}

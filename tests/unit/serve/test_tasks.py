"""If these fail, what the command line and Python can do is not there over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentry.pipeline.record import KEY
from latentry.tasks import TASKS
from tests.unit.pipeline import small_pipelines
from tests.unit.serve.live import Live, as_text, opened, picture

IMAGE = as_text(picture())
BODIES: dict[str, dict[str, Any]] = {
    "generate": {"text": "a red circle", "n": 2},
    "reconstruct": {"images": [IMAGE, IMAGE]},
    "edit": {"text": "a red circle", "to": "a blue square"},
    "inpaint": {"file": IMAGE, "box": [[4, 4, 6, 8]], "n": 2, "resample": 2},
    "outpaint": {"file": IMAGE, "left": 8, "resample": 1, "n": 2},
    "vary": {"file": IMAGE, "strength": 0.5, "n": 2},
    "interpolate": {"seeds": [1, 2], "frames": 2, "label": "star"},
    "colorize": {"file": IMAGE, "model": "grey", "n": 2},
    "upscale": {"images": [as_text(picture(8))], "model": "low", "n": 2},
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task(server: Live, task):
    """Two images each; the files of a request are gone after it."""
    with server.http() as client:
        answer = client.post(f"/v1/tasks/{task}", json=BODIES[task])
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2
    assert not list(server.folder.iterdir())


def test_a_form_asks_the_same_as_json(server: Live):
    """Files as parts, all other options as text."""
    with server.http() as client:
        form = {"n": "1", "strength": "0.5", "seed": "3", "steps": "4"}
        as_form = client.post("/v1/tasks/vary", data=form, files={"file": ("photo.png", picture())})
        as_json = client.post("/v1/tasks/vary", json={"file": IMAGE, "strength": 0.5, "seed": 3, "steps": 4})
    one, other = (np.asarray(opened(answer.json()["data"][0]["b64_json"])) for answer in (as_form, as_json))
    assert np.abs(one.astype(int) - other).max() <= 1


def test_conditions_that_are_arrays_or_boxes(server: Live):
    """Numbers in JSON, or a file; a map has the size of the image."""
    map_ = np.zeros((16, 16), int)
    map_[4:12, 4:12] = 2
    layout = [{"label": "star", "bbox": [0, 0, 0.5, 1]}]
    body = {"semantic": map_.tolist(), "embedding": [[0.1, 0.2, 0.3]], "layout": layout, "seed": 1, "model": "files"}
    with server.http() as client:
        answer = client.post("/v1/tasks/generate", json=body)
    assert answer.status_code == 200, answer.text
    pipe = small_pipelines.pipeline(conditions="files")
    drawn = pipe.sample(semantic=map_, embedding=np.array([[0.1, 0.2, 0.3]], np.float32), layout=layout, seed=1)
    found = np.asarray(opened(answer.json()["data"][0]["b64_json"]))
    assert np.abs(found.astype(int) - np.asarray(drawn.images[0])).max() <= 1


def test_the_picture_says_how_it_was_drawn_and_nothing_of_this_machine(server: Live):
    with server.http() as client:
        told = client.post("/v1/tasks/vary", json={"file": IMAGE, "seed": 3}).json()["data"][0]["b64_json"]
        bare = client.post("/v1/tasks/vary", json={"file": IMAGE, "metadata": False}).json()["data"][0]["b64_json"]
    text = opened(told).info
    assert '"seed":3' in text[KEY]
    assert not any(str(server.folder) in value or "/tmp" in value for value in text.values())
    assert not opened(bare).info


@pytest.mark.parametrize(("guide", "fits"), [("small", True), ("/etc", False), ("nothing", False)])
def test_a_guiding_model_is_one_that_is_served(server: Live, guide, fits):
    with server.http() as client:
        answer = client.post("/v1/tasks/generate", json={"text": "a red circle", "autoguide": guide})
    assert answer.status_code == (200 if fits else 400), answer.text

"""If these fail, forms ask for what models do not take, or jobs hide what they were given and what they draw."""

from __future__ import annotations

import json

from tests.unit.pipeline import small_pipelines
from tests.unit.serve.live import Live, as_text, live, opened, picture, waited
from tests.unit.serve.toy import slow_pipeline


def test_what_conditions_take(server: Live):
    """Names of classes, numbers, factors: all that a form needs to ask only for what is there."""
    with server.http() as client:
        told = {one["id"]: one for one in client.get("/v1/models").json()["data"]}
    names = ["circle", "square", "star"]
    assert told["small"]["takes"] == {
        "text": {"kind": "text"},
        "label": {"kind": "class_label", "names": names, "classes": 3},
    }
    assert told["files"]["takes"] == {
        "semantic": {"kind": "semantic", "classes": 4, "unlabelled": None},
        "embedding": {"kind": "embedding"},
        "layout": {"kind": "layout", "names": ["ring", "star"], "boxes": 2},
    }
    assert told["low"]["takes"] == {"low": {"kind": "image", "factor": 2}}
    assert (told["small"]["multiple"], told["small"]["alpha"]) == (4, False)


def test_a_classifier_gives_its_labels():
    guided = lambda: small_pipelines.pipeline(conditions="text", classifier=True)  # noqa: E731
    with live({"small": guided}) as served, served.http() as client:
        takes = client.get("/v1/models/small").json()["takes"]
    assert takes["label"] == {"kind": "class_label", "names": ["circle", "square", "star"]}


def test_known_names_of_solvers_and_levels(server: Live):
    with server.http() as client:
        properties = client.get("/openapi.json").json()["components"]["schemas"]["GenerateTask"]["properties"]
    assert "dpmpp_2m" in properties["solver"]["examples"]
    assert "karras" in properties["levels"]["examples"]


def test_a_job_gives_back_what_it_was_given(server: Live):
    """To whose it is, byte for byte, as nothing that a browser shows."""
    image = picture(seed=5)
    with server.http("mine") as client, server.http("other") as other:
        job = client.post("/v1/jobs", json={"task": "vary", "file": as_text(image)}).json()
        (path,) = job["inputs"]["file"]
        answer = client.get(path)
        assert answer.content == image
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment"
        assert other.get(path).status_code == 404
        for wrong in ("file/1", "file/-1", "mask/0", "..%2f..%2fjobs.sqlite/0"):
            assert client.get(f"/v1/jobs/{job['id']}/inputs/{wrong}").status_code == 404
        waited(lambda: client.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed")


def test_previews_are_of_all_images_of_a_few(server: Live):
    """Up to four, with the place of the first where they are drawn one after another; a form may ask for them too."""
    shown: dict[int, list[tuple[int, int]]] = {}
    with live({"slow": slow_pipeline}, batch=2) as served, served.http() as client:
        for n in (2, 3):
            job = client.post("/v1/jobs", data={"n": str(n), "steps": "30", "previews": "10"}).json()
            text = client.get(f"/v1/jobs/{job['id']}/events").text
            shown[n] = seen(text)
    assert set(shown[2]) == {(0, 2)}
    assert (2, 1) in shown[3]


def seen(text: str) -> list[tuple[int, int]]:
    """(first, how many) of each preview among events; all are pictures."""
    data = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    previews = [one for one in data if one["type"] == "preview"]
    assert all(opened(image).size == (16, 16) for one in previews for image in one["images"])
    assert all(one["b64_json"] == one["images"][0] for one in previews)
    return [(one["first"], len(one["images"])) for one in previews]

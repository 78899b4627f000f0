"""If these fail, programs written for OpenAI's images API do not work here: this is its official client."""

from __future__ import annotations

import json

import numpy as np
import openai
import pytest
from openai.types.image_edit_completed_event import ImageEditCompletedEvent
from openai.types.image_gen_completed_event import ImageGenCompletedEvent
from openai.types.image_gen_partial_image_event import ImageGenPartialImageEvent
from PIL import Image

from tests.unit.pipeline import small_pipelines
from tests.unit.serve.live import Live, opened, picture, png


def test_it_generates_what_the_pipeline_draws(server: Live):
    """A list of images, of the seed that was asked for and the one after it, with usage."""
    answer = server.client().images.generate(
        model="gpt-image-1", prompt="a red circle", n=2, size="24x16", extra_body={"seed": 5, "steps": 3}
    )
    assert answer.data is not None
    assert answer.usage is not None
    drawn = small_pipelines.pipeline().sample("a red circle", n=2, seed=5, steps=3, size=(16, 24))
    for one, expected in zip(answer.data, drawn.images, strict=True):
        found = opened(one.b64_json)
        assert found.size == (24, 16)
        assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    assert answer.size == "24x16"
    assert answer.usage.input_tokens_details.text_tokens >= 3
    assert answer.usage.output_tokens == 2 * 8 * 12
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert [one.model_extra["seed"] for one in answer.data if one.model_extra] == [5, 6]


def test_without_a_seed_each_image_is_another(server: Live):
    client = server.client()
    found = [client.images.generate(prompt="a red circle", extra_body={"steps": 1}).data for _ in range(2)]
    assert found[0] != found[1]


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_formats(server: Live, kind):
    answer = server.client().images.generate(
        prompt="a red circle", output_format=kind, output_compression=50, quality="low", extra_body={"seed": 1}
    )
    assert answer.data is not None
    assert opened(answer.data[0].b64_json).format == kind.upper()
    assert answer.output_format == kind


def test_it_edits_under_a_mask(server: Live):
    """Transparent is edited, as OpenAI has it; every other pixel is the input's."""
    mask = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (4, 4, 12, 12))
    given = picture()
    answer = server.client().images.edit(
        image=("photo.png", given), mask=("mask.png", png(mask)), prompt="a blue star", extra_body={"seed": 2}
    )
    assert answer.data is not None
    assert answer.usage is not None
    found, before = (np.asarray(one).astype(int) for one in (opened(answer.data[0].b64_json), opened_bytes(given)))
    known = np.asarray(mask)[..., 3] > 0
    assert np.array_equal(found[known], before[known])
    assert (found[~known] != before[~known]).mean() > 0.5
    assert answer.usage.input_tokens_details.image_tokens == 64


def test_it_edits_a_list_and_streams(server: Live):
    """`image[]`, without a mask: the image varied; partial images on the way."""
    stream = server.client().images.edit(
        image=[("photo.png", picture())], prompt="a blue star", stream=True, partial_images=1, extra_body={"seed": 2}
    )
    events = list(stream)
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert isinstance(events[-1], ImageEditCompletedEvent)
    assert opened(events[-1].b64_json).size == (16, 16)


def test_it_streams_partial_images(server: Live):
    stream = server.client().images.generate(
        prompt="a red circle", stream=True, partial_images=3, n=1, extra_body={"seed": 4, "steps": 8}
    )
    *partial, last = list(stream)
    assert [one.partial_image_index for one in partial if isinstance(one, ImageGenPartialImageEvent)] == [0, 1, 2]
    assert isinstance(last, ImageGenCompletedEvent)
    assert last.usage.output_tokens == 64
    drawn = small_pipelines.pipeline().sample("a red circle", seed=4, steps=8).images[0]
    ends = [np.abs(np.asarray(opened(one.b64_json)).astype(int) - np.asarray(drawn)).mean() for one in [*partial, last]]
    assert ends[-1] < 0.1 < ends[0]  # on the way it is not there yet


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_variations(server: Live):
    answer = server.client().images.create_variation(image=("photo.png", picture()), n=2, response_format="b64_json")
    assert answer.data is not None
    assert len(answer.data) == 2


def test_models(server: Live):
    client = server.client()
    assert {model.id for model in client.models.list()} == {"small", "grey", "low", "files"}
    assert client.models.retrieve("gpt-image-1").id == "small"
    assert "/" not in json.dumps([model.model_extra for model in client.models.list()])


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"extra_body": {"stepps": 3}}, "stepps", 'did you mean "steps"'),
        ({"extra_body": {"qualty": "low"}}, "qualty", 'did you mean "quality"'),
        ({"extra_body": {"steps": 10**9}}, "steps", "accepted"),
        ({"extra_body": {"steps": 5000}}, "steps", "at most 1000"),
        ({"n": 1000}, "n", "at most 16"),
        ({"size": "17x16"}, None, "multiple"),
        ({"size": "131072x131072"}, "size", "at most"),
        ({"model": "smal"}, "model", 'did you mean "small"'),
        ({"extra_body": {"solver": "ddin"}}, "solver", 'did you mean "ddim"'),
        ({"background": "transparent"}, "background", "opaque"),
        ({"extra_body": {"label": "sqare"}}, "label", "square"),
    ],
)
def test_a_mistake_is_told_as_openai_tells_it(server: Live, asked, param, words):
    """Status 400 and `{error: {message, type, param, code}}`, which the client reads; the nearest name is told."""
    with pytest.raises(openai.BadRequestError) as error:
        server.client().images.generate(prompt="a red circle", **asked)
    assert words in error.value.message
    assert error.value.type == "invalid_request_error"
    assert error.value.param == param
    assert error.value.code


def opened_bytes(data: bytes) -> Image.Image:
    """A file."""
    import io

    return Image.open(io.BytesIO(data))

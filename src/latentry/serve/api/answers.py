"""Completed tickets as answers: one JSON document, or server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from latentry.serve.apart import aside
from latentry.serve.api.bodies.looks import Look, as_text, encode, preview
from latentry.serve.api.desk import Asked, Desk, disconnected
from latentry.serve.api.edge.errors import problem_of
from latentry.text import number

KEPT = ("seed", "solver", "steps", "guidance", "prompt", "label")
"""What of a picture is told beside it."""
NUMBERS = ("seed", "steps", "guidance")


def usage(asked: Asked) -> dict[str, Any]:
    """Tokens: of the prompt as the model reads it; of images the places of their latents."""
    options, output, facts = asked.ticket.options, asked.ticket.output, asked.facts
    texts = options.get("text")
    words = [one for one in (texts if isinstance(texts, list) else [texts]) if isinstance(one, str)]
    text = sum(map(facts.words, words)) if facts.words else 0
    given = asked.given.get("pixels", 0) // facts.factor**2
    drawn = 0 if output is None else output.tensor[:, 0].numel() // facts.factor**2
    return {
        "input_tokens": text + given,
        "input_tokens_details": {"text_tokens": text, "image_tokens": given},
        "output_tokens": drawn,
        "total_tokens": text + given + drawn,
    }


async def images_of(asked: Asked) -> list[dict[str, Any]]:
    """The images of a completed ticket, encoded, each with its seed and how it was drawn."""
    return await aside(_images, asked)


def _images(asked: Asked) -> list[dict[str, Any]]:
    output, found = asked.ticket.output, list[dict[str, Any]]()
    assert output is not None
    for index, facts in enumerate(output.facts):
        data, kind = encode(output, index, asked.look, asked.private)
        told = {name: _plain(facts[name]) if name in NUMBERS else facts[name] for name in KEPT if name in facts}
        found.append({"b64_json": as_text(data), "output_format": kind, **told})
    return found


def _plain(text: str) -> int | float:
    """A number as JSON has it."""
    whole = number(text)
    return float(text) if whole is None else whole


def _size(asked: Asked) -> str:
    output = asked.ticket.output
    return "auto" if output is None else "{}x{}".format(*output.tensor.shape[:1:-1])


def about(asked: Asked) -> dict[str, Any]:
    """What an answer says of its images besides."""
    background = "opaque" if not asked.facts.alpha or asked.look.background == "opaque" else "transparent"
    return {"background": background, "quality": asked.given.get("quality") or "auto", "size": _size(asked)}


async def whole(request: Request, desk: Desk, asked: Asked) -> dict[str, Any]:
    """The answer once all images are there."""
    try:
        ticket = await desk.result(request, asked)
        images = await images_of(asked)
    except BaseException as error:
        if isinstance(error, Exception):
            raise problem_of(error, asked.private) from error
        raise
    finally:
        asked.drop()
    assert ticket.output is not None
    return {
        "created": int(time.time()),
        "data": images,
        "model": ticket.model,
        "output_format": images[0]["output_format"] if images else asked.look.output_format,
        **about(asked),
        "notes": list(ticket.output.notes),
        "usage": usage(asked),
    }


def event(kind: str, data: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, separators=(',', ':'))}\n\n"


def streamed(request: Request, desk: Desk, asked: Asked, kind: str) -> StreamingResponse:
    """Partial images as they come, then each image by itself. kind: `image_generation` or `image_edit`."""
    return sse(_events(request, desk, asked, kind))


def sse(events: AsyncIterator[str]) -> StreamingResponse:
    """Events as a response that nothing on the way keeps back."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(request: Request, desk: Desk, asked: Asked, kind: str) -> AsyncIterator[str]:
    gone = asyncio.create_task(disconnected(request))
    try:
        async for one in desk.events(asked.ticket, gone):
            if one.images is not None:
                data = await aside(preview, one.images, asked.facts.alpha, partial(asked.look))
                yield event(f"{kind}.partial_image", _told(asked, as_text(data), partial_image_index=one.number))
        if asked.ticket.error is not None:
            raise asked.ticket.error
        if asked.ticket.output is not None:
            for image in await images_of(asked):
                yield event(f"{kind}.completed", _told(asked, **image, usage=usage(asked)))
    except Exception as error:
        yield event("error", problem_of(error, asked.private).body())
    finally:
        gone.cancel()
        asked.drop()


def partial(look: Look) -> Look:
    """How an image on the way is encoded: as the last one, if that is 8 bits of colour."""
    return look.model_copy(update={"metadata": False})


def _told(asked: Asked, b64_json: str, **more: Any) -> dict[str, Any]:
    common = {"created_at": int(time.time()), "output_format": asked.look.output_format, **about(asked)}
    return {"b64_json": b64_json, **common, **more}

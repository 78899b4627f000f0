"""The bodies of requests as OpenAPI describes them: made of the same classes that check them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.solvers import SOLVERS
from latentry.serve.api.bodies.files import ARRAYS, MODELS, is_several, path_fields
from latentry.serve.api.bodies.looks import Look
from latentry.tasks import TASKS
from latentry.tasks.options import TaskOptions

REF = "#/components/schemas/"
FILE = {"type": "string", "format": "byte", "minLength": 4, "description": "The file as base64."}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
EXAMPLES = {"solver": list(SOLVERS), "levels": list(LEVELS)}
"""Of options that are names and more than names."""
STATUS = {
    "400": "What was asked for is not accepted.",
    "401": "A token is needed.",
    "403": "A page of another site asks.",
    "404": "There is no such thing, or it is another's.",
    "405": "Not with this method.",
    "408": "The body did not arrive in time.",
    "409": "It was cancelled, or cannot be done in this state.",
    "413": "The body is too large.",
    "415": "The body is neither JSON nor a form.",
    "421": "Host is no name of this server.",
    "503": "The queue is full, or the server stops: Retry-After says when to ask again.",
    "507": "There is not enough memory for it.",
}


def refusals() -> dict[int | str, dict[str, Any]]:
    """The answers that are errors."""
    content = {"application/json": {"schema": {"$ref": REF + "Error"}}}
    return {status: {"description": text, "content": content} for status, text in STATUS.items()}


def component(model: type[BaseModel]) -> dict[str, Any]:
    """The schemas of a class, by name: its own and those it is made of."""
    schema = model.model_json_schema(ref_template=REF + "{model}", mode="validation")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def task_schema(task: str) -> dict[str, Any]:
    """Of the body of a task: its options class, files as base64, and how the answer is to look."""
    options: type[TaskOptions] = TASKS[task].task.options
    schemas = component(options)
    own = schemas.pop(options.__name__)
    properties = dict(own["properties"])
    for name in path_fields(options):
        told = {**FILE, "description": f"{properties[name].get('description', '')} As base64."}
        properties[name] = {"type": "array", "items": told, "minItems": 1} if is_several(options, name) else told
    for name in ARRAYS:
        if name in properties:
            properties[name] = {"anyOf": [FILE, {"type": "array"}, {"type": "null"}]}
    for name in MODELS:
        if name in properties:
            properties[name] = {"type": ["string", "null"], "description": "The name of a model that is served."}
    for name, known in EXAMPLES.items():
        if name in properties:
            properties[name] = {**properties[name], "examples": known}
    look = component(Look)
    properties |= {"model": {"type": ["string", "null"], "maxLength": 200}, **look.pop("Look")["properties"]}
    body = {"type": "object", "properties": properties, "required": own.get("required", []), **_further(options)}
    return {**schemas, **look, body_name(task): body}


def _further(options: type[TaskOptions]) -> dict[str, Any]:
    return {"additionalProperties": options.model_config.get("extra") == "allow"}


def body_name(task: str) -> str:
    """What the schema of a task's body is called."""
    return f"{task.title().replace('_', '')}Task"


def body_of(name: str, *kinds: str) -> dict[str, Any]:
    """`requestBody` with a schema of the components."""
    content = {kind: {"schema": {"$ref": REF + name}} for kind in kinds or ("application/json", "multipart/form-data")}
    return {"requestBody": {"required": True, "content": content}}

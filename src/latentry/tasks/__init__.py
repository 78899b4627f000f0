"""Tasks: what is asked of a model, apart from how it is computed."""

from latentry.tasks.generate import Request, generate

TASKS = {"generate": generate}

__all__ = ["TASKS", "Request", "generate"]

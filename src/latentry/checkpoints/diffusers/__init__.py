"""Folders of diffusers: read as models of ours, and written so that diffusers computes the same numbers."""

from latentry.checkpoints.diffusers.files import is_diffusers
from latentry.checkpoints.diffusers.read import read
from latentry.checkpoints.diffusers.summary import summary
from latentry.checkpoints.diffusers.write import parts_of, write

__all__ = ["is_diffusers", "parts_of", "read", "summary", "write"]

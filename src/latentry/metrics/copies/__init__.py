"""Nearest training images of samples, and which samples are copies."""

from latentry.metrics.copies.copies import RATE, Copies, Pair
from latentry.metrics.copies.find import find_copies

__all__ = ["RATE", "Copies", "Pair", "find_copies"]

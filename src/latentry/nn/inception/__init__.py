"""Inception of 2015, whose features Fréchet Inception Distance and Inception Score are defined by."""

from latentry.nn.inception.network import Inception

__all__ = ["Inception"]

"""Transformers over token ids, for conditions on text and on layouts."""

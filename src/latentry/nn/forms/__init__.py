"""Layers in other forms, for what computes them."""

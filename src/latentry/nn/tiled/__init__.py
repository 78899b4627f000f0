"""Encoder and decoder on maps that do not fit in memory: each layer over the whole map, window by window."""

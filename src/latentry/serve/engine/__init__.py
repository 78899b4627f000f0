"""Requests in, images out: a bounded, fair queue, and one thread that draws those in flight together."""

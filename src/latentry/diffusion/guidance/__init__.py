"""Guidance: wraps of denoisers. They compose with each other and with every solver; none lives in a model."""

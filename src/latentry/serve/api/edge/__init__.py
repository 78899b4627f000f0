"""What every request meets first: who may ask, how much, and how errors are told."""

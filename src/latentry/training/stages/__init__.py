"""The stages of training: what a step of each one is."""

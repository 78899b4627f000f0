"""A classifier of noisy latents, to guide sampling with."""

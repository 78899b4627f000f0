"""Checkpoints of the published latent diffusion code: its configs, its names, and both ways between it and ours."""

"""Assembled models: the autoencoder, the latent diffusion model, and what binds one to a sampler."""

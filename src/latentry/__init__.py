"""latentry: train, measure and sample latent diffusion models of your own images."""

__version__ = "0.1.0"

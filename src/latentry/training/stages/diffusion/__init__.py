"""The second stage: noise to latents."""

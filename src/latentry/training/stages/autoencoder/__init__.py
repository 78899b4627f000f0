"""The first stage: images to latents and back."""

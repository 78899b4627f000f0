"""Levels that were optimised for four published models, as sigma/alpha of ten steps and of their end.

Source: Sabour et al. 2024, "Align your steps: optimizing sampling schedules in diffusion models", their release.
"""

TABLES = {
    "ays": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "ays_xl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "ays_video": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
    "ays_pixels": (160.41, 8.081, 3.315, 1.885, 1.207, 0.785, 0.553, 0.293, 0.186, 0.030, 0.006),
}
"""Of Stable Diffusion 1.5 (latents, f = 8), of its XL, of Stable Video Diffusion, and of DeepFloyd (pixels)."""

"""The compression study (Rombach et al. 2022, section 4.1): how far the first stage should shrink these images.

For each downsampling factor f a first stage and a denoiser of equal sizes are trained at equal compute, and their
samples measured in the same features. `making` draws the study up, `run` carries out what of it is not done yet,
`report` reads what was found.
"""

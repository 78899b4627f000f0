"""Folders of images to samples, and images to files. No torch.nn here."""

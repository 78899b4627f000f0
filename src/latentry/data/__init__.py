"""Folders of images to samples, and images to files. No torch.nn here.

From a file to a batch: `files` reads one file, `prepare` and `transform` make it fit, `folders` says which files there
are and what the metadata says of them, `dataset` gives samples by position, `loader` batches of them.
"""

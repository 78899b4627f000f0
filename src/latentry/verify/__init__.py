"""A model compared with the published numbers of the code that it comes from."""

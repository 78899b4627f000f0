"""Bodies of requests: what they say, the files in them, how their images are to look, and all of it as OpenAPI."""

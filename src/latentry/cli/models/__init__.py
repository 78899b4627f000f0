"""Commands about one model: what it is, into and out of other formats, checked against published numbers."""

"""In which mode the networks of a pipeline compute."""

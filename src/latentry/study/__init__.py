"""Studies: what trains, samples and compares whole models."""

"""Training runs as they stand on disk, also those of other processes: read from their logs, no model is opened."""

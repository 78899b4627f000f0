"""The one training loop, and what it needs: optimiser, averages, log, signals, processes."""

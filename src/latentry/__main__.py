"""`python -m latentry`, so that `torchrun -m latentry train ...` works."""

from latentry.cli import main

main()

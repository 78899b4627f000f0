"""The program: `latentry`, and `python -m latentry`, so that `torchrun -m latentry train ...` works."""

from latentry import interrupts

interrupts.take()  # before anything else is imported, which takes as long as a hand needs for Ctrl-C

from latentry.cli import main  # noqa: E402

if __name__ == "__main__":
    main()

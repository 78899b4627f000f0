"""Commands about reports that are there."""

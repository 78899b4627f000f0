"""The plan of a run: everything it will do, decided before it begins."""

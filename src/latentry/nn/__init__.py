"""Networks: plain modules with plain tensors in and out. They know no schedule, no file format and no recipe."""

"""What the numbers of files mean, which of them a folder uses, and what is said of that."""

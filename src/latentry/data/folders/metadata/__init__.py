"""What is said of the images in a folder: rows of tables, captions in text files, and the names of their fields."""

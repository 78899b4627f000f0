"""What lies in a data folder: its images, what the metadata says of each, and what is wrong with them."""

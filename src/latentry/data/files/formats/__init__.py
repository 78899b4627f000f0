"""One file for each format, beside `tiff`; `images` chooses among them by the first bytes."""

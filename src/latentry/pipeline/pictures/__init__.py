"""What is written of the images that were drawn, besides their pixels: large files, boxes, words."""

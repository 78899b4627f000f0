"""What tasks read from files: images, masks, layouts, maps."""

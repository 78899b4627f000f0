"""One file to numbers and back: image formats, class maps, arrays. Nothing here knows of a data folder."""

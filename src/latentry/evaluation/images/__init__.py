"""Images by number: of folders, as a model reads them, and what a model makes."""

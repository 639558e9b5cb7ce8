"""Pictures as files, and as a model takes them."""

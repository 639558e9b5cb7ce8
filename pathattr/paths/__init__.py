"""Where a path goes: the order of components, how they open, where it starts, and paths that choose their way."""

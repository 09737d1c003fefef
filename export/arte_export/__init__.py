"""A model folder in, device files out. Imports nothing of `arte`."""

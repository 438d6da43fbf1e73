"""Hooks that put a green list into what a server samples."""

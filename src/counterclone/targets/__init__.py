"""What is asked: a Python callable, an HTTP API, or either behind policies."""

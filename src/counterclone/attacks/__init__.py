"""Published attacks, one a file: how a model is copied through its answers."""

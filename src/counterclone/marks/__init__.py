"""One mark a file: what gives a copy away."""

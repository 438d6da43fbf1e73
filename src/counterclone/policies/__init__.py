"""Release policies, one a file: what leaves."""

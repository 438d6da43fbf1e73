"""What must hold for any bytes, and the search for bytes for which it doesn't: `python -m fuzz --help`."""

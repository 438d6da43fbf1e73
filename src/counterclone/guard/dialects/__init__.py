"""Wire formats, one a file: bytes to queries and answers, and back."""

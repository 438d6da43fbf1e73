"""Statistics that copiers and honest accounts differ in, one a file."""

"""Results as terminal tables and HTML pages."""

from counterclone.report.page import Figure, Table, print_table, write_html

__all__ = ["Figure", "Table", "print_table", "write_html"]

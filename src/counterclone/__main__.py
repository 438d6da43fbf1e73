"""`python -m counterclone`."""

from counterclone.cli import main

main()

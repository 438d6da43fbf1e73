"""Admission rules, one a file: what comes in."""

"""Formats that say whose samples they are."""

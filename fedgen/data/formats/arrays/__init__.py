"""Formats of plain arrays."""

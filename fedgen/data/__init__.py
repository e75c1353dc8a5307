"""Data sets, and who holds what of them; NumPy only."""

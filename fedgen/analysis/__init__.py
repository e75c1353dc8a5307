"""What a run comes to, and what may be claimed of it."""

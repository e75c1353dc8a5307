"""What every client of a run learns by: the loss, and how weights step; no message decides it."""

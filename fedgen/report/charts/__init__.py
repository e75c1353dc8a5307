"""Charts of a run, a kind per file; each with its text and its data as a table."""

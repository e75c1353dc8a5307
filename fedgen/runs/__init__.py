"""A run on disk: its directory, rows, costs, shards and checkpoints."""

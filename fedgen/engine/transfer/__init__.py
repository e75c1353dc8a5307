"""Models that begin from what others have learned: weights from a file, layers that stay."""

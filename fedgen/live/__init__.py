"""Runs as they are played, looked at by way of their directories alone."""

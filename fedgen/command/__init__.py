"""What the command line takes and prints beside its commands."""

"""The pure parts that every strategy stands on."""

"""The only places that write, own and read files."""

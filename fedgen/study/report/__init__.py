"""A study as people look at it: panels, page and terminal."""

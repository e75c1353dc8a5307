"""One tree of settings: sections, their checks, and their forms in files and flags."""

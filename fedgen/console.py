"""Lines on stderr, and times as people say them."""

import sys


def duration(seconds: float) -> str:
    """Return a time as people say it: 0:42, 3:05, 2:10:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(text: str) -> str:
    """Return a text whose control characters are written out: none of them reaches a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def note(text: str) -> None:
    """Print a line on stderr."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a loud line on stderr."""
    print(f"!!! {text}", file=sys.stderr, flush=True)

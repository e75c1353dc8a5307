"""Readers of the formats that data come in; each returns what it finds as ``fedgen.data.raw``."""

from fedgen.data.formats.found import FORMATS, OPTIONS, Format, read, tell

__all__ = ["FORMATS", "OPTIONS", "Format", "read", "tell"]

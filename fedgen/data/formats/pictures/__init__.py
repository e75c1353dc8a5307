"""Formats of encoded images: PNG, JPEG, TIFF and what else Pillow reads."""

"""A page as a reader sees it who opens everything: what is packed, unpacked."""

import base64
import gzip
import re

PACKED = re.compile('<script type="application/gzip" class="packed">(.*?)</script>')


def unpacked(page: str) -> str:
    return PACKED.sub(lambda found: gzip.decompress(base64.b64decode(found[1])).decode(), page)

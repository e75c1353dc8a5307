"""What fuzz tests share: files that somebody damaged, and how they may be answered."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from fedgen.data.raw import Raw
from fedgen.errors import InputError


def one_line(error: InputError) -> None:
    assert error.line and "\n" not in error.line


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes changed, a part cut out, or a part repeated."""
    place = st.integers(0, max(0, len(content) - 1))

    def change(edits: list[tuple[int, int]], cut: tuple[int, int], again: bool) -> bytes:
        changed = bytearray(content)
        for where, value in edits:
            changed[where] = value
        first, last = sorted(cut)
        part = bytes(changed[first:last])
        return bytes(changed) + part if again else bytes(changed[:first] + changed[last:])

    edits = st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)
    nothing = place.map(lambda where: (where, where))
    return st.builds(change, edits, st.tuples(place, place) | nothing, st.booleans())


def read_or_refuse(read: Callable[[Path], Raw], path: Path) -> None:
    """Read a file, which gives plain arrays or one line that names it."""
    try:
        found = read(path)
    except InputError as error:
        one_line(error)
        assert str(path.parent) in str(error)
        return
    for split in (found.train, found.test, found.validation):
        if split is not None:
            assert split.x.dtype.kind in "biufc" and split.y.dtype.kind in "biufcU"
            assert split.client is None or split.client.dtype.kind in "biufcUS"

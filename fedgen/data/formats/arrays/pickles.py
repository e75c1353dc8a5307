"""Pickles of the Python archives of CIFAR, read without unpickling them.

A pickle is a program. Here its instructions are told apart by ``pickletools`` and those that build
dicts, lists, text, integers and arrays of bytes are followed, by this module and on a stack of its
own; any other is refused. So nothing is imported, called or allocated on a file's word.
"""

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = {"INT", "LONG", "BININT", "BININT1", "BININT2"}
_TEXTS = {
    *("SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES"),
    *("SHORT_BINUNICODE", "BINUNICODE", "STRING", "UNICODE"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

_DTYPE, _NDARRAY = "numpy dtype", "numpy ndarray"
_ARRAYS = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
"""What makes an array that a state is given to afterwards."""


class Refused(ValueError):
    """A pickle that does more than build plain data."""


@dataclass(frozen=True)
class _Name:
    """Stands for what a pickle would import."""

    name: str


@dataclass
class _Dtype:
    """Stands for a dtype; its byte order and fields are passed over, as bytes have neither."""

    name: object


@dataclass
class _Array:
    """Stands for an array that is being built."""

    state: Any = None

    def array(self) -> NDArray[np.uint8]:
        """Return the array.

        Raises:
            Refused: If it is not one of bytes, or of another size than it says.
        """
        try:
            _, shape, dtype, fortran, content = self.state
            if isinstance(content, str):  # Python 2 has one type for text and bytes
                content = content.encode("latin-1")
            plain = dtype.name == "u1" and min(shape) >= 0
            if not plain or math.prod(shape) != len(content):
                raise Refused("an array in it is not one of bytes")
            flat = np.frombuffer(content, np.uint8)
            return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
        except (TypeError, ValueError, AttributeError) as error:
            raise Refused("an array in it is not one of bytes") from error


def read(content: bytes) -> dict[str, Any]:
    """Return what a pickle holds: text, integers, lists and arrays of bytes, by text.

    Args:
        content: The pickle: a dict.

    Raises:
        Refused: If it holds, or does, anything but the archives' own.
    """
    try:
        found = _follow(content)
    except Refused:
        raise
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise Refused(f"it is damaged: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise Refused("it holds no dict")
    return {_text(key): _plain(value) for key, value in found.items()}


def _follow(content: bytes) -> Any:
    """Follow a program to its end, and return what is on top of the stack then.

    Raises:
        Refused: At the first instruction that does more than build plain data.
        ValueError: And others of ``read``, where it is none that could run.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        if name in _NUMBERS or name in _TEXTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument or 0])
        elif name in ("APPEND", "APPENDS"):
            values = marked() if name == "APPENDS" else [stack.pop()]
            _top(stack, list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            keys = map(_text, values[::2])
            _top(stack, dict).update(zip(keys, values[1::2], strict=True))
        elif name == "DICT":
            values = marked()
            stack.append(dict(zip(map(_text, values[::2]), values[1::2], strict=True)))
        elif name == "LIST":
            stack.append(marked())
        elif name == "TUPLE":
            stack.append(tuple(marked()))
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            asked = argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"
            stack.append(_known(str(asked)))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_make(stack.pop(), arguments))
        elif name == "BUILD":
            state, built = stack.pop(), stack[-1]
            if isinstance(built, _Array):
                built.state = state
            elif not isinstance(built, _Dtype):
                raise Refused("it changes what is no array")
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"it has the instruction {name}")
    return stack.pop()


def _top(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise Refused(f"it fills what is no {kind.__name__}")
    return stack[-1]


def _known(name: str) -> _Name:
    if name not in (_DTYPE, _NDARRAY, *_ARRAYS):
        raise Refused(f"it asks for {name.replace(' ', '.')}"[:80])
    return _Name(name)


def _make(asked: object, arguments: Any) -> _Dtype | _Array:
    if asked == _Name(_DTYPE):
        return _Dtype(arguments[0])
    if isinstance(asked, _Name) and asked.name in _ARRAYS:
        return _Array()
    raise Refused("it calls what makes no array")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise Refused(f"it has a {type(value).__name__.strip('_')} for a name")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.array()
    if not isinstance(value, (list, bytes, str, int)):
        raise Refused(f"it holds a {type(value).__name__.strip('_')}")
    return value

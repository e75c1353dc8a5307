"""How long an engine has compiled, which is no fault of the client that first needs a program."""

import threading
import time
from collections.abc import Callable
from typing import Any


class Compiling:
    """The seconds in which anything was compiled, in one thread or in several at once."""

    def __init__(self) -> None:
        self._change = threading.Lock()  # guards what follows
        self._closed = 0.0
        self._open = 0
        self._since = 0.0
        self._called: set[Any] = set()

    @property
    def seconds(self) -> float:
        """Seconds so far, those of what is being compiled now included."""
        with self._change:
            return self._closed + (time.perf_counter() - self._since if self._open else 0.0)

    def call(self, function: Callable[..., Any], key: Any, *arguments: Any) -> Any:
        """Call a function; the first call with a key is one that compiles."""
        with self._change:
            known = (function, key) in self._called
            if not known and not self._open:
                self._since = time.perf_counter()
            self._open += not known
        if known:
            return function(*arguments)
        try:
            return function(*arguments)
        finally:
            with self._change:
                self._called.add((function, key))
                self._open -= 1
                if not self._open:
                    self._closed += time.perf_counter() - self._since

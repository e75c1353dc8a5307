"""Strategies and models of a user's own, named as ``module:attribute``.

The module is imported as any other: installed, on ``PYTHONPATH``, or in the working directory.
It is imported when something is trained, never to read or to draw a run. A module whose source
has changed since this process imported it is imported anew; what a name stands for is told by
``code_of``, the hash of that source and of all modules of the user's that it imports.
"""

import ast
import csv
import hashlib
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache, partial
from importlib import import_module, reload
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from importlib.util import cache_from_source, find_spec
from pathlib import Path, PurePosixPath
from types import CodeType
from typing import Any

from fedgen.errors import InputError
from fedgen.files import disk

OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
"""How the name of what is a user's own looks."""

FORM = "MODULE:NAME"
"""The same, for people."""

SESSION = "__main__"
"""The module of what a notebook or a script defines; other processes cannot import it."""

_given: dict[str, Any] = {}
_imported: dict[str, str] = {}


def is_own(name: str) -> bool:
    """Whether a name is one of a user's own, and not one of fedgen's."""
    return OWN.fullmatch(name) is not None


def give(made: Callable[..., Any], taken: Collection[str] = ()) -> str:
    """Return the name under which a function or class that is at hand is found in this process.

    Args:
        made: The function or class.
        taken: Names that stand for others.

    One that its module has under its name goes by that, and other processes find it as well; one
    of a notebook, a function inside of another or a lambda is ``__main__:NAME`` from now on.
    """
    named = made.func if isinstance(made, partial) else made
    module = getattr(made, "__module__", SESSION)
    name = getattr(named, "__qualname__", type(named).__qualname__)
    there = getattr(sys.modules.get(module), name, None) is made
    if module != SESSION and there and is_own(f"{module}:{name}"):
        return f"{module}:{name}"
    short = re.sub(r"\W", "", name.rpartition(".")[2], flags=re.ASCII).lstrip("0123456789")
    names = (f"{SESSION}:{short or 'unnamed'}{number}" for number in ("", *range(2, 1000)))
    free = next(name for name in names if name not in taken)
    _given[free] = made
    return free


def code_of(name: str) -> str:
    """Return the SHA-256 of the code behind a name of a user's own; "" for fedgen's names.

    Nothing of it is run. It is of the module's source and of every module that it imports from
    where users keep theirs, that is outside of the installed packages. Of what was defined in a
    notebook or script, it is of the compiled code and of the values that a function closes over.

    Raises:
        InputError: If the module is not there.
    """
    module, _, attribute = name.partition(":")
    if not is_own(name):
        return ""
    total = hashlib.sha256(name.encode())
    if module == SESSION:
        found = _given.get(name) or getattr(sys.modules[SESSION], attribute, None)
        for part in _code(found):
            total.update(part)
        return total.hexdigest()
    _look_here()
    paths = list(_sources(module, set()))
    if not paths and _spec(module) is None:
        raise InputError(
            f"{name!r}: module {module!r} is not in {os.getcwd()} or on the Python path"
        )
    for path in paths:
        total.update(_hash(path).encode())
    return total.hexdigest()


def strategy(name: str) -> type[Any]:
    """Return the strategy class of a user's own.

    Raises:
        InputError: If it cannot be imported, or is no subclass of ``strategies.fedavg.FedAvg``.
    """
    from strategies.fedavg import FedAvg

    found = _load("strategy", name)
    if not (isinstance(found, type) and issubclass(found, FedAvg)):
        raise InputError(
            f"strategy {name!r}: expected a subclass of strategies.fedavg.FedAvg, "
            f"received {type(found).__name__} {getattr(found, '__name__', found)!r}"
        )
    return found


def model(name: str) -> Callable[[tuple[int, ...], int], Any]:
    """Return the function of a user's own that makes a model.

    It takes a sample's shape, as (height, width, channels) of images or (length,) of tokens, and
    the number of classes, and returns Keras layers, the last one with a logit per class; or one
    Keras model.

    Raises:
        InputError: If it cannot be imported, or cannot be called.
    """
    found = _load("model", name)
    if not callable(found) or hasattr(found, "get_config"):  # a model, and none that is made anew
        raise InputError(
            f"model {name!r}: expected a function (shape, classes) that returns Keras layers, "
            f"received {type(found).__name__}"
        )
    made: Callable[[tuple[int, ...], int], Any] = found
    return made


def metric(name: str) -> Callable[[Any, Any], float]:
    """Return the function of a user's own that measures scores.

    Raises:
        InputError: If it cannot be imported, or cannot be called.
    """
    found = _load("metric", name)
    if not callable(found):
        raise InputError(
            f"metric {name!r}: expected a function (y, scores) that returns a number, received "
            f"{type(found).__name__}"
        )
    made: Callable[[Any, Any], float] = found
    return made


def augmentation(name: str) -> Callable[[tuple[int, ...]], Any]:
    """Return the function of a user's own that makes layers of augmentation.

    It takes an image's shape (height, width, channels), and returns Keras layers.

    Raises:
        InputError: If it cannot be imported, or cannot be called.
    """
    found = _load("augmentation", name)
    if not callable(found) or hasattr(found, "get_config"):
        raise InputError(
            f"augmentation {name!r}: expected a function (shape) that returns Keras layers, "
            f"received {type(found).__name__}"
        )
    made: Callable[[tuple[int, ...]], Any] = found
    return made


def _load(what: str, name: str) -> Any:
    if name in _given:
        return _given[name]
    module, _, attribute = name.partition(":")
    _look_here()
    try:
        return getattr(_fresh(module), attribute)
    except AttributeError as error:
        lost = (
            "; what a notebook or script defines, other processes do not find: put it in a module"
        )
        raise InputError(f"{what} {name!r}: {error}{lost * (module == SESSION)}") from error
    except (Exception, SystemExit) as error:  # whatever a user's own module does when imported
        raise InputError(
            f"{what} {name!r}: module {module!r} cannot be imported from {os.getcwd()} or the "
            f"Python path ({type(error).__name__}: {error})"
        ) from error


def _look_here() -> None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # the command `fedgen` does not look there
        sys.path.insert(0, here)


def _fresh(name: str) -> Any:
    """Import a module, and anew if its source, or that of a module that it imports, has changed."""
    known = set(sys.modules)
    module = import_module(name)
    if name == SESSION:
        return module
    origins = {getattr(known, "__file__", None): part for part, known in sys.modules.items()}
    parts = {origins[str(path)]: path for path in _sources(name, set()) if str(path) in origins}
    found = {part: _hash(path) for part, path in parts.items()}
    for part, path in parts.items():
        if part not in _imported and (part not in known or _is_compiled(path)):
            _imported[part] = found[part]
    if all(_imported.get(part) == content for part, content in found.items()):
        return module
    for part in parts:  # what is imported comes before what imports it
        cached = getattr(sys.modules[part], "__cached__", None)
        if cached:  # it stands for every source of its size and second
            Path(cached).unlink(missing_ok=True)
        reload(sys.modules[part])
    _imported.update(found)  # not before all of it could be imported
    return sys.modules[name]


def _is_compiled(path: Path) -> bool:
    """Whether a source is as it was when Python last compiled it: by its size and second.

    It was imported by somebody else then, and what was compiled is what this process has.
    """
    try:
        with open(cache_from_source(str(path)), "rb") as stream:
            header = stream.read(16)
        found = path.stat()
    except OSError:
        return False
    seconds, size = (int.from_bytes(header[i : i + 4], "little") for i in (8, 12))
    flags = int.from_bytes(header[4:8], "little")
    return (flags, seconds, size) == (0, int(found.st_mtime) & 0xFFFFFFFF, found.st_size)


def _hash(path: Path) -> str:
    return _read(path, disk.stamp(path))[0]


@lru_cache(maxsize=256)
def _read(path: Path, stamp: disk.Stamp) -> tuple[str, tuple[tuple[int, str, str], ...]]:
    """Return a source's hash and imports; every client that trains asks for them.

    An import is its level (dots), the module, and a name from it; a name alone has no module.
    """
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        tree = ast.Module([], [])  # importing it says so
    found: list[tuple[int, str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, "", alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or "", alias.name) for alias in node.names]
    return hashlib.sha256(content).hexdigest(), tuple(found)


def _sources(name: str, seen: set[str]) -> Iterator[Path]:
    """Yield the files of a user's module and of those that it imports, these first; import none."""
    seen.add(name)
    spec = _spec(name)
    if spec is None or spec.origin is None or not spec.has_location:
        return
    path = Path(spec.origin)
    if path.suffix != ".py" or _is_installed(path):
        return
    for part in _imports(path, spec.parent or ""):
        if part not in seen:
            yield from _sources(part, seen)
    yield path


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages that it is in, as ``find_spec`` would."""
    top, *parts = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    for number, _ in enumerate(parts, 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        if spec.origin and _is_installed(Path(spec.origin)):
            return spec  # whatever is in it is installed as well
        full = ".".join([top, *parts[:number]])
        spec = PathFinder.find_spec(full, list(spec.submodule_search_locations))
    return spec


def _imports(path: Path, package: str) -> Iterator[str]:
    _, found = _read(path, disk.stamp(path))
    for level, module, name in found:
        above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
        parts = [*above, *(module.split(".") if module else []), *name.split(".")]
        # importing a.b.c imports a and a.b as well
        yield from (".".join(parts[:number]) for number in range(1, len(parts) + 1))


def _is_installed(path: Path) -> bool:
    """Whether a file is Python's, a package's or fedgen's own, and not a user's."""
    here = Path(__file__).parents[2]
    ours = [here / "fedgen", here / "strategies", Path(sysconfig.get_path("stdlib"))]
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    if any(path.is_relative_to(folder) for folder in ours):
        return True
    roots = (Path(entry).absolute() for entry in sys.path)
    return any(path.relative_to(r).parts[0] in _put_there(r) for r in roots if r in path.parents)


@lru_cache
def _put_there(folder: Path) -> frozenset[str]:
    """Return what pip has put into a folder that is not called site-packages (``--target``)."""
    records = (found.read_text("RECORD") for found in distributions(path=[str(folder)]))
    lines = (line for record in records if record for line in record.splitlines())
    return frozenset(PurePosixPath(row[0]).parts[0] for row in csv.reader(lines) if row)


def _code(made: Any) -> Iterator[bytes]:
    if isinstance(made, type):
        for key, value in sorted(vars(made).items()):
            yield key.encode()
            yield from _code(value)
        return
    if isinstance(made, partial):
        yield from _code(made.func)
        yield repr((made.args, sorted(made.keywords.items()))).encode()
        return
    if inspect.ismethod(made):
        yield from _code(made.__func__)
        made = made.__self__
    function = inspect.unwrap(made) if callable(made) else made
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        yield from _instructions(code)
        for cell in getattr(function, "__closure__", None) or ():
            yield repr(cell.cell_contents).encode()
    elif type(made).__module__ != "builtins" and hasattr(made, "__dict__"):  # a user's instance
        yield from _code(type(made))
        yield repr(sorted(vars(made).items())).encode()
    else:
        yield repr(made).encode()


def _instructions(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
        else:
            yield repr(constant).encode()

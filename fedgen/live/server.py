"""The server of watched runs: on this machine alone, and only to be read.

It asks nothing of a run: all that it tells stands in the run directory. A page gets what has
changed by server-sent events (HTML Living Standard, section 9.2), so it goes on by itself where a
run, this server or the browser's connection comes back.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from urllib.parse import quote

import uvicorn
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fedgen.errors import InputError
from fedgen.files import disk
from fedgen.live import page
from fedgen.live.page import Parts
from fedgen.live.states import Rows, State, called, read, read_rows, runs_in
from fedgen.runs.directory import CONFIG
from fedgen.runs.run import Run
from fedgen.runs.shard import SHARDS
from fedgen.runs.watch import NOW

HOST = "127.0.0.1"

LOOK = 1.0
"""Seconds between two looks at a directory."""

REST = 5
"""How many times as long as it took to read and draw rows is waited before they are read again."""

Stamps = Mapping[Path, disk.Stamp]
"""What changes when files do, by file."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data: blob:; frame-ancestors 'none'"
)


@dataclass
class _Known:
    """What is known of a run: its state, its rows, and until when they will do."""

    lock: Lock = field(default_factory=Lock)
    stamps: Stamps = field(default_factory=dict)
    state: State | None = None
    of_rows: Stamps | None = None
    rows: Rows | None = None
    until: float = 0.0


class Reader:
    """Reads runs, each again only when its files have changed.

    Args:
        folder: A directory of runs, or a run.
        clock: Tells seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._runs: dict[Path, _Known] = {}

    def paths(self) -> dict[str, Path]:
        """Return the runs there are, by name; none where the directory is gone."""
        try:
            found = {called(path): path for path in runs_in(self._folder)}
        except (InputError, OSError):
            found = {}
        for path in list(self._runs):
            if path not in found.values():
                self._runs.pop(path, None)
        return found

    def state(self, path: Path) -> State:
        """Return a run's state; rows that take long to read may be some seconds old."""
        known = self._runs.setdefault(path, _Known())
        with known.lock:
            return self._state(path, known)

    def _state(self, path: Path, known: _Known) -> State:
        stamps = _stamps(path)
        if known.state is None or known.stamps != stamps:
            state = read(path, lambda run: self._rows(run, known))
            current = known.of_rows is None or known.of_rows == _of_rows(stamps)
            known.state, known.stamps = state, stamps if current else {}
        return known.state

    def _rows(self, run: Run, known: _Known) -> Rows | None:
        now, stamps = self._clock(), _of_rows(_stamps(run.path))
        if known.of_rows is None or (known.of_rows != stamps and now >= known.until):
            known.rows, known.of_rows = read_rows(run), stamps
            self._rest(known, now)
        return known.rows

    def _rest(self, known: _Known, began: float) -> None:
        now = self._clock()
        known.until = max(known.until, now) + REST * (now - began)

    def listing(self) -> Parts:
        """Return what the list of runs shows."""
        if not self._folder.is_dir():
            return Parts({"runs": "<p>The directory is gone.</p>"}, {})
        return page.listing([self.state(path) for path in self.paths().values()], time.time())

    def following(self, path: Path) -> Parts:
        """Return what the page of a run shows."""
        known = self._runs.setdefault(path, _Known())
        with known.lock:
            state, began = self._state(path, known), self._clock()
            parts = page.following(state, time.time())
            self._rest(known, began)
            return parts


def _stamps(path: Path) -> Stamps:
    """Return what changes when a run does."""
    told = (path / CONFIG, path / "rounds.csv", path / "summary.json")
    shards = (file for file in (path / SHARDS).glob("*/*") if not file.name.startswith("."))
    return {file: disk.stamp(file) for file in (*told, *shards)}


def _of_rows(stamps: Stamps) -> Stamps:
    return {file: stamp for file, stamp in stamps.items() if file.name != NOW}


def app(folder: Path, stopping: Callable[[], bool] = lambda: False) -> Starlette:
    """Return the pages of a directory of runs, or of a run.

    Args:
        folder: The directory; it is looked at again and again.
        stopping: Whether the server is about to end, so that events must.
    """
    reader = Reader(folder)

    def home(request: Request) -> Response:
        return _html(page.shell(f"Runs in {folder}", "/events", ("runs",), up=False))

    def one(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in reader.paths():
            return PlainTextResponse(f"no run {name} in {folder}\n", 404)
        ids = ("status", "ranking", "arms")
        return _html(page.shell(name, f"/runs/{quote(name, safe='')}/events", ids, up=True))

    def events(request: Request) -> Response:
        return _stream(reader.listing, stopping)

    def events_of_one(request: Request) -> Response:
        name = request.path_params["name"]
        path = reader.paths().get(name)
        if path is None:
            return PlainTextResponse(f"no run {name} in {folder}\n", 404)
        return _stream(lambda: reader.following(path), stopping)

    return Starlette(
        routes=[
            Route("/", home),
            Route("/events", events),
            Route("/runs/{name}", one),
            Route("/runs/{name}/events", events_of_one),
            Route("/watch.css", lambda _: Response(page.SHEET, media_type="text/css")),
            Route("/watch.js", lambda _: Response(page.FOLLOW, media_type="text/javascript")),
            Route("/plotly.js", lambda _: Response(get_plotlyjs(), media_type="text/javascript")),
        ],
        # Another site's page must not read runs by a name that it points to this machine.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def _html(text: str) -> Response:
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


def _stream(parts: Callable[[], Parts], stopping: Callable[[], bool]) -> Response:
    return StreamingResponse(
        _changes(parts, stopping),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _changes(parts: Callable[[], Parts], stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield what has changed since the last look, or a comment that keeps the connection."""
    yield "retry: 1000\n\n"
    sent = Parts({}, {})
    while not stopping():
        found = await run_in_threadpool(parts)
        html, charts = changed(found.html, sent.html), changed(found.charts, sent.charts)
        if html or charts or found.charts.keys() != sent.charts.keys():
            names = json.dumps([*found.charts])
            drawn = ", ".join(f"{json.dumps(name)}: {chart}" for name, chart in charts.items())
            told = f'{{"html": {json.dumps(html)}, "names": {names}, "charts": {{{drawn}}}}}'
            yield f"data: {told}\n\n"
        else:
            yield ":\n\n"
        sent = found
        await asyncio.sleep(LOOK)


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return the entries that are new, or others than before."""
    return {name: text for name, text in now.items() if before.get(name) != text}


@dataclass(frozen=True)
class Watching:
    """A server that is about to serve.

    Attributes:
        address: Where a browser finds it.
        serve: Serves until it is interrupted or told to end.
        end: Tells it to end.
    """

    address: str
    serve: Callable[[], None]
    end: Callable[[], None]


def watching(folder: Path, port: int) -> Watching:
    """Return a server of a directory of runs, its port taken.

    Args:
        folder: A directory of runs, or a run.
        port: Its port on this machine; 0 for any that is free.

    Raises:
        InputError: If there is no such directory, or the port cannot be had.
    """
    found = runs_in(folder)
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: expected 0 to 65535, 0 for any that is free")
    try:
        door = socket.create_server((HOST, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InputError(
            f"--port {port}: cannot be had ({why}); name another, or 0 for any"
        ) from error
    config = uvicorn.Config(
        app(folder, lambda: server.should_exit), log_level="warning", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    address = f"http://{HOST}:{door.getsockname()[1]}/"
    if found == [folder]:
        address += f"runs/{quote(called(folder), safe='')}"

    def end() -> None:
        server.should_exit = True

    return Watching(address, lambda: server.run(sockets=[door]), end)

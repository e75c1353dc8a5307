"""Who is in the lanes: clients enter, are advanced a chunk at a time, and leave.

There is no thread that serves: of those who wait for their jobs one leads, and advances all of
them until its own is done; then another one does. So nothing runs when nobody waits.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from fedgen.engine.compiling import Compiling
from fedgen.engine.jax.program import Lanes, OfTiles, Program, Rows
from fedgen.engine.jax.schedule import Chunk, Tiles, Waiting, fill
from fedgen.engine.rules.rule import Rule

SECONDS = 0.1
"""How long a chunk should take: deadlines, interrupts and newcomers are looked at in between."""

ROWS = 16
"""Rows of a chunk at most."""

PLACES = 8192
"""Samples of a row at most, if few tiles are not more: what they take of memory is bounded."""

Kind = tuple[type[Rule] | None, tuple[str, ...]]
"""What all who are in one bank share: their rule, ``None`` for the optimiser alone, and what they
are given values for beside rate and batch size."""


class Job:
    """One local training on its way through a lane.

    Args:
        entry: The arguments of ``Program.enter``.
        parts: Its tiles.
        epochs: How many epochs.
        until: When to stop at the latest, by the engine's clock.

    Attributes:
        losses: Summed losses of every epoch, float64 of shape (epochs,).
        hits: How many samples were right in every epoch.
        left: What its lane held at the end; ``None`` if it was stopped before.
        error: What ended all jobs.
        turn: Set when it is done, or when its caller is to go on with everybody's work.
    """

    def __init__(
        self, entry: tuple[Any, ...], parts: Sequence[Tiles], epochs: int, until: float
    ) -> None:
        self.entry = entry
        self.parts = deque(parts)
        self.position = 0
        self.steps = sum(int((part.number == 0).sum()) for part in parts)
        self.until = until
        self.losses, self.hits = np.zeros(epochs), np.zeros(epochs)
        self.left: Lanes | None = None
        self.error: Exception | None = None
        self.done = False
        self.turn = threading.Event()

    def end(self, left: Lanes | None = None, error: Exception | None = None) -> None:
        """Let the caller have what there is."""
        self.left, self.error, self.done = left, error, True
        self.turn.set()


@dataclass(frozen=True)
class _Sent:
    """A chunk that the device was given, and whose numbers are not read yet."""

    chunk: Chunk
    jobs: Mapping[int, Job]
    measured: tuple[Any, ...]
    leaving: Mapping[int, Lanes]
    since: float


class Bank:
    """Lanes on the device for one kind of training, and who is in them; for one thread at a time.

    Args:
        program: What is compiled.
        lanes: How many lanes.
        tiles: How many tiles a row may have, in ascending order; the fewest that do are taken.
        compiling: Is told what is compiled.
        ahead: Chunks that the device is given before the numbers of the first are read.
    """

    def __init__(
        self,
        program: Program,
        lanes: int,
        tiles: Sequence[int],
        compiling: Compiling,
        ahead: int,
    ) -> None:
        self._unfinished: set[Job] = set()
        self._waiting: deque[Job] = deque()
        self._program = program
        self._count = lanes
        self._tiles = tiles
        self._call = compiling.call
        self._ahead = ahead
        self._jobs: dict[int, Job] = {}
        self._sent: deque[_Sent] = deque()
        self._at_most = tiles[0]
        self._turn = 0
        self._served: Counter[int] = Counter()
        self._lanes: Lanes | None = None
        self._advance = jax.jit(program.advance, donate_argnums=0)
        self._enter = jax.jit(partial(_enter, program), donate_argnums=0)
        self._leave = jax.jit(_lane)

    @property
    def busy(self) -> bool:
        """Whether anybody is waiting for anything."""
        return bool(self._unfinished)

    def make_room(self) -> None:
        """Give up the lanes, which are made again for the next job; not while anybody is in one."""
        if not self.busy:
            self._lanes = None

    @property
    def has_lanes(self) -> bool:
        """Whether there is room for its lanes on the device."""
        return self._lanes is not None

    def put(self, job: Job) -> None:
        """Let a job wait for a lane; nothing is done for one that has ended."""
        if not job.done:
            self._unfinished.add(job)
            self._waiting.append(job)

    def advance(self, images: Any, labels: Any, now: float, stopped: bool) -> None:
        """Let who waits in and who is late go, and give the device a chunk.

        Args:
            images: All images, on the device.
            labels: All labels.
            now: What the jobs' ``until`` is held against.
            stopped: Whether all are to go.
        """
        self._dismiss(now, stopped)
        self._admit()
        if self._jobs:
            self._send(images, labels)
        if self._sent and (len(self._sent) > self._ahead or not self._jobs):
            self._read(self._sent[0])
            self._sent.popleft()

    def fail(self, error: Exception | None = None) -> None:
        """End all jobs, with an error or as stopped, and forget what the lanes held."""
        for job in self._unfinished:
            job.end(error=error)
        for held in (self._unfinished, self._waiting, self._jobs, self._sent):
            held.clear()
        self._lanes = None

    def _end(self, job: Job, left: Lanes | None = None) -> None:
        self._unfinished.discard(job)
        job.end(left)

    def _dismiss(self, now: float, stopped: bool) -> None:
        for job in [job for job in self._waiting if stopped or now >= job.until]:
            self._waiting.remove(job)
            self._end(job)
        for lane in [n for n, job in self._jobs.items() if stopped or now >= job.until]:
            self._end(self._jobs.pop(lane))

    def _admit(self) -> None:
        free = [lane for lane in range(self._count) if lane not in self._jobs]
        for lane in free[: len(self._waiting)]:
            job = self._waiting.popleft()
            if self._lanes is None:
                self._lanes = _room(self._program, self._count, job.entry)
            self._lanes = self._call(self._enter, None, self._lanes, lane, *job.entry)
            self._jobs[lane] = job

    def _send(self, images: Any, labels: Any) -> None:
        # Clients with tiles of other sizes take turns: nobody waits until the others have left.
        self._turn += 1
        size = min({j.parts[0].size for j in self._jobs.values()}, key=lambda s: self._served[s])
        self._served[size] = self._turn
        jobs = {lane: job for lane, job in self._jobs.items() if job.parts[0].size == size}
        waiting = {n: Waiting(j.parts[0], j.position, j.steps) for n, j in jobs.items()}
        ready = sum(int(j.parts[0].tiles[j.position]) for j in jobs.values())
        allowed = [t for t in self._tiles if t * size <= PLACES] or self._tiles[:1]
        tiles = next((t for t in allowed if t >= ready), allowed[-1])
        began = time.perf_counter()  # the device may be done before it says that it has begun
        chunk = fill(waiting, self._count, (ROWS, tiles), self._at_most)
        self._lanes, measured = self._call(
            *(self._advance, (size, tiles), self._lanes, images, labels),
            *(_rows(chunk), np.int32(chunk.rows)),
        )
        leaving = {}
        for lane, job in jobs.items():
            job.position = chunk.position[lane]
            job.steps -= int(chunk.steps[:, lane].sum())
            if job.position == len(job.parts[0]):
                job.parts.popleft()
                job.position = 0
            if not job.parts:
                leaving[lane] = self._call(self._leave, None, self._lanes, lane)
                del self._jobs[lane]
        self._sent.append(_Sent(chunk, jobs, measured, leaving, began))

    def _read(self, sent: _Sent) -> None:
        loss, hits, terms = (np.asarray(part, np.float64) for part in sent.measured)
        chunk = sent.chunk
        losses = loss + terms * chunk.valid
        for lane, job in sent.jobs.items():
            mine = chunk.owner == lane
            # One after another: to the same bits however the tiles were cut into chunks.
            np.add.at(job.losses, chunk.epoch[mine], losses[mine])
            np.add.at(job.hits, chunk.epoch[mine], hits[mine])
        for lane, left in sent.leaving.items():
            self._end(sent.jobs[lane], left)
        self._pace(int(chunk.used.sum()), time.perf_counter() - sent.since)

    def _pace(self, tiles: int, seconds: float) -> None:
        """Ask for as many tiles as take ``SECONDS``, but at most twice as many as before."""
        fit = math.ceil(tiles * SECONDS * (1 + self._ahead) / max(seconds, 1e-6))
        self._at_most = max(1, min(fit, 2 * self._at_most, ROWS * self._tiles[-1]))


class Workshop:
    """A bank for every kind of training, where callers from several threads have their jobs done.

    Args:
        make: Makes the lanes of a kind of training; called when it is first asked for.
        work: Advances a bank by a chunk.
    """

    def __init__(self, make: Callable[[Kind], Bank], work: Callable[[Bank], None]) -> None:
        self._make = make
        self._work = work
        self._banks: dict[Kind, Bank] = {}
        self._leading = threading.Lock()  # guards ``_banks`` and what is in them
        self._change = threading.Lock()  # guards what follows
        self._inbox: list[tuple[Kind, Job]] = []
        self._jobs: set[Job] = set()

    @property
    def load(self) -> int:
        """How many callers there are."""
        return len(self._jobs)

    def do(self, job: Job, kind: Kind) -> None:
        """Wait until a job is done, and do everybody's work while nobody else does."""
        with self._change:
            self._inbox.append((kind, job))
            self._jobs.add(job)
        try:
            while not job.done:
                if self._leading.acquire(blocking=False):
                    self._lead(job)
                else:
                    job.turn.wait()
                    job.turn.clear()
        finally:
            job.until = -math.inf  # whoever leaves early is waited for by nobody
            with self._change:
                self._jobs.discard(job)
                for other in self._jobs:
                    if not other.done:
                        other.turn.set()  # to lead, if nobody does
                        break

    def _lead(self, job: Job) -> None:
        try:
            while not job.done:
                self._advance()
        except BaseException:  # as Ctrl-C: what the lanes hold may be half a chunk's
            for bank in self._banks.values():
                bank.fail()
            raise
        finally:
            self._leading.release()

    def _advance(self) -> None:
        while self._inbox:
            kind, job = self._inbox[0]
            try:
                if kind not in self._banks:
                    self._banks[kind] = self._make(kind)
                self._banks[kind].put(job)
            except Exception as error:
                job.end(error=error)
            with self._change:
                self._inbox.pop(0)
        for bank in self._banks.values():
            if bank.busy:
                if not bank.has_lanes:
                    for other in self._banks.values():
                        other.make_room()
                try:
                    self._work(bank)
                except Exception as error:  # it is of all who are in there
                    bank.fail(error)


def _rows(chunk: Chunk) -> Rows:
    of_tiles = {name: getattr(chunk, name) for name in OfTiles.__dataclass_fields__}
    return Rows(OfTiles(**of_tiles), chunk.used, chunk.first, chunk.count, chunk.steps)


def _enter(program: Program, lanes: Lanes, lane: Any, *entry: Any) -> Lanes:
    mine = program.enter(*entry)
    entered: Lanes = jax.tree.map(lambda whole, part: whole.at[lane].set(part), lanes, mine)
    return entered


def _lane(lanes: Lanes, lane: Any) -> Lanes:
    mine: Lanes = jax.tree.map(lambda whole: whole[lane], lanes)
    return mine


def _room(program: Program, count: int, entry: tuple[Any, ...]) -> Lanes:
    """Return room for that many lanes, filled with zeros."""
    shapes = jax.eval_shape(program.enter, *entry)
    room: Lanes = jax.tree.map(lambda p: jax.numpy.zeros((count, *p.shape), p.dtype), shapes)
    return room


def as_numpy(values: Sequence[Any]) -> list[NDArray[Any]]:
    """Return arrays of the device as NumPy's."""
    return [np.asarray(value) for value in values]

"""The in-process grid: order, lateness, and clients that never come back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from runs import PATIENCE

from fedgen.engine.plan import Stopped
from fedgen.federation import grid as module
from fedgen.federation.grid import FIRST_NODE, InProcessGrid

Body = Callable[[int], None]


@contextmanager
def running(body: Body, workers: int = 2, **settings: float) -> Iterator[InProcessGrid]:
    """A grid of six clients that do something and answer with an empty message."""
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        body(int(context.node_config["partition-id"]))
        return Message(RecordDict(), reply_to=message)

    app.train()(answer)
    app.query()(answer)
    grid = InProcessGrid(app, {}, clients=6, workers=workers, **settings)
    try:
        yield grid
    finally:
        grid.close()


def messages(clients: list[int], kind: str = MessageType.TRAIN) -> list[Message]:
    content = RecordDict({"config": ConfigRecord({})})
    return [Message(content, FIRST_NODE + client, kind) for client in clients]


def answered(replies: list[Message]) -> list[int]:
    return [r.metadata.src_node_id - FIRST_NODE for r in replies if not r.has_error()]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets clients go that are stuck; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def test_as_many_clients_run_at_once_as_there_are_workers() -> None:
    at_once: list[int] = []
    running_now: set[int] = set()
    lock = threading.Lock()

    def body(client: int) -> None:
        with lock:
            running_now.add(client)
            at_once.append(len(running_now))
        time.sleep(0.02)
        with lock:
            running_now.discard(client)

    with running(body, workers=3) as grid:
        replies = list(grid.send_and_receive(messages(list(range(6)))))
    assert sorted(answered(replies)) == list(range(6))
    assert max(at_once) == 3


def test_replies_come_as_they_are_ready_and_each_is_announced(release: threading.Event) -> None:
    told: list[tuple[int, int]] = []

    def body(client: int) -> None:
        if client == 0:
            release.wait(10)

    with running(body) as grid:
        grid._on_reply = lambda done, asked: (told.append((done, asked)), release.set())
        replies = list(grid.send_and_receive(messages([0, 1])))
    assert answered(replies) == [1, 0]
    assert told == [(1, 2), (2, 2)]


def test_a_stuck_client_is_abandoned_and_the_round_goes_on(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)

    def body(client: int) -> None:
        if client in (0, 1):
            release.wait(30)

    with running(body, deadline=0.2) as grid:
        begun = time.monotonic()
        replies = list(grid.send_and_receive(messages(list(range(6)))))
        assert 0.3 <= time.monotonic() - begun < PATIENCE
        # Both workers were stuck: the others ran on fresh ones.
        assert sorted(answered(replies)) == [2, 3, 4, 5]
        reasons = {r.metadata.src_node_id - FIRST_NODE: r for r in replies if r.has_error()}
        assert set(reasons) == {0, 1}
        assert reasons[0].error.reason == "stuck, abandoned 0.1 s after the deadline of 0.2 s"
        # The next round has all its workers, and what the stuck ones answer at last is nobody's.
        release.set()
        time.sleep(0.1)
        again = list(grid.send_and_receive(messages(list(range(6)))))
        assert sorted(answered(again)) == list(range(6))
        assert not grid._ready and not grid._running


def test_a_query_has_no_deadline(release: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    with running(lambda client: time.sleep(0.2), deadline=0.01) as grid:
        assert answered(list(grid.send_and_receive(messages([3], MessageType.QUERY)))) == [3]


def test_late_replies_are_missing_and_those_that_wait_never_start(
    release: threading.Event,
) -> None:
    started: list[int] = []

    def body(client: int) -> None:
        started.append(client)
        if client == 0:
            release.wait(30)

    with running(body, workers=1) as grid:
        assert list(grid.send_and_receive(messages([0, 1, 2]), timeout=0.2)) == []
        assert answered(list(grid.send_and_receive(messages([3])))) == [3]
        assert started == [0, 3]


def test_closing_does_not_wait_for_a_stuck_client(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.2)
    with running(lambda client: release.wait(30) and None, workers=1) as grid:
        grid.push_messages(messages([0, 1]))
        time.sleep(0.05)
        begun = time.monotonic()
    assert time.monotonic() - begun < PATIENCE


def test_whoever_waits_for_replies_is_let_go_when_the_grid_is_stopped() -> None:
    ended: list[int] = []

    def body(client: int) -> None:
        time.sleep(0.5)
        ended.append(client)

    with running(body, workers=1) as grid:
        threading.Timer(0.1, grid.stop).start()
        with pytest.raises(Stopped):
            grid.send_and_receive(messages([0, 1]))
        with pytest.raises(Stopped):
            grid.send_and_receive(messages([2]))
        assert ended == []
    assert ended == [0], "closing waits for who is at work"


def test_pulled_replies_come_once() -> None:
    with running(lambda client: None) as grid:
        ids = list(grid.push_messages(messages([0, 1])))
        found: list[Message] = []
        until = time.monotonic() + 10
        while len(found) < 2 and time.monotonic() < until:
            found += grid.pull_messages(ids)
        assert sorted(answered(found)) == [0, 1]
        assert list(grid.pull_messages(ids)) == []


@pytest.mark.parametrize("wrong", [None, SystemExit(3)])
def test_a_client_that_answers_nothing_or_exits_holds_nobody_up(wrong: object) -> None:
    app = ClientApp()

    @app.train()
    def answer(message: Message, context: Context) -> Message:
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong  # type: ignore[return-value]

    grid = InProcessGrid(app, {}, clients=3, workers=1)
    replies = list(grid.send_and_receive(messages([0, 1, 2]), timeout=30))
    grid.close()
    assert len(replies) == 3 and all(reply.has_error() for reply in replies)


def test_a_crash_is_a_reply() -> None:
    def body(client: int) -> None:
        if client == 1:
            raise ValueError("first line\nsecond line")

    with running(body) as grid:
        replies = list(grid.send_and_receive(messages([0, 1])))
    assert answered(replies) == [0]
    (error,) = (reply.error for reply in replies if reply.has_error())
    assert error.reason == "ValueError: first line"

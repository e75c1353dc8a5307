"""The server of watched runs: what it serves, to whom, and how it ends."""

import json
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from runs import FLAGS, environment, finish, play, processes_told, start, wait_for_file
from warm import cold

from fedgen.errors import InputError
from fedgen.live.server import REST, Reader, changed, watching


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, in a directory of its own."""
    folder = tmp_path_factory.mktemp("runs")
    return play(folder / "one <b>", run={"rounds": 2, "strategies": ["fedavg", "genetic-cfl"]}).path


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a directory from a thread, and give the address of its list."""
    server = watching(folder, 0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.address
    finally:
        server.end()
        thread.join(20)
        assert not thread.is_alive(), "a server ends, also where pages are open"


def events(address: str) -> Iterator[dict[str, Any]]:
    """Yield what a page is told, until the server ends."""
    response: HTTPResponse
    with urllib.request.urlopen(address, timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def status(address: str, **headers: str) -> int:
    """Return the status of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_list_and_a_run_are_told_as_they_are(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with served(run.parent) as address:
        told = next(events(f"{address}events"))
        assert "one &lt;b&gt;" in told["html"]["runs"] and "<b>" not in told["html"]["runs"]
        assert "finished" in told["html"]["runs"] and told["names"] == []
        followed = next(events(f"{address}runs/one%20%3Cb%3E/events"))
        assert 'class="ranked' in followed["html"]["ranking"]
        assert followed["names"][:2] == ["accuracy", "loss"] == [*followed["charts"]][:2]
        assert "rates-genetic-cfl-seed0" in followed["names"]
        assert followed["charts"]["accuracy"]["figure"]["data"]
        policy = urllib.request.urlopen(address).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe-inline'; connect" in policy
        assert {status(address + name) for name in ("watch.js", "watch.css", "plotly.js")} == {200}
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}, "read only"


def test_a_run_by_itself_is_what_its_address_shows(run: Path) -> None:
    with served(run) as address:
        assert address.endswith("/runs/one%20%3Cb%3E") and status(address) == 200


def test_only_runs_of_the_directory_and_only_reading_are_served(run: Path) -> None:
    (run.parent / "secret.txt").write_text("not a run")
    with served(run.parent) as address:
        mine = quote(run.name)
        assert status(f"{address}runs/{mine}") == 200
        for name in ("none", "..", "%2e%2e", "..%2f..", "secret.txt", f"{mine}/config.toml"):
            assert status(f"{address}runs/{name}") == 404, name
            assert status(f"{address}runs/{name}/events") == 404, name
        request = urllib.request.Request(address, data=b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(request)
        # A site that points its own name to this machine is not answered.
        assert (status(address), status(address, Host="elsewhere.example")) == (200, 400)


def test_what_comes_later_is_told_and_what_does_not_change_is_not(
    run: Path, tmp_path: Path
) -> None:
    with served(tmp_path) as address:
        told = events(f"{address}events")
        assert "No run is here yet" in next(told)["html"]["runs"]
        shutil.copytree(run, tmp_path / "later")
        assert "later" in next(told)["html"]["runs"]
        one = events(f"{address}runs/later/events")
        assert {"status", "ranking", "arms"} == next(one)["html"].keys()
        config = tmp_path / "later" / "config.toml"
        config.write_text(config.read_text().replace("rounds = 2\n", "rounds = 5\n"))
        then = next(one)
        assert "4 of 10 rounds" in then["html"]["status"] and then["charts"] == {}
        tmp_path.rename(tmp_path.with_name("away"))
        assert "cannot be read" in next(one)["html"]["status"]
        assert any("directory is gone" in found["html"]["runs"] for found in islice(told, 4))
        tmp_path.with_name("away").rename(tmp_path)


def test_rows_are_read_again_only_when_they_have_changed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read = Reader.__init__.__globals__["read_rows"]

    def slowly(run: Any) -> Any:
        reads.append(run.path)
        now[0] += 2.0
        return read(run)

    now = [0.0]
    monkeypatch.setattr("fedgen.live.server.read_rows", slowly)
    reader = Reader(run.parent, lambda: now[0])
    (path,) = reader.paths().values()
    first = reader.state(path)
    assert reader.state(path) is first and len(reads) == 1
    rounds = next((path / "shards").glob("*/rounds.csv"))
    rounds.touch()
    now[0] += REST * 2.0 - 0.1
    assert reader.state(path).rows is first.rows and len(reads) == 1, "not at once"
    now[0] += 0.1
    assert reader.state(path).rows is not first.rows and len(reads) == 2
    drawn = reader.following(path).charts
    assert reader.following(path).charts is drawn, "drawn once"


def test_runs_of_any_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("a#b", "a?b", "a%20b", "a b"):
        shutil.copytree(run, folder / name)
    for name in ("one", "two"):  # links to directories of one name
        shutil.copytree(run, tmp_path / name / "run")
        (folder / name).symlink_to(tmp_path / name / "run")
    with served(folder) as address:
        told = next(events(f"{address}events"))["html"]["runs"]
        links = re.findall('href="/(runs/.*?)"', told)
        assert len(set(links)) == 6
        for link in links:
            with urllib.request.urlopen(address + link) as answer:
                (stream,) = re.findall('data-events="/(.*?)"', answer.read().decode())
            assert stream == f"{link}/events"
            assert "finished" in next(events(address + stream))["html"]["status"]


def test_changes_are_new_entries_and_other_ones() -> None:
    assert changed({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "1"}) == {"b": "2", "c": "3"}


def test_a_port_that_cannot_be_had_and_a_directory_that_is_none_are_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"{port}: cannot be had \(Address already in use\);"):
            watching(tmp_path, port)
    with pytest.raises(InputError, match="--port 70000: expected 0 to 65535"):
        watching(tmp_path, 70000)
    code, out, err = finish(start(["watch", "nowhere"], tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1) and "expected a directory" in err


def test_the_command_serves_until_it_is_told_to_end(run: Path, tmp_path: Path) -> None:
    arguments = ["watch", str(run.parent), "--port=0"]
    process = cold(arguments, tmp_path, environment(tmp_path / "cache"))
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    told = events(f"{address}events")
    next(told)  # a page that is open does not hold it up
    process.terminate()
    code, _, err = finish(process)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_page_beside_a_run_is_served_as_long_as_it_is_played(how: str, tmp_path: Path) -> None:
    out = str(tmp_path / "run")  # also what tells the server from those of other tests
    more = ["--rounds=200", "--strategies=fedavg", f"--out={out}", "--watch", "--quiet"]
    process = cold(["compare", *FLAGS, *more], tmp_path, environment(tmp_path / "cache"))
    assert process.stderr is not None
    address = process.stderr.readline().removeprefix("watch: ").strip()
    assert status(address) == 200
    wait_for_file(tmp_path / "run" / "shards" / "fedavg-seed0" / "checkpoint-000002.json", process)
    assert "fedavg" in next(events(f"{address}/events"))["html"]["ranking"]
    (server,) = processes_told(f"fedgen.live.beside', '{out}")
    (process.terminate if how == "ended" else process.kill)()
    process.communicate()
    deadline = time.monotonic() + 20
    while server.is_running() and server.status() != "zombie":
        assert time.monotonic() < deadline, "no server is left behind"
        time.sleep(0.1)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


def test_a_finished_run_prints_where_it_was_followed(tmp_path: Path) -> None:
    more = ["--rounds=1", "--strategies=fedavg", "--out=run", "--watch"]
    code, out, err = finish(start(["compare", *FLAGS, *more], tmp_path))
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith("watch: ")]
    assert line.startswith("watch: http://127.0.0.1:") and line.endswith("/runs/run")

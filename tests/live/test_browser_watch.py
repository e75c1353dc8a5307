"""Pages of runs in a real browser, against a run in progress."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, opened
from runs import FLAGS, finish, play, start

from fedgen.live.server import Watching, watching

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: Debian's package chromium is not installed"
)

PARTS = "document.querySelector('main').innerText"
LINK = "document.querySelector('a[href=\"/runs/run\"]')"
DRAWN = "document.querySelectorAll('.plot .main-svg').length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


class Served:
    """A server that can be ended, and be there again at the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server: Watching = watching(self._folder, self.port)
        self.port = int(self._server.address.split(":")[2].split("/")[0])
        self._thread = threading.Thread(target=self._server.serve)
        self._thread.start()

    def end(self) -> None:
        self._server.end()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def served(page: Page, tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    page.open("about:blank")  # or it would ask for a server that is gone
    server.end()


def test_a_run_is_followed_while_it_is_played(page: Page, served: Served, tmp_path: Path) -> None:
    """From the list to its page: curves, cohorts and genes move, the server comes and goes."""
    more = ["--rounds=400", "--strategies=fedavg,genetic-cfl", "--out=run"]
    process = start(["compare", *FLAGS, *more], tmp_path)
    try:
        page.errors.clear()
        page.requests.clear()
        page.open(f"http://127.0.0.1:{served.port}/")
        page.wait(f"!!{LINK}", 120)
        page.run(f"{LINK}.click()")
        page.wait(f"{DRAWN} >= 4", 120)
        page.wait(f"{PARTS}.includes('rounds, about')", 60)
        assert page.run(f"{PARTS}.includes('clients of this round')")
        counted = r"Number(document.getElementById('status').innerText.match(/(\d+) of 800/)[1])"
        points = (
            "document.getElementById('chart-rates-genetic-cfl-seed0').data"
            ".reduce((sum, trace) => sum + trace.y.length, 0)"
        )
        done, moved = page.run(counted), page.run(points)
        page.wait(f"{counted} > {done} && {points} > {moved}", 60)
        before = page.run("document.querySelectorAll('progress').length")
        assert before >= 1
        assert page.errors == []
        served.end()
        page.wait("!document.getElementById('lost').hidden", 30)
        done = page.run(counted)
        served.start()
        page.wait(f"document.getElementById('lost').hidden && {counted} > {done}", 60)
        process.kill()
        process.communicate()
        process = start(["resume", "run"], tmp_path)
        done = page.run(counted)
        page.wait(f"{counted} > {done}", 120)  # the run itself survives, and so does its page
        assert {re.sub(r":\d+/.*", "", url) for url in page.requests} == {"http://127.0.0.1"}
        lost = [error for error in page.errors if "ERR_CONNECTION" not in error]
        assert [error for error in lost if "ERR_INCOMPLETE_CHUNKED" not in error] == []
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of long names, finished."""
    names = ["genetic-cfl@rates=[1e-3,1e-2]", "fedavg@1e-2", "pbt", "tournament/fedprox"]
    folder = tmp_path_factory.mktemp("long")
    return play(folder / ("digits-" + "long-" * 12), run={"rounds": 2, "strategies": names}).path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1366])
def test_pages_fit_every_window(
    page: Page, served: Served, finished: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    shutil.copytree(finished, tmp_path / finished.name)
    page.errors.clear()
    for address in ("", f"runs/{finished.name}"):
        page.open(f"http://127.0.0.1:{served.port}/{address}", width, 800, scheme)
        page.wait(f"{PARTS}.includes('finished')")
        if address:
            page.wait(f"{DRAWN} >= 2")
        assert page.run("document.documentElement.scrollWidth") == width
        if width == 390:  # no column is cut off: what it is stands before every figure
            assert page.run(
                "[...document.querySelectorAll('.runs thead')].every(h => !h.offsetHeight)"
            )
    assert page.errors == []
    drawn = page.run("[...document.querySelectorAll('.plot')].map(box => box.id)")
    assert "chart-rates-tournament/fedprox-seed0" in drawn and "chart-batches-pbt-seed0" in drawn
    assert "chart-batches-tournament/fedprox-seed0" not in drawn, "a gene that never moves"


def test_a_reader_keeps_what_he_has_zoomed_into(
    page: Page, served: Served, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    page.open(f"http://127.0.0.1:{served.port}/runs/run")
    page.wait(f"{DRAWN} >= 2")
    box = "document.getElementById('chart-accuracy')"
    page.run(f"Plotly.relayout({box}, {{'xaxis.range': [1, 5]}}); true")
    assert finish(start(["resume", "run", "--rounds=3"], tmp_path))[0] == 0
    page.wait(f"{box}.data.some(trace => trace.x.length >= 4)", 60)
    assert page.run(f"{box}.layout.xaxis.range") == [1, 5]

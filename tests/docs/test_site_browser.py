"""The site in a real browser: no errors, no other host, nothing wider than the window."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import CHROMIUM, Page, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served, on this machine alone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", [390, 768, 1366])
def test_every_page_fits_its_window(browser: Page, site: Path, width: int) -> None:
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":  # its addresses are those of a server
            continue
        browser.errors.clear()
        browser.requests.clear()
        browser.open(path, width=width)
        assert browser.run("document.documentElement.scrollWidth") <= width, path.name
        assert not browser.errors, path.name
        assert browser.requests
        assert all(asked.startswith(("file:", "data:")) for asked in browser.requests), path.name


def test_the_search_finds_a_page(browser: Page, address: str) -> None:
    browser.requests.clear()
    browser.ask("Page.navigate", url=f"{address}/index.html?q=short-horizon")
    browser.wait("document.querySelectorAll('.md-search-result__item').length > 0")
    found = browser.run("document.querySelector('.md-search-result__link').href")
    assert "experiments/" in found
    assert all(asked.startswith((address, "data:", "blob:")) for asked in browser.requests)

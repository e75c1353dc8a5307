"""The docs as a site: built strictly, whole, and of this host alone."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given["rel"] in ("stylesheet", "icon"):
            self.loads.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_page_of_the_repository_is_a_page_of_the_site(site: Path) -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.md")]
    assert len(pages) > 15
    for page in pages:
        name = "index.html" if page.stem == "README" else f"{page.stem}.html"
        assert (site / page.parent.relative_to(ROOT) / name).exists(), page


def test_the_page_of_python_has_the_docstrings(pages: dict[Path, Page], site: Path) -> None:
    page = site / "docs" / "api.html"
    assert {"fedgen.api.compare", "strategies.fedavg.FedAvg.enclosed"} <= pages[page].anchors
    text = page.read_text()
    for phrase in (
        "Train all strategies from the same weights",
        "<p>Return the weight of every usable update",
    ):
        assert phrase in text
    assert ":::" not in text and "Args:" not in text and "Raises:\n" not in text


def test_no_page_asks_another_host_for_anything(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert len(page.loads) >= 4
        for asked in page.loads:
            assert not urlsplit(asked).netloc, (path.name, asked)
            assert (path.parent / unquote(urlsplit(asked).path)).exists(), (path.name, asked)
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text().replace('"', ""), sheet


def test_every_link_of_the_site_leads_somewhere(pages: dict[Path, Page]) -> None:
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            place = urlsplit(link)
            if place.scheme in ("http", "https"):
                continue
            linked = (path.parent / unquote(place.path)).resolve() if place.path else path
            linked = linked / "index.html" if linked.is_dir() else linked
            assert linked.exists(), (path.name, link)
            if place.fragment and linked.suffix == ".html":
                assert unquote(place.fragment) in pages[linked].anchors, (path.name, link)
            followed += 1
    assert followed > 500

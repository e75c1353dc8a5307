"""The report in a real browser: it asks for nothing, reports nothing, and its controls work."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, opened
from runs import play

from fedgen.report import pages

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: Debian's package chromium is not installed"
)

CURVE = "document.getElementById('chart-accuracy')"
IN_SIGHT = "[...document.querySelectorAll('.plot')].filter(p => !p.closest('details:not([open])'))"
"""Charts that are in no part that is closed."""
DOTS = "document.getElementById('chart-clusters-genetic-cfl-seed0')"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    settings = {"run": {"rounds": 3, "seeds": 2}, "faults": {"nan": 1}}
    return (
        play(folder / "run", **settings, **{"genetic-cfl": {"init": "probe"}}).path / "report.html"
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, path: Path) -> Page:
    browser.errors.clear()
    browser.requests.clear()
    show(browser, path)
    return browser


def show(browser: Page, path: Path, **window: object) -> None:
    browser.open(path, **window)  # type: ignore[arg-type]
    browser.wait(f"{IN_SIGHT}.every(p => p.data)")


def unfold(page: Page) -> None:
    """Open every part of a page, and wait until all charts are drawn."""
    page.run("document.querySelectorAll('details.part').forEach(part => part.open = true)")
    parts = "[...document.querySelectorAll('details.part')]"
    page.wait(f"{parts}.every(part => part.children.length > 1)")  # what was packed is there
    page.wait("document.querySelector('script.packed') === null")
    page.wait(f"{IN_SIGHT}.every(p => p.data)")


@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "laptop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_an_error_or_a_request_and_fits(
    browser: Page, path: Path, width: int, scheme: str
) -> None:
    browser.errors.clear()
    browser.requests.clear()
    show(browser, path, width=width, scheme=scheme)
    assert browser.errors == []
    assert {address.split(":", 1)[0] for address in browser.requests} <= {"file", "data"}
    assert [a for a in browser.requests if a.startswith("file")] == [path.resolve().as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= width
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    text = browser.run(f"getComputedStyle({CURVE}.querySelector('.xtick text')).fill")
    dark, light = sum(map(int, background[4:-1].split(","))), sum(map(int, text[4:-1].split(",")))
    assert (dark < 100 < 500 < light) if scheme == "dark" else (light < 100 < 500 < dark)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (768, 1024), (1366, 768)])
def test_the_first_screen_says_who_wins(browser: Page, path: Path, width: int, height: int) -> None:
    """The sentence and the whole ranking, on a phone as on a laptop; nothing is cut off."""
    show(browser, path, width=width, height=height)
    bottom = browser.run("document.querySelector('.ranked').getBoundingClientRect().bottom")
    assert bottom < height
    wide = "document.querySelector('.ranked').parentElement"
    assert browser.run(f"{wide}.scrollWidth <= {wide}.clientWidth")
    first = browser.run("document.querySelector('.ranked tbody tr.best').innerText")
    assert browser.run("document.querySelector('.lead').innerText").split()[0].rstrip(":") in first


def test_names_stand_at_the_ends_of_lines_or_in_a_legend_on_a_phone(
    browser: Page, path: Path
) -> None:
    show(browser, path, width=1366)
    labels = f"[...{CURVE}.querySelectorAll('.annotation-text')]"
    assert sorted(browser.run(f"{labels}.map(text => text.textContent)")) == [
        "fedavg",
        "genetic-cfl",
    ]
    spots = browser.run(f"{labels}.map(text => text.getBoundingClientRect().top)")
    assert abs(spots[0] - spots[1]) > 12, "no label overlaps another"
    bar = f"{CURVE}.querySelector('.modebar').getBoundingClientRect().bottom"
    assert browser.run(bar) <= min(spots)
    show(browser, path, width=390)
    assert browser.run(f"{labels}.length") == 0
    assert browser.run(f"{CURVE}.querySelectorAll('.legend .traces').length") == 2


def test_a_link_opens_what_it_goes_to(page: Page) -> None:
    assert page.run("document.getElementById('cost').open") is False
    page.run("location.hash = 'cost'")
    page.wait("document.getElementById('cost').open")


def test_the_page_is_small_and_its_first_chart_is_there_at_once(browser: Page, path: Path) -> None:
    assert path.stat().st_size < 2_500_000
    show(browser, path)
    # Plotly alone is larger: it is unpacked for the first chart, and once.
    assert browser.run("typeof Plotly") == "object"
    assert browser.run("document.head.querySelectorAll('script').length") == 1


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1366, 768)])
def test_the_first_chart_is_seen_before_any_script_has_run(
    browser: Page, path: Path, width: int, height: int
) -> None:
    """Its lines lie where the chart, which replaces it, draws them."""
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(path, width=width, height=height)
    still = f"{CURVE}.querySelector('.still svg')"
    ends = "getBoundingClientRect().toJSON()"
    frame = browser.run(f"{still}.{ends}")
    lines = f"[...{still}.querySelectorAll('path[stroke-dasharray]')]"
    drawn = browser.run(f"{lines}.map(line => line.{ends})")
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert len(drawn) == 2 * 3, "two strategies, each with two seeds and their mean"
    assert all(frame["left"] < line["left"] < line["right"] < frame["right"] for line in drawn)
    show(browser, path, width=width, height=height)
    assert browser.run(f"{CURVE}.querySelector('.still')") is None
    chart = browser.run(
        f"[...{CURVE}.querySelectorAll('.scatterlayer .js-line')].map(line => line.{ends})"
    )
    for one, other in zip(drawn, chart, strict=True):
        assert abs(one["top"] - other["top"]) < (30 if width > 600 else 90)
        assert abs(one["left"] - other["left"]) < 40


def test_the_switch_moves_all_curves_to_another_axis_by_keyboard(page: Page) -> None:
    rounds = "document.querySelector('input[value=rounds]')"
    unfold(page)
    assert page.run(f"{CURVE}.data.every(t => t.x.at(-1) >= 15)")  # client-epochs
    page.run("document.querySelector('input[value=client-epochs]').focus()")
    page.press("ArrowRight")
    page.wait(f"{CURVE}.data.every(t => t.x.at(-1) === 3)")
    page.wait("document.getElementById('chart-loss').data.every(t => t.x.at(-1) === 3)")
    assert page.run(f"{rounds}.checked") is True
    assert page.run(f"{CURVE}.layout.xaxis.title.text") == "round"
    assert page.run(f"{CURVE}.querySelector('.xtitle').textContent") == "round"
    page.press("ArrowRight")
    page.wait(f"{CURVE}.layout.xaxis.title.text === 'samples trained so far'")
    assert page.errors == []


def test_a_search_that_dwarfs_the_rest_is_out_of_sight_until_another_axis_is_chosen(
    browser: Page, tmp_path: Path
) -> None:
    names = ["genetic-cfl+probe", "fedavg", "fedprox"]
    run = play(tmp_path / "run", run={"rounds": 1, "strategies": names})
    show(browser, run.path / "report.html")
    right = f"{CURVE}.layout.xaxis.range[1]"
    ends = f"{CURVE}.data.map(trace => trace.x.at(-1))"
    browser.wait(f"{CURVE}.querySelector('.main-svg')")
    assert browser.run(f"{right} < Math.max(...{ends})")
    unfold(browser)
    browser.run("document.querySelector('input[value=rounds]').click()")
    browser.wait(f"{right} < 1.5 && {right} > Math.max(...{ends})")
    browser.run("document.querySelector('input[value=client-epochs]').click()")
    browser.wait(f"{right} > 1.5 && {right} < Math.max(...{ends})")


def test_the_slider_moves_the_clusters_to_another_round_by_keyboard(page: Page) -> None:
    slider = "document.getElementById('chart-clusters-genetic-cfl-seed0-slider')"
    unfold(page)
    drawn = f"JSON.stringify({DOTS}.data.map(t => [t.x, t.y]))"
    last = page.run(drawn)
    assert page.run(f"{slider}.getAttribute('aria-valuetext')") == "round 3"
    page.run(f"{slider}.focus()")
    page.press("Home")
    page.wait(f"{drawn} !== {last!r}")
    assert page.run(f"{slider}.parentElement.querySelector('output').value") == "0"
    assert page.run(f"{slider}.getAttribute('aria-valuetext')") == "round 0"
    page.press("End")
    page.wait(f"{drawn} === {last!r}")
    assert page.errors == []


def test_what_is_folded_is_drawn_when_it_is_opened(page: Page) -> None:
    other = "document.getElementById('chart-clusters-genetic-cfl-seed1')"
    story = "document.getElementById('story-genetic-cfl')"
    page.run(f"{story}.querySelector('summary').click()")
    seed = f"{story}.querySelectorAll('details.part')[1]"
    assert page.run(f"{seed}.open") is False and page.run(f"{other} === null"), "it is packed"
    page.run(f"{seed}.querySelector('summary').click()")
    # Opened, closed and opened in haste, it is unpacked once.
    page.run(f"[1, 2, 3].forEach(() => {seed}.dispatchEvent(new Event('toggle')))")
    page.wait(f"{other} && {other}.data && {other}.querySelectorAll('.points path').length > 0")
    assert page.run(f"document.querySelectorAll('[id={other.split(chr(39))[1]}]').length") == 1
    assert page.errors == []


def test_every_chart_says_what_it_shows_and_has_its_data_as_a_table(page: Page) -> None:
    unfold(page)
    charts = page.run(
        "[...document.querySelectorAll('.plot')].map(plot => [plot.getAttribute('role'),"
        " plot.getAttribute('aria-label'),"
        " document.getElementById(plot.getAttribute('aria-describedby')).textContent,"
        " plot.closest('figure').querySelectorAll('.data tbody tr').length])"
    )
    # Differences, metrics, evolution, clients, classes, and who holds what.
    assert len(charts) == 1 + 5 + 2 * 6 + 1 + 2 + 2 * 2
    for role, label, text, rows in charts:
        assert role == "img" and label and len(text) > 20 and rows > 0
    identities = page.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(identities) == len(set(identities))
    assert page.run("document.querySelectorAll('details.section[id] > summary > h2').length") >= 9
    assert page.run("document.querySelectorAll('.scroll:not([tabindex][aria-label])').length") == 0


def test_it_prints_on_paper_without_its_controls_and_nothing_is_cut(
    page: Page, tmp_path: Path
) -> None:
    page.run("dispatchEvent(new Event('beforeprint'))")
    closed = "document.querySelectorAll('details.section:not([open])').length"
    assert page.run(closed) == 0, "paper has no folds"
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run(closed) >= 9
    page.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.ask("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(document.querySelector('fieldset')).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.ask("Emulation.setEmulatedMedia", media="")
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.wait(f"{CURVE}.querySelector('.main-svg').getBoundingClientRect().width === 640")
    page.run("dispatchEvent(new Event('afterprint'))")
    page.wait(f"{CURVE}.querySelector('.main-svg').getBoundingClientRect().width > 900")


def test_nothing_that_a_stranger_put_into_a_run_is_executed(
    browser: Page, path: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from fedgen.report.results import load

    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    whole = load(path.parent)
    clients = [replace(row, origin=f"{row.origin}{evil}", status=evil) for row in whole.clients]
    target = tmp_path / "evil.html"
    target.write_text(pages.one(replace(whole, clients=clients)))
    browser.errors.clear()
    browser.requests.clear()
    show(browser, target)
    time.sleep(0.2)
    assert browser.run("document.title") == "genetic-cfl, fedavg on digits"
    assert browser.errors == []
    # And if something had got in: the page's policy runs only its own two scripts.
    target.write_text(target.read_text().replace("</main>", f"{evil}</main>"))
    browser.open(target)
    time.sleep(0.2)
    assert browser.run("document.title") == "genetic-cfl, fedavg on digits"
    assert any("Content Security Policy" in error for error in browser.errors)


def test_several_runs_on_one_page_open_as_well(browser: Page, path: Path, tmp_path: Path) -> None:
    target = pages.write_several([path.parent, path.parent], tmp_path / "both.html")
    browser.errors.clear()
    show(browser, target)
    browser.wait(f"{CURVE}.data && {CURVE}.data.length === 4 * 3")
    assert browser.errors == []

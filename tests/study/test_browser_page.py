"""The page of a study in a real browser: on a phone, too, what decides is seen at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import studies
from browser import CHROMIUM, Page, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: Debian's package chromium is not installed"
)

LAYERS = [[300], [50, 100, 200, 100, 50], [30, 60, 90, 120, 150, 180, 210, 240, 270]]
SIZES = {"phone": (390, 844), "tablet": (768, 1024), "laptop": (1366, 768)}
IN_SIGHT = "[...document.querySelectorAll('.plot')].filter(p => !p.closest('details:not([open])'))"
BOX = "getBoundingClientRect()"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    axes = {"hidden_layers": LAYERS, "solver": ["adam", "sgd"]}
    study = studies.build(studies.SKLEARN | {"axes": axes}, study={"seeds": 3})
    target = folder / "study.html"
    target.write_text(studies.drawn(folder, study))
    return target


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


def show(browser: Page, path: Path, size: str, scheme: str = "light") -> None:
    width, height = SIZES[size]
    browser.errors.clear()
    browser.open(path, width=width, height=height, scheme=scheme)
    browser.wait(f"{IN_SIGHT}.every(p => p.data)")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_says_which_case_is_best(
    browser: Page, path: Path, size: str, scheme: str
) -> None:
    show(browser, path, size, scheme)
    width, height = SIZES[size]
    assert browser.errors == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(f"document.querySelector('.ranked').{BOX}.bottom") < height
    cells = "[...document.querySelectorAll('.ranked th, .ranked td')]"
    assert browser.run(f"Math.max(...{cells}.map(cell => cell.{BOX}.right))") <= width
    best = browser.run("document.querySelector('.ranked .best th').innerText")
    lead = browser.run("document.querySelector('.lead').innerText")
    assert best.removeprefix("1. ") in lead


@pytest.mark.parametrize("size", SIZES)
def test_every_case_has_a_row_with_its_name_and_dots_in_sight(
    browser: Page, path: Path, size: str
) -> None:
    show(browser, path, size)
    plot = "document.getElementById('chart-cases')"
    names = browser.run(
        f"[...{plot}.querySelectorAll('.textpoint text')].map(text => {{ const box = text.{BOX};"
        " return [text.textContent, box.left, box.right, box.top, box.bottom]; })"
    )
    assert len(names) == 6
    assert all(left >= 0 and right <= SIZES[size][0] for _, left, right, *_ in names)
    assert all(over[4] <= under[3] for over, under in zip(names, names[1:], strict=False))
    title = browser.run(f"{plot}.querySelector('.xtitle').{BOX}.top")
    ticks = browser.run(
        f"Math.max(...[...{plot}.querySelectorAll('.xtick text')].map(t => t.{BOX}.bottom))"
    )
    assert names[-1][4] < ticks <= title
    toolbar = browser.run(f"{plot}.querySelector('.modebar').{BOX}.bottom")
    assert toolbar <= names[0][3], "it covers no name"


def test_no_table_hides_its_numbers_behind_names_on_a_phone(browser: Page, path: Path) -> None:
    """What decides stands next to the case, in sight before anything is scrolled."""
    show(browser, path, "phone")
    browser.run("document.querySelectorAll('details.section').forEach(part => part.open = true)")
    for part in ("results", "fits", "faults"):
        table = f"document.querySelector('#{part} table')"
        if not browser.run(f"!!{table}"):
            continue
        second = browser.run(f"{table}.querySelector('tbody tr > :nth-child(2)').{BOX}.right")
        assert second <= SIZES["phone"][0]
    decides = "document.querySelector('#results thead th:nth-child(2)').innerText"
    assert browser.run(decides) == "validation accuracy"
    sticky = "getComputedStyle(document.querySelector('#results tbody th')).position"
    assert browser.run(sticky) == "static"


def test_paper_holds_whole_tables(browser: Page, path: Path) -> None:
    browser.open(path, width=700, height=1000)
    browser.wait(f"{IN_SIGHT}.every(p => p.data)")
    browser.run("document.querySelectorAll('details.section').forEach(part => part.open = true)")
    browser.ask("Emulation.setEmulatedMedia", media="print")
    tables = "[...document.querySelectorAll('.scroll:not(.data *)')]"
    widest = browser.run(f"Math.max(...{tables}.map(box => box.firstChild.{BOX}.right))")
    browser.ask("Emulation.setEmulatedMedia", media="")
    assert widest <= 700

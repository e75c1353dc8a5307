"""Words: each is there once, in order, told in a sentence, and used in the pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text()
ENTRIES = dict(re.findall(r"^\*\*([^*]+)\*\*: (.*?)(?=\n\n|\Z)", PAGE, re.DOTALL | re.MULTILINE))
OTHERS = {
    path: path.read_text()
    for path in [ROOT / "README.md", ROOT / "experiments" / "README.md", *ROOT.glob("docs/*.md")]
    if path.stem not in ("glossary", "settings", "api")
}
WANTED = "client-epoch cohort arm probe genome elite placebo screening shard".split()


def test_the_words_of_the_pages_are_there_in_order() -> None:
    assert {*WANTED} <= {term.lower() for term in ENTRIES}
    assert list(ENTRIES) == sorted(ENTRIES, key=str.lower)
    assert len(ENTRIES) == PAGE.count("\n**")


@pytest.mark.parametrize("term", ENTRIES)
def test_a_word_is_told_where_it_leads_and_used(term: str) -> None:
    text = ENTRIES[term]
    assert 20 < len(text.partition("[")[0]) < 300
    linked = re.findall(r"\]\(([^)#]+)", text)
    assert linked
    word = {"Paired by seed": "paired", "Holm's correction": "Holm"}.get(term, term)
    used = [page for page, said in OTHERS.items() if re.search(rf"\b{word}", said, re.IGNORECASE)]
    assert used
    treated = {(ROOT / "docs" / link).resolve() for link in linked} & {*OTHERS}
    assert treated & {*used} or any(link in ("settings.md", "api.md") for link in linked), term

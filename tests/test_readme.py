"""README and docs: examples run, the help is the command's, and links lead somewhere."""

import re
from pathlib import Path

import pytest
from examples import BLOCK, call, commands, play
from typer.main import get_command

from fedgen.cli import app
from strategies import REGISTRY, load
from strategies.fedavg import FedAvg

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
STRATEGIES = DOCS["strategies"]
PAGES = "".join([README, *(text for name, text in DOCS.items() if name != "tutorial")])

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def examples() -> list[tuple[dict[str, str], list[str]]]:
    """Files and the commands that follow them, page by page."""
    found: list[tuple[dict[str, str], list[str]]] = []
    files: dict[str, str] = {}
    for kind, text in BLOCK.findall(PAGES):
        if kind == "python":
            files[text.splitlines()[0].removeprefix("# ")] = text
        else:
            found.append((files, commands(text)))
            files = {}
    return found


EXAMPLES = examples()


@pytest.mark.parametrize(
    ("files", "commands"), EXAMPLES, ids=[" ".join(files) or "commands" for files, _ in EXAMPLES]
)
def test_every_example_runs_as_it_stands(
    files: dict[str, str], commands: list[str], tmp_path: Path
) -> None:
    for name, text in files.items():
        assert re.fullmatch(r"\w+\.py", name), f"the first line names no file: {name}"
        (tmp_path / name).write_text(text)
    for line in commands:
        play(line, tmp_path)


def test_there_are_examples_of_data_a_model_a_strategy_and_python() -> None:
    named = {name for files, _ in EXAMPLES for name in files}
    assert {"cells.py", "letters.py", "drawings.py", "small.py", "hill.py", "notebook.py"} <= named
    code = next(files["hill.py"] for files, _ in EXAMPLES if "hill.py" in files)
    body = code.partition("class ")[2].splitlines()
    assert len([line for line in body if line.strip()]) <= 30


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_is_the_command_s_own(command: str, tmp_path: Path) -> None:
    code, out, _ = call(["-m", "fedgen", *command.split(), "--help"], tmp_path)
    assert code == 0
    assert f"```text\n{out.strip()}\n```" in DOCS["commands"]


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= 200
    assert {*re.findall(r"\(docs/(\w+)\.md\)", README)} == {*DOCS}


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_page_of_strategies_names_what_strategies_change() -> None:
    named = set(re.findall(r"`(\w+)(?:\([\w, ]*\))?`", STRATEGIES))
    known = dir(FedAvg())
    for name, kind in ((name, load(name)) for name in REGISTRY if name != "fedavg"):
        changed = {key for key in vars(kind) if not key.startswith("_") and key in dir(FedAvg)}
        # A whole round is Flower's to call; cyclic, which takes turns, plays its own.
        assert changed - named <= {"configure_train", "aggregate_train", "judge_round"}, name
    rows = re.findall(r"^\|[^|]*\| ([^|]*) \|", STRATEGIES, re.MULTILINE)[2:]
    hooks = {hook for row in rows for hook in re.findall(r"`(\w+)\(", row)}
    assert len(hooks) > 10 and hooks <= set(known)


@pytest.mark.parametrize(
    "name",
    [*(path.name for path in ROOT.glob("*.md")), "experiments/README.md"]
    + [f"docs/{name}.md" for name in DOCS],
)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def test_the_tree_names_every_room_and_door() -> None:
    tree = DOCS["built"]
    for package in ("fedgen", "strategies"):
        for path in (ROOT / package).iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                assert re.search(rf"^      {path.name}/ ", tree, re.M), path
            if path.suffix == ".py" and not path.stem.startswith("_"):
                assert re.search(rf"\b{path.stem}\b", tree), path

"""The plan of the tree: rooms that can be seen at once, and no circle of imports."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
MODULES = 9
LINES = 400


@pytest.mark.parametrize("package", ["fedgen", "strategies"])
def test_no_room_has_more_modules_than_can_be_seen(package: str) -> None:
    for folder in [ROOT / package, *(ROOT / package).rglob("*/")]:
        modules = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
        if folder != ROOT / "strategies":  # a list of algorithms
            assert len(modules) <= MODULES, folder


@pytest.mark.parametrize("package", ["fedgen", "strategies", "tests", "benchmarks"])
def test_no_file_is_longer_than_can_be_read(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= LINES, path


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph(
        "fedgen", "strategies", exclude_type_checking_imports=True, cache_dir=None
    )
    graph.remove_import(importer="fedgen", imported="fedgen.api")  # the facade
    for module in sorted(graph.modules):
        for imported in graph.find_modules_directly_imported_by(module):
            assert graph.find_shortest_chain(imported, module) is None, (module, imported)


def test_a_wrong_import_breaks_the_contracts(tmp_path: Path) -> None:
    """Low imports high: the contracts of ``make lint`` are seen red."""
    for package in ("fedgen", "strategies"):
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    disk = tmp_path / "fedgen" / "files" / "disk.py"
    disk.write_text(f"from fedgen.report import pages\n{disk.read_text()}")
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([command, "--no-cache"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "fedgen.files is not allowed to import fedgen.report" in done.stdout

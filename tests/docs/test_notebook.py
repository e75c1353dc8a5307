"""The notebook runs from top to bottom, and says nothing on the side."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(cells) == 5
    assert not any(cell.outputs or cell.execution_count for cell in cells), "commit it without"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    NotebookClient(
        book,
        timeout=240,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream"]
    shown = [{*output.data} for output in outputs]
    assert "text/html" in shown[0] and "application/vnd.plotly.v1+json" in shown[2]
    assert [*tmp_path.glob("runs/digits-*/report.html")]

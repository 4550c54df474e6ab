"""The notebooks: they run from first to last cell, and come to what their text says."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = ROOT / "notebooks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of Jupyter's own machinery; what the cells warn of is tested below
]


def _run(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """Run a notebook where a reader would, with the interpreter of this test."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        patch.setenv(variable, str(folder / variable.lower()))
    patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    patch.setenv("PYTHONPATH", str(ROOT))
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    return client.execute()


def _outputs(notebook: Any, kind: str) -> list[str]:
    """Give what the cells left of one MIME type, or "stderr"."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                found += [output.text] * (kind == {"stdout": "text/plain"}.get(output.name, output.name))
            elif kind in output.get("data", {}):
                found.append(output.data[kind])
    return found


@pytest.fixture(scope="module", params=sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def notebook(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give each notebook after it ran."""
    with pytest.MonkeyPatch.context() as patch:
        return _run(request.param, tmp_path_factory.mktemp("jupyter"), patch)


def test_every_cell_runs_without_a_complaint(notebook: Any) -> None:
    """No cell fails, warns or writes to standard error."""
    assert _outputs(notebook, "stderr") == []
    assert not [text for text in _outputs(notebook, "text/plain") if "Warning" in text]


def test_plots_show(notebook: Any) -> None:
    """Each cell that draws shows its figure, once."""
    drawing = [cell for cell in notebook.cells if cell.cell_type == "code" and "plot" in cell.source]
    assert len(drawing) >= 4
    assert len(_outputs(notebook, "image/png")) == len(drawing)


def test_findings_are_those_of_the_text(notebook: Any) -> None:
    """The numbers that the prose rests on are in the outputs."""
    text = "\n".join(_outputs(notebook, "text/plain"))
    if "In the night of" in text:
        assert re.search(r"clients? offers? at most TLS 1\.0 and did not in the nights before", text)
        assert "handshakes failed" in text
    elif "Stranger Root" in text:
        assert "which was issued by CN=Stranger Root,O=Stranger: 4 handshakes ended with unknown_ca (48)" in text
        assert "which was issued by CN=Stranger Root,O=Stranger: 8 handshakes ended with unknown_ca (48)" in text
        assert "certificate_required (116)" in text
    elif "declined all" in text:
        assert "3 clients offer at most TLS 1.1, and server 10.40.0.10:443 accepted nothing below TLS 1.2" in text
        assert "Raising it to TLS 1.3 would shut out up to 2 clients more" in text
        assert "declined all 4 sessions offered, though it gives out tickets" in text
    elif "missing_intermediate" in text:
        assert "without the intermediate certificate CN=Home Trust TLS CA 1,O=Home Trust" in text
        assert "had expired 3 days before" in text
        assert "1 handshake with it succeeded" in text
    elif "protocol_version" in text:
        assert "the server sent protocol_version (70) after the ClientHello" in text
    else:
        assert "Failed after the ClientHello: the server refused the client; it sent" in text
        assert "0.11" in text
        assert "0.012" in text


def test_notebooks_are_kept_without_outputs() -> None:
    """A committed notebook holds no outputs, so that a change of it can be read as a change."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells), path.name

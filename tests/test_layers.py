"""Who may import whom: the layer table of the design, read from the imports and checked in fresh processes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "explorer"

STANDARD = set(sys.stdlib_module_names)
ARROW = {"numpy", "pyarrow"}
BELOW_APP = {
    *("errors", "storage", "programs", "recording", "reading", "analysis", "inference", "charts", "notebook"),
    *("demo", "cli", ""),
}
# layer: (layers of ours, packages of others). "" is the package itself, whose public names are resolved lazily.
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "": (BELOW_APP, set()),
    "errors": (set(), set()),
    "storage": ({"errors"}, ARROW),
    "programs": ({"storage", "errors"}, {"torch"}),
    "recording": ({"storage", "programs", "errors"}, ARROW | {"torch", "psutil"}),
    "reading": ({"storage", "errors"}, ARROW | {"pandas"}),
    "inference": (
        {"programs", "reading", "storage", "errors"},
        {"captum", "numpy", "pandas", "PIL", "tokenizers", "torch"},
    ),
    "analysis": ({"storage"}, {"numpy", "pandas", "scipy"}),
    "charts": (set(), {"numpy", "pyarrow"}),
    "notebook": ({"reading", "analysis", "charts", "storage", "errors"}, {"altair", "numpy", "pyarrow"}),
    "app": (
        {"reading", "analysis", "inference", "charts", "errors", ""},
        {"streamlit", "numpy", "pandas", "pyarrow", "vl_convert"},
    ),
    "demo": (BELOW_APP, {"torch", "sklearn"}),
    "cli": (BELOW_APP, set()),
    "__main__": ({"cli"}, set()),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names of everything a module imports, wherever in it; types only (`if TYPE_CHECKING`) count too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(path: Path) -> list[str]:
    ours, others = LAYERS[layer_of(path)]
    found = []
    for name in imported(path):
        package, _, rest = name.partition(".")
        layer = rest.partition(".")[0]
        if package == "explorer":
            layer = layer if (PACKAGE / layer).is_dir() or (PACKAGE / f"{layer}.py").is_file() else ""
            allowed = layer in ours | {layer_of(path)}
        else:
            allowed = package in STANDARD | others
        if not allowed:
            found.append(name)
    return found


def test_every_folder_is_a_layer_that_has_rules():
    assert {layer_of(path) for path in modules()} <= set(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_module_imports_only_what_its_layer_may(path):
    assert forbidden(path) == []


def test_analysis_knows_bins_and_nothing_else_of_the_format():
    users = [path for path in modules() if layer_of(path) == "analysis"]
    ours = {name for path in users for name in imported(path) if name.startswith("explorer.storage")}
    assert ours
    assert {name.rpartition(".")[0] for name in ours} == {"explorer.storage.bins"}


def test_only_the_page_script_and_the_app_import_streamlit():
    users = [path for path in modules() if any(name.startswith("streamlit") for name in imported(path))]
    assert users
    assert {layer_of(path) for path in users} == {"app"}


def loaded_after(code: str) -> set[str]:
    """Top-level packages in `sys.modules` of a fresh process that ran ``code``."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-W", "error", "-c", f"{code}\n{report}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True, cwd=PACKAGE.parent).stdout.split())


def test_importing_the_package_costs_nothing():
    assert not loaded_after("import explorer") & {"torch", "numpy", "pyarrow", "pandas", "streamlit", "altair"}


def test_the_recorder_needs_no_pandas_and_no_streamlit():
    code = "import explorer.recording.recorder; from explorer import Recorder"
    assert not loaded_after(code) & {"pandas", "streamlit", "altair", "matplotlib", "tensorboard"}


def test_recording_a_run_never_imports_pandas(tmp_path):
    code = f"""
import numpy, torch
from explorer import Recorder
with Recorder("t", root={str(tmp_path)!r}, system_every_s=0.05, config={{"lr": 0.1}}) as rec:
    for step in range(100):
        rec.log({{"loss": torch.tensor(1.0), "n": step, "x": numpy.float32(2)}}, step=step)
"""
    assert not loaded_after(code) & {"pandas", "streamlit", "altair"}


@pytest.mark.parametrize("module", ["explorer.charts.curves", "explorer.reading.runs", "explorer.reading.catalogue"])
def test_reading_and_drawing_need_no_torch(module):
    assert "torch" not in loaded_after(f"import {module}")


def test_the_process_that_runs_models_imports_pandas_only_where_it_answers_a_table():
    code = "import explorer.inference.sandbox.child, explorer.inference.sandbox.requests, explorer.inference.factory"
    assert "pandas" not in loaded_after(code)


def test_listing_runs_needs_neither_pandas_nor_torch(tmp_path):
    code = f"from explorer.reading.catalogue import Catalogue; Catalogue({str(tmp_path)!r}).refresh()"
    assert not loaded_after(code) & {"pandas", "torch", "streamlit"}


SOURCES = "\n".join(f"{path}: {path.read_text(encoding='utf-8')}" for path in modules())
BANNED = ["unsafe_allow_html", "st.html(", "import pickle", "torch.export.load", "allow_pickle=True", "components.v1"]


@pytest.mark.parametrize("sink", BANNED)
def test_a_way_to_run_a_strangers_code_is_not_used(sink):
    assert sink not in SOURCES


def test_drawing_picking_and_scrolling_are_the_only_components_and_fetch_nothing():
    users = [path for path in modules() if "st.components" in path.read_text(encoding="utf-8")]
    assert [path.name for path in users] == ["inference_pad.py", "inference_picker.py", "scroll.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in users)
    assert not [word for word in ("http", "fetch(", "import(", "eval(", "innerHTML", "src=") if word in text]


def test_checkpoints_are_loaded_as_weights_only():
    calls = [
        (path, node)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "eval", "exec"}
    ]
    for path, call in calls:
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert ast.unparse(call.func) == "torch.load", f"{path} runs {ast.unparse(call.func)}"
        assert keywords.get("weights_only") == "True", path

"""What programs may rely on: names, signatures of errors, silence, and documentation."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import onnx_opt
from onnx_opt import errors

STABLE = {
    "onnx_opt": """
        Constant Function Graph LimitError MissingRuntimeError ModelError Node OnnxOptError Pass PassContext PassError
        Pipeline Repeat Report Result Rule Size Stats Target TargetError UsageError ValidationError Value Variable
        apply_rules load optimize option require rule save""",
    "onnx_opt.errors": """
        LimitError MissingRuntimeError ModelError OnnxOptError PassError TargetError UsageError ValidationError""",
    "onnx_opt.instrument": "Announce Instrument Log PassRun PrintAfter PrintAfterChange Timing",
    "onnx_opt.rewrite": """
        Granted NoMatch Rule anyof apply_rules const decline domain known op opt require rest rule""",
}
"""What is here stays: a name may be added, and only a new major version takes one away."""

PACKAGES = [Path(onnx_opt.__file__).parent, *(Path(importlib.import_module(f"onnx_opt_{name}").__file__ or "").parent for name in ("passes", "rules"))]  # fmt: skip


@pytest.mark.parametrize("module", STABLE)
def test_stable_names_are_there_and_listed(module: str) -> None:
    found = importlib.import_module(module)
    listed = STABLE[module].split()
    assert set(listed) <= set(found.__all__), "a stable name is gone"
    assert set(found.__all__) == set(listed), "a new name is to be listed here as well"
    for name in listed:
        assert getattr(found, name) is not None


@pytest.mark.parametrize("module", STABLE)
def test_stable_names_are_documented(module: str) -> None:
    found = importlib.import_module(module)
    lacking = [name for name in found.__all__ if inspect.isclass(each := getattr(found, name)) and not each.__doc__]
    lacking += [name for name in found.__all__ if inspect.isfunction(each := getattr(found, name)) and not each.__doc__]
    assert lacking == []


def test_types_are_told_to_checkers() -> None:
    assert all((package / "py.typed").is_file() for package in PACKAGES)


def test_the_arguments_of_optimize_stay() -> None:
    names = list(inspect.signature(onnx_opt.optimize).parameters)
    assert names[:2] == ["model", "passes"]
    stable = (
        "level target validate strict bisect data tolerance samples seed custom_ops dims shapes fast_math reproducer"
    )
    assert {*stable.split(), "metadata", "jobs", "scratch", "instruments", "progress"} <= set(names)


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_one_hierarchy_with_fields(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.OnnxOptError)
    error = kind("it broke") if name != "MissingRuntimeError" else kind()
    assert (error.path, error.node) == (None, None)
    error.locate("model.onnx")
    assert error.path == "model.onnx" and str(error).startswith("model.onnx: ")
    assert error.exit_code in (1, 2, 3)


def test_every_error_of_the_project_is_of_that_hierarchy() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    assert {each.__name__ for each in classes} == set(errors.__all__)


def test_the_library_prints_nothing() -> None:
    """Only the command writes to the terminal; what the library has to tell goes to its logger."""
    found = []
    for package in PACKAGES:
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                    found.append(f"{file.relative_to(package)}:{node.lineno}")
    assert found == []


def test_its_documentation_is_made_from_docstrings(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="the extra 'docs' is not installed")
    command = [sys.executable, "-m", "pdoc", *STABLE, "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Warn" not in done.stderr, done.stderr
    page = (tmp_path / "onnx_opt.html").read_text(encoding="utf-8")
    assert {path.stem for path in (tmp_path / "onnx_opt").iterdir()} == {"errors", "instrument", "rewrite"}
    assert "prove" in page and 'id="optimize"' in page and 'id="Result.save_report"' in page


def test_importing_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(onnx_opt)
    assert said.getvalue() == ""

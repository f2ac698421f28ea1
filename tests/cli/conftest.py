"""Small models, a way to run the command in this process, and a way to install the example package."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import parser

from command import Outcome, run
from onnx_opt import passes

__all__ = ["Outcome", "install", "run", "write"]

PLUGIN = Path(__file__).parent.parent / "plugin"

NEGATIONS = """
<ir_version: 8, opset_import: ["": 17]>
negations (float[n, 4] x) => (float[n, 4] y)
{
  [first] a = Neg(x)
  [second] b = Neg(a)
  [third] y = Relu(b)
}
"""

CONVOLUTION = """
<ir_version: 8, opset_import: ["": 17]>
convolution (float[1, 2, 5, 5] x) => (float[1, 3, 5, 5] y)
<float[3, 2, 1, 1] w = {1.0, -2.0, 3.0, 0.5, 0.25, -1.0}, float[3] s = {1.0, 2.0, 0.5}, float[3] b = {0.0, 1.0, -1.0},
 float[3] m = {0.5, 0.0, -0.5}, float[3] v = {1.0, 4.0, 0.25}>
{
  [conv] c = Conv(x, w)
  [norm] n = BatchNormalization(c, s, b, m, v)
  [act] y = Relu(n)
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of three nodes, with a dim 'n'; no preset finds anything to do."""
    return write(tmp_path / "model.onnx", NEGATIONS)


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """The same with a node that does nothing."""
    return write(
        tmp_path / "idle.onnx",
        NEGATIONS.replace("b = Neg(a)", "b = Neg(i)").replace("[second]", "[idle] i = Identity(a) [second]"),
    )


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    """Conv, BatchNormalization, Relu."""
    return write(tmp_path / "convolution.onnx", CONVOLUTION)


def write(path: Path, text: str) -> Path:
    """The model that ONNX text describes, as a file."""
    onnx.save(parser.parse_model(text), str(path))
    return path


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """The example package, installed the way an installer leaves it: the module and its metadata on the import path."""
    site = tmp_path / "site"
    install(site)
    sys.path.insert(0, str(site))
    passes.registry.cache_clear()
    yield site
    sys.path.remove(str(site))
    for name in [name for name in sys.modules if name.startswith("onnx_opt_example")]:
        del sys.modules[name]
    passes.registry.cache_clear()


def install(site: Path) -> None:
    """Write what ``pip install --target SITE tests/plugin`` writes, without asking the network for a build tool."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copytree(
        PLUGIN / "onnx_opt_example", site / "onnx_opt_example", ignore=shutil.ignore_patterns("__pycache__")
    )
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for name, points in groups for line in (f"[{name}]", *(f"{k} = {v}" for k, v in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

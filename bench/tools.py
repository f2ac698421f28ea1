"""The tools that the benchmarks compare, as data, and the environment that holds the public ones."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
DEFAULT_ENVIRONMENT = BUILD / "bench-env"

ORT_OFFLINE = """
import sys, onnxruntime as ort
options = ort.SessionOptions()
options.log_severity_level = 3
options.optimized_model_filepath = sys.argv[2]
options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, "ORT_ENABLE_" + sys.argv[3])
ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""

ONNXSCRIPT = """
import sys, onnx
from onnxscript import optimizer
onnx.save(optimizer.optimize(onnx.load(sys.argv[1])), sys.argv[2])
"""

# The package imports all of TensorFlow for its logging; its optimizer of ONNX graphs needs none of it.
TF2ONNX = """
import sys, types
from importlib.machinery import ModuleSpec
tensorflow = types.ModuleType("tensorflow")
tensorflow.__spec__, tensorflow.__version__ = ModuleSpec("tensorflow", None), "2"
sys.modules["tensorflow"] = tensorflow
import onnx
from tf2onnx.graph import GraphUtil
onnx.save(GraphUtil.optimize_model_proto(onnx.load(sys.argv[1]), catch_errors=False), sys.argv[2])
"""


@dataclass(frozen=True)
class Tool:
    """A way from one model file to another.

    In `command`, `{python}` is this interpreter, `{tools}` the one of the tools' environment, `{input}` and `{output}`
    the two files. `requires` is what pip installs for it there, in one go; nothing for what this interpreter has.
    """

    name: str
    command: tuple[str, ...]
    requires: tuple[str, ...] = ()
    default: bool = True

    def argv(self, environment: Path, source: Path, result: Path) -> list[str]:
        fields = {
            "python": sys.executable,
            "tools": str(interpreter(environment)),
            "input": str(source),
            "output": str(result),
        }
        return [part.format(**fields) if part.startswith("{") else part for part in self.command]


OURS = ("{python}", "-m", "onnx_opt.cli", "{input}", "-o", "{output}")

# onnxsim and onnxslim fold more where they find ONNX Runtime.
RUNTIME = "onnxruntime>=1.23,<2"

# Each public tool as its own documentation says to run it, with no option changed.
TOOLS = {
    tool.name: tool
    for tool in (
        Tool("onnx-opt", (*OURS, "--no-validate")),
        Tool("onnx-opt-proven", OURS, default=False),
        Tool("onnxsim", ("{tools}", "-m", "onnxsim", "{input}", "{output}"), ("onnxsim>=0.8,<0.9", RUNTIME)),
        Tool("onnxslim", ("{tools}", "-m", "onnxslim", "{input}", "{output}"), ("onnxslim>=0.1.98,<0.2", RUNTIME)),
        Tool(
            "onnxoptimizer", ("{tools}", "-m", "onnxoptimizer", "{input}", "{output}"), ("onnxoptimizer>=0.4.2,<0.5",)
        ),
        Tool("onnxscript", ("{tools}", "-c", ONNXSCRIPT, "{input}", "{output}"), ("onnxscript>=0.7,<0.8",)),
        # The same ONNX Runtime that judges: what another version writes, this one need not read.
        Tool("ort-basic", ("{python}", "-c", ORT_OFFLINE, "{input}", "{output}", "BASIC")),
        Tool("ort-extended", ("{python}", "-c", ORT_OFFLINE, "{input}", "{output}", "EXTENDED")),
        Tool("ort-all", ("{python}", "-c", ORT_OFFLINE, "{input}", "{output}", "ALL"), default=False),
        Tool("tf2onnx", ("{tools}", "-c", TF2ONNX, "{input}", "{output}"), ("tf2onnx>=1.17,<2", "onnx"), default=False),
    )
}
ONNX_IR = ("onnx-ir>=1.1,<2",)


def interpreter(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def prepare(environment: Path, requirements: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Install what is not there yet, one tool at a time. Returns what could not be installed, and why.

    What was installed before is recorded in the environment and not asked for again: no network is needed then.
    """
    python, record = interpreter(environment), environment / "installed.json"
    installed: list[list[str]] = json.loads(record.read_text()) if record.exists() else []
    missing = [packages for packages in requirements if list(packages) not in installed]
    if missing and not python.exists():
        venv.create(environment, with_pip=True)
    failures = {}
    for packages in missing:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            failures[packages] = (errors or done.stderr.splitlines() or ["pip failed"])[-1]
            continue
        installed.append(list(packages))
        record.write_text(json.dumps(installed, indent=1))
    return failures


def skipped(failures: dict[tuple[str, ...], str]) -> list[str]:
    """What `prepare` could not install, in words."""
    return [f"skipped: {packages[0]} cannot be installed: {reason}" for packages, reason in failures.items()]


PACKAGES = (
    "onnx", "onnxruntime", "onnxruntime-gpu", "onnxsim", "onnxslim", "onnxoptimizer", "onnxscript", "onnx-ir",
    "tf2onnx",
)  # fmt: skip
LIST_VERSIONS = """
import importlib.metadata, json, sys
found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
print(json.dumps({name: found[name] for name in sys.argv[1:] if name in found}))
"""


def versions(environment: Path) -> dict[str, dict[str, str]]:
    """Package -> version of what matters to a comparison: of this environment, and of the tools' own."""
    pythons = {"own": Path(sys.executable), "tools": interpreter(environment)}
    listings = {
        name: subprocess.run([str(python), "-c", LIST_VERSIONS, *PACKAGES], capture_output=True, text=True, check=True)
        for name, python in pythons.items()
        if python.exists()
    }
    return {name: json.loads(listing.stdout) for name, listing in listings.items()}

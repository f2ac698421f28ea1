"""The same model and pipeline give the same bytes: in another process, with other hash seeds, with more threads.

ONNX_OPT_MODELS names a folder of models that are tried beside those of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SILERO = ROOT / "tests" / "models" / "silero_vad.onnx"
GENERATED = ("chain:60", "transformer:300", "subgraphs:20", "users:200")

# What was proven is what is written: deciding what to undo must not depend on the process either.
SCRIPT = """
import hashlib, sys
import onnx_opt
level, jobs, *paths = sys.argv[1:]
for path in paths:
    result = onnx_opt.optimize(path, level=int(level), jobs=int(jobs), validate="silero" in path)
    print(hashlib.sha256(result.to_bytes()).hexdigest(), path)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    found = []
    for spec in GENERATED:
        found.append(str(folder / f"{spec.replace(':', '-')}.onnx"))
        subprocess.run([sys.executable, str(ROOT / "bench" / "generate.py"), spec, found[-1]], check=True)
    given = os.environ.get("ONNX_OPT_MODELS")
    return [*found, str(SILERO), *(map(str, sorted(Path(given).glob("*.onnx"))) if given else ())]


def _start(models: list[str], level: int, seed: str, jobs: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SCRIPT, str(level), str(jobs), *models]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_same_bytes(models, level):
    runs = [_start(models, level, seed, jobs) for seed, jobs in (("0", 1), ("4711", 4))]
    (one, other) = (run.communicate()[0].splitlines() for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert len(one) == len(models)
    assert one == other

"""Models on disk, the command as a process of its own, and processes that die at a chosen moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_opt import files

EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.chmod", "os.truncate", "os.rmdir", "os.mkdir", "shutil.")
FOUND_NOTHING_TO_STOP = 77


def make(path: Path, fill: float, *, external: str | None = None, size: int = 4096) -> Path:
    """y = x + w + 0 with `size` numbers `fill` in w, in the file or in the file `external` beside it."""
    path.parent.mkdir(exist_ok=True)
    weights = [numpy_helper.from_array(np.full(size, fill, np.float32), "w")]
    weights.append(numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name in "xy"]
    nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Identity", ["a"], ["b"])]
    nodes.append(helper.make_node("Sub", ["b", "zero"], ["y"]))
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external is None:
        path.write_bytes(model.SerializeToString())
    else:
        onnx.save(model, path, save_as_external_data=True, location=external)
    return path


def weight(path: Path) -> float:
    """The number that fills w: fails for a model that is not whole with its data."""
    model = onnx.load(path)
    onnx.checker.check_model(str(path))
    (array,) = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w"]
    assert array.min() == array.max(), "the data of two models are mixed"
    return float(array[0])


def litter(folder: Path) -> list[str]:
    """Names of files that only a killed process leaves."""
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(files.PREFIX) or p.suffix == ".spare")


def dies_at(moment: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child process that is killed right before its file operation number `moment`; False where it has
    fewer of them."""
    child = os.fork()
    if child == 0:
        _work_until(moment, work)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == FOUND_NOTHING_TO_STOP
    return False


def _work_until(moment: int, work: Callable[[], object]) -> None:
    left = [moment]

    def watch(event: str, _: object) -> None:
        if event.startswith(EVENTS):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    try:
        sys.addaudithook(watch)
        work()
        os._exit(FOUND_NOTHING_TO_STOP)
    finally:
        os._exit(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the output goes."""
    found = tmp_path / "out"
    found.mkdir()
    return found

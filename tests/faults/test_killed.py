"""Killed at any moment: the earlier file is still there, or the new one is whole."""

from __future__ import annotations

import itertools
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from command import start
from onnx_opt import files, ir

from .conftest import dies_at, litter, make, weight

EARLIER, NEW = 1.0, 2.0


def changed(path: Path) -> ir.Graph:
    """A model that has to be written anew."""
    graph = ir.load(path)
    node = next(iter(graph))
    graph.set_op(node, "Mul")
    return graph


def kill_everywhere(graph: ir.Graph, output: Path) -> int:
    """Save in children that are killed at each file operation; what they leave must be whole. How many there were."""
    for moment in itertools.count():
        assert moment < 200
        was_killed = dies_at(moment, lambda: ir.save(graph, output))
        assert weight(output) == NEW if not was_killed else weight(output) in (EARLIER, NEW)
        if not was_killed:
            return moment
    raise AssertionError


@pytest.mark.parametrize("spilled", [None, "weights.bin"])
def test_over_a_model_without_external_data(tmp_path: Path, folder: Path, spilled: str | None) -> None:
    graph = changed(make(tmp_path / "in" / "model.onnx", NEW, external=spilled))
    output = make(folder / "out.onnx", EARLIER)
    assert kill_everywhere(graph, output) >= 3
    assert not litter(folder)


def test_over_a_model_with_external_data(tmp_path: Path, folder: Path) -> None:
    """The two files can't be exchanged at once: in between, the new model refers to its data by another name."""
    graph = changed(make(tmp_path / "in" / "model.onnx", NEW, external="weights.bin"))
    for moment in itertools.count():
        assert moment < 200
        output = make(folder / "out.onnx", EARLIER, external="out.onnx.data")
        was_killed = dies_at(moment, lambda output=output: ir.save(graph, output))
        assert weight(output) in ((EARLIER, NEW) if was_killed else (NEW,))
        if not was_killed:
            break
    assert moment >= 10
    assert sorted(p.name for p in folder.iterdir()) == ["out.onnx", "out.onnx.data"], "what kills left is gone"


def test_in_place(tmp_path: Path) -> None:
    """The model that is read is the one that is replaced."""
    for moment in itertools.count():
        model = make(tmp_path / "model.onnx", NEW, external="model.onnx.data")
        graph = changed(model)
        was_killed = dies_at(moment, lambda graph=graph, model=model: ir.save(graph, model))
        assert weight(model) == NEW
        if not was_killed:
            break
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]


def test_where_there_was_nothing(tmp_path: Path, folder: Path) -> None:
    graph = changed(make(tmp_path / "in" / "model.onnx", NEW, external="weights.bin"))
    output = folder / "out.onnx"
    for moment in itertools.count():
        output.unlink(missing_ok=True)
        was_killed = dies_at(moment, lambda: ir.save(graph, output))
        if output.exists():
            assert weight(output) == NEW
        if not was_killed:
            break
    assert sorted(p.name for p in folder.iterdir()) == ["out.onnx", "out.onnx.data"]


@pytest.mark.parametrize("delay", [0.1, 0.4, 0.8])
def test_the_command(tmp_path: Path, folder: Path, delay: float) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW)
    output = make(folder / "out.onnx", EARLIER)
    process = start(model, "-o", output)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert weight(output) in (EARLIER, NEW)
    ir.save(ir.load(model), output)
    assert weight(output) == NEW
    assert [p.name for p in folder.iterdir()] == ["out.onnx"], "the next run clears up"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_asked_to_stop(tmp_path: Path, folder: Path, number: int, code: int) -> None:
    """Ctrl-C, a build system that gives up, a terminal that is closed: nothing is left, and no traceback is shown."""
    model = make(tmp_path / "in" / "model.onnx", NEW)
    output = make(folder / "out.onnx", EARLIER)
    (tmp_path / "slow.py").write_text(
        "import time\ndef wait(graph):\n    print('waits', flush=True)\n    time.sleep(60)\n"
    )
    # Whoever runs the tests may ignore the signal, and processes inherit that.
    heed = partial(signal.signal, number, signal.SIG_DFL)
    process = start(model, "-o", output, "-q", "--passes", f"{tmp_path}/slow.py:wait", preexec_fn=heed)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert not err.strip()
    assert weight(output) == EARLIER
    assert [p.name for p in folder.iterdir()] == ["out.onnx"]


def test_what_is_being_written_is_no_litter(tmp_path: Path) -> None:
    """Another process must not clear away what is in use."""
    with files.atomic_file(tmp_path / "a") as file:
        file.write(b"a")
        scratch = files.ScratchFolder(tmp_path)
        files.remove_stale(tmp_path)
        assert len(litter(tmp_path)) == 2
    assert (tmp_path / "a").read_bytes() == b"a"
    del scratch
    assert [p.name for p in tmp_path.iterdir()] == ["a"]

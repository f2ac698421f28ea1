"""The worker: objects in another process; what ends that process does not end this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import ml_dtypes
import numpy as np
import pytest

from onnx_opt.worker import Crashed
from onnx_opt.worker.client import Worker, shared

LIST, NUMPY = "builtins:list", "numpy:asarray"


@pytest.fixture
def worker():
    found = Worker()
    yield found
    found.kill()


def test_objects_stay_in_the_other_process(worker):
    handle = worker.make(LIST, [1])
    worker.call(handle, "append", 2)
    assert worker.call(handle, "__len__") == 2
    assert worker.apply("os:getpid") != os.getpid()
    worker.drop(handle)
    with pytest.raises(KeyError):
        worker.call(handle, "append", 3)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.array([1.5, -0.0, np.nan], ml_dtypes.bfloat16),
        np.array([1, -8], ml_dtypes.int4),
        np.array(["a", "é"], object),
        np.zeros((0, 3), np.int8),
        np.array(7),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_arrays_of_every_kind_pass(worker, array):
    result = worker.apply(NUMPY, array)
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    if array.dtype != object:
        assert result.tobytes() == array.tobytes()
    else:
        assert result.tolist() == array.tolist()


def test_errors_are_raised_here(worker):
    with pytest.raises(ZeroDivisionError):
        worker.apply("operator:truediv", 1, 0)
    with pytest.raises(RuntimeError, match="pickle"):
        worker.apply("threading:Lock")
    assert worker.alive


@pytest.mark.parametrize(("number", "words"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "memory runs out")])
def test_a_crash_is_an_exception(worker, number, words):
    with pytest.raises(Crashed, match=words):
        worker.apply("signal:raise_signal", number)
    assert not worker.alive


def test_what_takes_too_long_is_ended(worker):
    with pytest.raises(Crashed, match=r"took over 0\.2 s"):
        worker.apply("time:sleep", 60, limit=0.2)


def test_the_shared_worker_is_started_again():
    with pytest.raises(Crashed):
        shared().apply("os:_exit", 3)
    assert shared().apply("operator:add", 1, 2) == 3


def test_what_the_work_prints_does_not_disturb(worker):
    worker.apply("os:write", 1, b"x" * 100_000)
    worker.apply("builtins:print", "hello")
    assert worker.apply("operator:add", 1, 2) == 3


def test_threads_take_turns(worker):
    results = []
    ask = [threading.Thread(target=lambda i=i: results.append(worker.apply("operator:mul", i, i))) for i in range(20)]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    assert sorted(results) == [i * i for i in range(20)]


def test_the_worker_ends_with_its_parent():
    """Also where the parent is killed in the middle of a request."""
    script = textwrap.dedent("""
        import os, threading
        from onnx_opt.worker import shared
        print(shared().apply("os:getpid"), flush=True)
        threading.Timer(0.2, os.kill, (os.getpid(), 9)).start()
        shared().apply("time:sleep", 60)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert _ends(int(done.stdout))


def _ends(pid: int) -> bool:
    """Whether a process is gone within 10 s."""
    tick = threading.Event()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        tick.wait(0.1)
    return False

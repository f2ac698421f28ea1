"""``onnx-opt batch``: many models, each for itself, here and on a cluster; what is lost on the way is made again."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from command import Outcome, run, start

from .conftest import CONVOLUTION, write, write_external

FAST = ("--no-validate", "--no-cache")
NAMES = ("a", "b", "deep/c")

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: onnx-opt[ray]")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models, the last with external data and in a folder below."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    for index, name in enumerate(NAMES):
        text = CONVOLUTION.replace("convolution (", f"{name[-1]} (").replace("-2.0", f"-{index + 3}.0")
        write(folder / f"{name}.onnx", text)
    write_external(folder / "deep" / "c.onnx", "c.bin")
    return folder


def batch(output: str, *flags: object, code: int = 0) -> dict[str, dict]:
    """Run over all models; what is reported of each."""
    outcome = run("batch", "models/**/*.onnx", "-o", output, "--json", *flags)
    assert outcome.code == code, outcome.err
    return {Path(entry["name"]).stem: entry for entry in json.loads(outcome.out)["outputs"]}


def status(found: dict[str, dict]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in found.items()}


def bytes_in(folder: str) -> dict[str, bytes]:
    files = [path for path in Path(folder).rglob("*") if path.is_file() and ".onnx-opt" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def made_here(*flags: str) -> dict[str, bytes]:
    """The outputs as the plain command makes them, one after the other."""
    Path("here/deep").mkdir(parents=True)
    for name in NAMES:
        assert run(f"models/{name}.onnx", "-o", f"here/{name}.onnx", "-q", *FAST, *flags).code == 0
    return bytes_in("here")


def write_pass(text: str) -> tuple[str, str]:
    """A pass of the user's that does `text` where the graph's name is in `name`; the flags that run it."""
    Path("batch_pass.py").write_text(f"import os, time, signal\ndef act(graph):\n    name = graph.name\n    {text}\n")
    return ("--passes", "fold,batch_pass.py:act,cleanup")


ALL = dict.fromkeys("abc", "unchecked")


def test_names_stay_and_what_is_there_is_left_alone(models: Path) -> None:
    assert status(batch("out", *FAST, "--jobs", 2)) == ALL
    assert bytes_in("out").keys() == {"a.onnx", "b.onnx", "deep/c.onnx", "deep/c.onnx.data"}
    assert bytes_in("out") == made_here()
    assert set(status(batch("out", *FAST)).values()) == {"up to date"}
    (models / "a.onnx").unlink()
    write(models / "b.onnx", CONVOLUTION)
    assert status(batch("out", *FAST)) == {"b": "unchecked", "c": "up to date"}


def test_the_table_and_wrong_usage(models: Path) -> None:
    outcome = run("batch", "models/*.onnx", "-o", "out", *FAST)
    assert "2 outputs in" in outcome.out
    assert [line.split()[:2] for line in outcome.out.splitlines() if ".onnx" in line] == [
        [f"{name}.onnx", "unchecked"] for name in "ab"
    ]
    run("batch", "models/*.on", "-o", "out").fails(2, "no model matches")
    run("batch", "models/*.onnx", "-o", "out", "--tolerance", "x").fails(2, "no error bound")
    run("batch", "models/*.onnx", "models/deep/../a.onnx", "-o", "out").fails(2, "would both become")
    run("batch", "models/*.onnx", "-o", "out", "--dask", "a", "--ray", "b").fails(2, "two clusters")


def test_a_crash_and_a_bomb_cost_one_model_each(models: Path) -> None:
    flags = write_pass(
        "if name == 'a': os.abort()\n    if name == 'b': hoard = [bytearray(2**26) for _ in range(2**20)]"
    )
    found = batch("out", *FAST, *flags, "--jobs", 2, "--max-memory", "2GiB", code=1)
    assert status(found) == {"a": "failed", "b": "failed", "c": "unchecked"}
    assert "crashed (SIGABRT)" in found["a"]["error"]
    assert "more than 2GiB of memory is needed" in found["b"]["error"]
    assert "a.onnx" not in bytes_in("out")


def test_a_model_that_takes_too_long(models: Path) -> None:
    flags = write_pass("time.sleep(300)")
    outcome = run("batch", "models/a.onnx", "-o", "out", *FAST, *flags, "--timeout", 2)
    outcome.fails(1, "a.onnx: not done after 2 s")


def test_a_batch_that_was_killed_goes_on_where_it_was(models: Path) -> None:
    flags = write_pass("while name == 'b' and not os.path.exists('go'): time.sleep(0.02)")
    process = start("batch", "models/**/*.onnx", "-o", "out", *FAST, *flags, "--jobs", 1)
    wait_for(lambda: list(Path("out/.onnx-opt").glob("*.json")) or process.poll() is not None)
    process.kill()
    process.communicate()
    Path("go").write_text("")
    assert status(batch("out", *FAST, *flags)) == {**ALL, "a": "up to date"}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_interrupt_ends_all_processes(models: Path) -> None:
    flags = write_pass("open(f'pid {name}', 'w').write(str(os.getpid())); time.sleep(300)")
    process = start("batch", "models/**/*.onnx", "-o", "out", *FAST, *flags, "--jobs", 2)
    wait_for(lambda: len([path for path in Path().glob("pid *") if path.read_text()]) == 2 or process.poll())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    for path in Path().glob("pid *"):
        wait_for(lambda path=path: not _runs(int(path.read_text())))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def run_with(executor: Executor) -> list[str]:
    """Make the outputs with an executor of one's own; the errors."""
    from onnx_opt.builds.stamps import Stamps
    from onnx_opt.builds.steps import Step
    from onnx_opt.builds.update import Update
    from onnx_opt.cli import many

    steps = [
        Step(name, f"models/{name}.onnx", Path(f"out/{name}.onnx"), ("--no-validate",), many.compiler())
        for name in NAMES
    ]
    stamps = Stamps(Path("out"))
    update = Update(stamps, cache=False, by_value=True)
    return [outcome.error for _, outcome in update.run([stamps.state(step) for step in steps], executor)]


def test_any_executor_will_do(models: Path) -> None:
    with ProcessPoolExecutor(2) as executor:
        assert run_with(executor) == [""] * 3
    assert bytes_in("out") == made_here()


def test_an_executor_that_takes_nothing_any_more(models: Path) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    assert ["shutdown" in error for error in run_with(executor)] == [True] * 3


KILLS = """if name == 'b':
        try:
            os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(300)
        except FileExistsError:
            pass"""


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """A Dask cluster of three workers on this machine."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@needs_dask
@pytest.mark.parametrize("by_value", [(), ("--by-value",)], ids=["path", "value"])
def test_a_dask_worker_that_is_killed_in_mid_model_loses_nothing(
    by_value: tuple[str, ...], models: Path, dask_address: str, tmp_path: Path
) -> None:
    marker = tmp_path / "killed"
    flags = write_pass(KILLS.format(marker=str(marker)))
    found = batch("out", *FAST, *flags, *by_value, "--dask", dask_address)
    assert status(found) == ALL
    assert marker.exists(), "it was killed"
    assert bytes_in("out") == made_here(*flags)
    assert set(status(batch("out", *FAST, *flags, *by_value, "--dask", dask_address)).values()) == {"up to date"}


@needs_dask
def test_no_scheduler(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_opt.builds.executors.PATIENCE", 1)
    outcome: Outcome = run("batch", "models/*.onnx", "-o", "out", "--dask", "tcp://127.0.0.1:9", *FAST)
    outcome.fails(2, "no Dask scheduler answers at tcp://127.0.0.1:9")


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A Ray cluster of one node on this machine."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    head = [f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--include-dashboard=false"]
    node = subprocess.Popen(
        [*ray, "start", "--head", "--block", *head], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield f"127.0.0.1:{port}"
    node.terminate()
    node.wait(60)


@needs_ray
def test_a_ray_worker_that_is_killed_in_mid_model_loses_nothing(models: Path, tmp_path: Path, ray_address: str) -> None:
    wait_for(lambda: _listens(ray_address))
    marker = tmp_path / "killed"
    flags = write_pass(KILLS.format(marker=str(marker)))
    found = batch("out", *FAST, *flags, "--ray", ray_address)
    assert status(found) == ALL
    assert marker.exists(), "it was killed"
    assert bytes_in("out") == made_here(*flags)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), 1).close()
        return True
    return False

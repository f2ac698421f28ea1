"""Child processes are accounted for, stopped in time, and their failures are put in words."""

import sys
from dataclasses import replace
from pathlib import Path

import measure
import pytest

MEGABYTE = 10**6
LINUX_ONLY = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="own memory is sampled from /proc")


def python(code: str, timeout: float = 60) -> measure.Run:
    return measure.run([sys.executable, "-c", code], timeout=timeout)


def test_a_run_reports_output_and_costs() -> None:
    run = python("print('hello'); sum(range(10**6))")
    assert run.ok and run.stdout == "hello\n" and run.reason == ""
    assert run.cpu > 0 and run.wall > 0 and run.peak > MEGABYTE


def test_peak_memory_is_the_command_s_own_not_the_caller_s() -> None:
    ballast = b"x" * (300 * MEGABYTE)
    assert python("pass").peak < 150 * MEGABYTE
    del ballast


@LINUX_ONLY
def test_own_memory_counts_what_is_allocated_in_children_too() -> None:
    grow = "x = b'x' * 100_000_000; import time; time.sleep(0.3)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grow!r}])"
    assert (python(nested).peak_own or 0) > 100 * MEGABYTE


@LINUX_ONLY
def test_own_memory_leaves_out_mapped_files(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * (100 * MEGABYTE))
    code = (
        "import mmap, sys, time\n"
        f"with open({str(file)!r}, 'rb') as f: m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(m[i] for i in range(0, len(m), 4096)); time.sleep(0.1)"
    )
    run = python(code)
    assert run.peak > 100 * MEGABYTE and (run.peak_own or 0) < 50 * MEGABYTE


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no such model')", "exit 1: no such model"),
        ("import os; os.kill(os.getpid(), 11)", "crash: signal 11"),
    ],
)
def test_failures_have_a_reason(code: str, reason: str) -> None:
    run = python(code)
    assert not run.ok and run.reason == reason


def test_a_command_past_its_time_is_stopped_with_its_children() -> None:
    sleeper = "import time; time.sleep(60)"
    run = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeper!r}])", timeout=0.5)
    assert run.timed_out and run.wall < 30 and run.reason.startswith("timeout")


def test_a_command_that_does_not_exist() -> None:
    run = measure.run(["/no/such/command"])
    assert not run.ok and "FileNotFoundError" in run.reason


def test_interleaved_keeps_the_cheapest_and_does_not_repeat_a_failure() -> None:
    good = python("pass")
    costs = iter([3.0, 1.0, 2.0])
    failures = iter([replace(good, returncode=1)])
    best = measure.interleaved(3, {"good": lambda: replace(good, cpu=next(costs)), "bad": lambda: next(failures)})
    assert best["good"].cpu == 1.0 and best["bad"].returncode == 1

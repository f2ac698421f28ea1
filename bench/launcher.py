"""Run one command and write what it used to a JSON file: `python -I -S launcher.py REPORT TIMEOUT_S COMMAND...`.

A process of its own, importing next to nothing, because the kernel carries the peak memory of whoever starts a
command over `exec`: started from a large process, a small command would be charged for its parent.
"""

import json
import os
import signal
import sys
import time

SAMPLE_S = 0.004


def memory_of(pid: int) -> dict[str, int]:
    """Resident bytes of one process by kind, as the kernel accounts them; empty where /proc is missing or pid gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status)
    except OSError:
        return {}
    return {key: int(fields[key].split()[0]) * 1024 for key in ("RssAnon", "RssShmem", "RssFile") if key in fields}


def descendants(pid: int) -> list[int]:
    """`pid` and every process under it."""
    found, pending = [], [pid]
    while pending:
        current = pending.pop()
        found.append(current)
        try:
            threads = os.listdir(f"/proc/{current}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{current}/task/{thread}/children", encoding="ascii") as children:
                    pending += map(int, children.read().split())
            except OSError:
                continue
    return found


def own_memory(pid: int) -> int:
    """Bytes that the process tree holds itself: anonymous and shared memory, not pages of files that it maps."""
    kinds = [memory_of(process) for process in descendants(pid)]
    return sum(kind.get("RssAnon", 0) + kind.get("RssShmem", 0) for kind in kinds)


def stop(pid: int) -> None:
    """End the command and what it started: it leads a process group of its own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def run(command: list[str], timeout_s: float) -> dict[str, object]:
    """Run to the end or the time limit. Times in seconds, memory in bytes; `peak_own` is sampled, `peak` is exact."""
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, setpgroup=0)
    peak_own, timed_out = 0, False
    try:
        while True:
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                break
            peak_own = max(peak_own, own_memory(pid))
            if time.perf_counter() - started > timeout_s and not timed_out:
                timed_out = True
                stop(pid)
            time.sleep(SAMPLE_S)
    except BaseException:  # an interrupt from the keyboard reaches this process alone
        stop(pid)
        raise
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "returncode": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
        "wall": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * unit,
        "peak_own": peak_own or None,
    }


if __name__ == "__main__":
    report, timeout, *argv = sys.argv[1:]
    result = run(argv, float(timeout))
    with open(report, "w", encoding="utf-8") as file:
        json.dump(result, file)

"""Where tasks run: on this machine, or on a cluster. Anything with the interface of concurrent.futures will do."""

from __future__ import annotations

import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import Any

from onnx_opt.builds.tasks import end_all
from onnx_opt.errors import UsageError

PATIENCE = 20
"""Seconds in which a cluster has to answer."""


@contextmanager
def local(jobs: int) -> Iterator[Executor]:
    """`jobs` tasks at a time on this machine: a thread for each, which waits for the process of its task."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_all()
        raise
    pool.shutdown()


@contextmanager
def dask(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster. What ran on a worker that is lost runs again on another."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--dask needs Dask", remedy="pip install 'onnx-opt[dask]'") from error
    try:
        client = Client(address, set_as_default=False, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
    with client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # models by value are, as was asked for
        executor: Executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise


@contextmanager
def ray(address: str) -> Iterator[Executor]:
    """The nodes of a Ray cluster. What ran on a node that is lost runs again on another."""
    try:
        import ray as library
    except ImportError as error:
        raise UsageError("--ray needs Ray", remedy="pip install 'onnx-opt[ray]'") from error
    _check_answers(address)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    library.init(address=address, log_to_driver=False, configure_logging=False)
    for number, handler in before.items():  # Ray takes them
        signal.signal(number, handler)
    try:
        with redirect_stdout(sys.stderr):  # it tells of lost workers on stdout, where reports may be asked for
            yield RayExecutor(library)
    finally:
        library.shutdown()


def _check_answers(address: str) -> None:
    """Raise UsageError where nobody listens: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}", remedy="give host:port or auto") from error


class RayExecutor(Executor):
    """Ray's tasks behind the interface of concurrent.futures."""

    RETRIES = 3

    def __init__(self, library: Any) -> None:
        self._ray = library

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        remote = self._ray.remote(max_retries=self.RETRIES, num_cpus=1)(fn)
        future: Future[Any] = remote.remote(*args, **kwargs).future()
        return future


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1

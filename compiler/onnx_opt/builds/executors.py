"""Where tasks run: on this machine, or on a cluster. Anything with the interface of concurrent.futures will do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from onnx_opt.builds.tasks import end_all
from onnx_opt.errors import UsageError


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
        client = Client(address, set_as_default=False, timeout=30)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
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
    try:
        library.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}") from error
    try:
        yield RayExecutor(library)
    finally:
        library.shutdown()


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

"""A process beside this one in which ONNX Runtime runs: where it crashes or exhausts memory, only that process ends.

    frames.py   values through a pipe, arrays without a copy
    server.py   the other process: makes objects, calls them, replies
    objects.py  what is asked for: objects, attributes, calls
    telling.py  what the work says before it is done
    client.py   this side: `Worker`, `Crashed`, and the one worker that all work shares, `shared()`

A process that is a worker itself, or that is guarded by other means, calls `run_inline` and has everything done in it.
"""

from onnx_opt.worker.client import Crashed, Place, Worker, run_inline, shared

__all__ = ["Crashed", "Place", "Worker", "run_inline", "shared"]

"""Where the command begins: with what was remembered of such a line, else by reading it."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command with the arguments of this process; returns the exit code."""
    words = sys.argv[1:]
    if "--cache" in words:
        from onnx_opt.builds import recall

        if recall.recall(words):
            return 0
        recall.asked[:] = [words]
    from onnx_opt.cli import main as run

    return run(words)

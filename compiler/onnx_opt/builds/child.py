"""The command in a process of its own: it ends with the one that started it, and is the first that the system ends
where memory runs out."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress


def main() -> int:
    """Run the command with this process's arguments."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from onnx_opt.start import main as run

    return run()


def _end_with_parent() -> None:
    """Who started this process holds its standard input open; files appear whole or not at all, so it may just end."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(143)


if __name__ == "__main__":
    sys.exit(main())

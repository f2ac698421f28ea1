"""How much memory a process may have."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SHARE = 0.8
"""The part of it that is given out: the system needs some, too."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available_memory() -> int:
    """Bytes of memory for all tasks together: of the machine, or of the group that this process is in. 0 where the
    system does not say."""
    if not hasattr(os, "sysconf"):
        return 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMITS:
        with suppress(OSError, ValueError):  # no such group, or one without a limit: 'max'
            total = min(total, int(Path(name).read_text()))
    return int(total * SHARE)

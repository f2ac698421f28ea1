"""What work in a worker tells the one who asked for it, before it is done: how far it is, what it looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

NEWS = None
"""Stands in a frame where a reply has whether the work was done."""

_listener: Callable[[tuple[Any, ...]], object] | None = None
_lock = threading.Lock()


def listen(listener: Callable[[tuple[Any, ...]], object]) -> None:
    """From now on `listener` gets what is told."""
    global _listener
    _listener = listener


def tell(*news: Any) -> None:
    """Tell it to the one who asked. Threads may do so at once; outside a worker nobody hears it."""
    if _listener is not None:
        with _lock:
            _listener(news)

"""Objects by number, for those who cannot hold them: they are in another process."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any


class Objects:
    """What was made here. `name` is 'module:attribute', `limit` the seconds that a call may take; they do not count
    here: who is in another process can end this one."""

    alive = True

    def __init__(self) -> None:
        self._held: dict[int, Any] = {}
        self._count = 0

    def make(self, name: str, *args: Any) -> int:
        """Make an object that stays here; returns the number that stands for it."""
        self._count += 1
        self._held[self._count] = named(name)(*args)
        return self._count

    def get(self, handle: int, attribute: str) -> Any:
        """An attribute of an object."""
        return getattr(self._held[handle], attribute)

    def call(self, handle: int, method: str, *args: Any, limit: float = math.inf) -> Any:
        """Call a method of an object."""
        return getattr(self._held[handle], method)(*args)

    def drop(self, handle: int) -> None:
        """Forget an object."""
        self._held.pop(handle, None)

    def apply(self, name: str, *args: Any, limit: float = math.inf) -> Any:
        """Call a function."""
        return named(name)(*args)


def named(name: str) -> Any:
    """What 'module:name' stands for."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)

"""Dicts whose changes can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MISSING: Any = object()


class UndoLog:
    """Writes to dicts, and remembers what was there while a transaction is open."""

    def __init__(self) -> None:
        self._entries: list[tuple[dict[Any, Any], Any, Any]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether what is written may yet be taken back."""
        return self._entries is not None

    def set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if self._entries is not None:
            self._entries.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        """Remove an entry if there is one."""
        found = table.pop(key, _MISSING)
        if found is not _MISSING and self._entries is not None:
            self._entries.append((table, key, found))

    def clear(self, table: dict[Any, Any]) -> None:
        if self._entries is not None:
            self._entries.extend((table, key, value) for key, value in table.items())
        table.clear()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside is taken back when an exception leaves the block. May be nested."""
        outer, self._entries = self._entries, []
        try:
            yield
        except BaseException:
            entries, self._entries = self._entries, outer
            for table, key, value in reversed(entries):
                if value is _MISSING:
                    table.pop(key, None)
                else:
                    table[key] = value
            raise
        if outer is not None:
            outer.extend(self._entries)
        self._entries = outer

"""Names that are taken, and fresh ones."""

from __future__ import annotations

from collections.abc import Iterable


class Names(dict[str, int]):
    """name -> how many bear it; more than one only in separate scopes."""

    def __init__(self, names: Iterable[str] = ()):
        super().__init__()
        self._next: dict[str, int] = {}
        self.add_all(names)

    def add_all(self, names: Iterable[str]) -> None:
        """One more bears each of the names."""
        for name in names:
            self[name] = self.get(name, 0) + 1

    def discard(self, name: str) -> None:
        """One fewer bears the name."""
        if self.get(name, 0) > 1:
            self[name] -= 1
        else:
            self.pop(name, None)

    def fresh(self, hint: str) -> str:
        """A name that nothing bears, made from `hint`; it is taken from then on."""
        number = self._next.get(hint, 0)
        while (name := f"{hint}_{number}" if number else hint) in self:
            number += 1
        self._next[hint] = number
        self[name] = 1
        return name

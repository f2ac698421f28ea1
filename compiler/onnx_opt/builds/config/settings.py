"""Keys of the project file as words of the command line: a key is a flag's long name without its hyphens.

fp16 = true                      --fp16
fold = false                     --no-fold
pad-channels = 8                 --pad-channels=8
strip-op = ["a::B", "c::D"]      --strip-op=a::B --strip-op=c::D
dim = {batch = 1, seq = [1, 64]} --dim=batch=1 --dim=seq=1:64
tolerance = {float32 = 1e-4}     --tolerance=float32=0.0001
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

LEVEL = "level"
_NOT_IN_FILES = frozenset({"output", "cache", "depfile", "check", "as_json", "help"})
_SEPARATORS = {"dims": ":", "shapes": "x"}
"""What stands between the numbers of a list, by flag."""


@dataclass(frozen=True)
class Setting:
    """A value, and where it was written."""

    value: Any
    where: str


Layer = Mapping[str, Setting]


class Flags:
    """The flags that a file may set, by key."""

    def __init__(self, params: Sequence[click.Parameter]) -> None:
        self._by_key: dict[str, tuple[click.Option, str]] = {}
        for param in params:
            if not isinstance(param, click.Option) or not param.expose_value or param.name in _NOT_IN_FILES:
                continue
            if param.name == LEVEL:
                self._by_key[LEVEL] = (param, param.opts[0])
            for name in (*param.opts, *param.secondary_opts):
                if name.startswith("--"):
                    self._by_key[name.removeprefix("--")] = (param, name)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def keys(self) -> list[str]:
        """All keys; the negation of a flag is no key of its own, unless that is all there is."""
        return [key for key, (param, name) in self._by_key.items() if name not in param.secondary_opts]

    def key_of(self, param: click.Parameter) -> str | None:
        """The key of a parameter of the command."""
        return next((key for key, (other, _) in self._by_key.items() if other is param), None)

    def subject(self, key: str) -> str:
        """What a key decides: `fold` and `no-fold` are about the same."""
        bare = key.removeprefix("no-")
        return bare if bare in self._by_key else key

    def is_pass(self, key: str) -> bool:
        """Whether a key belongs to a pass."""
        return hasattr(self._by_key[key][0], "pass_")

    def words(self, key: str, value: Any) -> Iterator[str]:
        """The words of the command line for a key and its value. Raises ValueError, which says what is needed."""
        param, name = self._by_key[key]
        if isinstance(value, bool):
            yield from self._switch(key, param, name, value)
            return
        if param.is_flag:
            raise ValueError("true or false is needed")
        texts = list(_texts(value, _SEPARATORS.get(param.name or "", ",")))
        for text in texts if param.multiple else [",".join(texts)]:
            yield f"{name}={text}" if name.startswith("--") else f"{name}{text}"

    def is_path(self, key: str) -> bool:
        """Whether the value of a key names files."""
        return isinstance(self._by_key[key][0].type, click.Path)

    def _switch(self, key: str, param: click.Option, name: str, value: bool) -> Iterator[str]:
        if not param.is_flag and not isinstance(param.flag_value, str):
            raise ValueError("it needs a value, not true or false")
        if value:
            yield name
        elif param.secondary_opts:
            yield param.secondary_opts[0]
        elif f"no-{key}" in self._by_key:
            yield f"--no-{key}"


def _texts(value: Any, separator: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield f"{name}={separator.join(map(_text, each)) if isinstance(each, list) else _text(each)}"
    elif isinstance(value, list | tuple):
        yield from map(_text, value)
    else:
        yield _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("text or a number is needed")
    return value if isinstance(value, str) else repr(value)


def stack(layers: Sequence[Layer], flags: Flags) -> dict[str, Setting]:
    """What holds where layers lie upon each other, the last one on top.

    A whole pipeline replaces what is below it of presets and passes, and a preset a whole pipeline.
    """
    found: dict[str, Setting] = {}
    for layer in layers:
        subjects = {flags.subject(key) for key in layer}
        for key in list(found):
            covered = flags.subject(key) in subjects
            replaced = "passes" in layer and (key in (LEVEL, "passes") or flags.is_pass(key))
            if (covered and key not in layer) or replaced or (key == "passes" and LEVEL in layer):
                del found[key]
        found.update(layer)
    return found

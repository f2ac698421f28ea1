"""What goes between this process and the one in which the builder runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class About:
    """A builder: its module, its version, the compute capabilities that it takes (none: those of the GPU that it runs
    on), and whether there is a driver for a GPU."""

    module: str
    version: str
    capabilities: tuple[str, ...]
    has_driver: bool


@dataclass(frozen=True)
class Fault:
    """What the parser says of a node: `index` is its place in the graph that it stands in, -1 for the whole model."""

    index: int
    name: str
    operator: str
    function: str
    code: str
    text: str
    stack: tuple[str, ...] = ()
    """The calls of local functions that lead to the node."""


@dataclass(frozen=True)
class Port:
    """An input or output of the network, with the sizes of its dims, -1 where they are dynamic."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_shape: bool = False
    """Its content is part of profiles."""


@dataclass(frozen=True)
class Parsed:
    """What the parser made of a model."""

    module: str
    version: str
    faults: tuple[Fault, ...]
    layers: int = 0
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Smallest, best and largest sizes of each dynamic input, and contents of inputs that are shapes, by name."""

    shapes: Mapping[str, tuple[Sizes, Sizes, Sizes]]
    contents: Mapping[str, tuple[Sizes, Sizes, Sizes]] = field(default_factory=dict)

    def __str__(self) -> str:
        """As `--profile` takes it: x=1x3x8x8:8x3x8x8:32x3x8x8,y=[1,2]:[1,2]:[4,8]"""
        shapes = [(name, ["x".join(map(str, sizes)) for sizes in each]) for name, each in self.shapes.items()]
        contents = [
            (name, [f"[{','.join(map(str, sizes))}]" for sizes in each]) for name, each in self.contents.items()
        ]
        return ",".join(f"{name}={':'.join(parts)}" for name, parts in (*shapes, *contents))


@dataclass(frozen=True)
class Settings:
    """What an engine is built with; None leaves the builder's own choice."""

    profiles: tuple[Profile, ...] = ()
    level: int | None = None
    workspace: int | None = None
    timing_cache: str | None = None
    capabilities: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """What is known of an engine without running it."""

    parsed: Parsed
    engine_bytes: int
    weight_bytes: int | None
    activation_bytes: tuple[int, ...]
    """One for each profile."""
    level: int
    capabilities: tuple[str, ...]

"""The ways through the compiler that a model is sent: each pass alone, every preset, random pipelines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, get_args, get_origin

from generator.draw import Draw

from onnx_opt.options import Option, Size
from onnx_opt.passes import Pass, find_pass, registry
from onnx_opt.pipeline import Item, Pipeline, Repeat, spell_item

PRESETS = {"O1": 1, "O2": 2, "O3": 3}
SINGLE_PASSES = 5
LOWERING = ("quantize", "precision")
"""The stages of passes that lower the precision."""
"""The most passes that one model takes alone; where more are installed, the models share them."""


@dataclass(frozen=True)
class Way:
    """A pipeline as text, or a preset; the target; sizes that are fixed, as (symbol, size)."""

    pipeline: str
    target: str = "portable"
    dims: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        extra = [] if self.target == "portable" else [f"target={self.target}"]
        return " ".join([self.pipeline, *extra, *(f"dim={name}={size}" for name, size in self.dims)])

    @staticmethod
    def parse(text: str) -> Way:
        """The way that `str` gave."""
        pipeline, *extra = text.split()
        target = next((e.partition("=")[2] for e in extra if e.startswith("target=")), "portable")
        dims = [e.split("=")[1:] for e in extra if e.startswith("dim=")]
        return Way(pipeline, target, tuple((name, int(size)) for name, size in dims))

    @property
    def kind(self) -> str:
        """The preset or the pass where nothing else is special, 'random' for all other ways."""
        return str(self) if str(self) in (*PRESETS, *single_passes(True)) else "random"

    @property
    def passes(self) -> Pipeline:
        """What runs."""
        return _passes(self.pipeline)

    @property
    def is_exact(self) -> bool:
        """Whether every result must stay as it is, to the bit. What pays on other targets may round otherwise."""
        return self.target == "portable" and self.passes.exact

    @property
    def keeps_precision(self) -> bool:
        """Whether results may be compared at all: a pass that lowers the precision is held to less than that."""
        return all(each.stage not in LOWERING for each in self.passes.passes())


@lru_cache(1000)
def _passes(text: str) -> Pipeline:
    return Pipeline.preset(PRESETS[text]) if text in PRESETS else Pipeline.parse(text)


@cache
def single_passes(precision: bool = False) -> tuple[str, ...]:
    """The passes that leave a model's meaning and interface alone; `precision`: those that lower the precision too."""
    passes = registry().passes.items()
    own = [(name, cls) for name, cls in passes if not cls.redefines and not _is_example(cls)]
    return tuple(sorted(name for name, cls in own if precision or cls.stage not in LOWERING))


def _is_example(cls: type) -> bool:
    return not cls.__module__.startswith("onnx_opt_passes")


def ways_for(seed: int, symbols: dict[str, int], precision: bool = False) -> list[Way]:
    """Passes alone, every preset, and a few random ones. `symbols` are sizes in the first feed; `precision`: passes that
    lower it are among them, and of what these make only the form is judged."""
    draw = Draw(seed ^ 0x5EED)
    passes = single_passes(precision)
    ways = [Way(name) for name in (*sorted(draw.shuffled(passes)[:SINGLE_PASSES]), *PRESETS)]
    ways.append(Way(f"pad-channels{{multiple={3 + seed % 3},inputs={'true' if seed % 2 else 'false'}}}"))
    ways.append(Way(random_pipeline(draw, passes)))
    if draw.chance(0.3):
        ways.append(Way(draw.pick(["O2", "O3"]), draw.pick(["ort-cpu", "ort-cuda"])))
    if symbols and draw.chance(0.3):
        name = draw.pick(sorted(symbols))
        ways.append(Way(draw.pick(["O1", "O2"]), dims=((name, symbols[name]),)))
    return list(dict.fromkeys(ways))


# -- random pipelines --------------------------------------------------------------------------------------------------


def random_pipeline(draw: Draw, passes: Sequence[str]) -> str:
    """Passes in any order with any options, repeated groups among them, as text."""
    return ",".join(spell_item(_item(draw, passes, depth=0)) for _ in range(draw.pick([1, 2, 3, 4])))


def _item(draw: Draw, passes: Sequence[str], depth: int) -> Item:
    if draw.chance(0.25) and depth < 2:
        inner = tuple(_item(draw, passes, depth + 1) for _ in range(draw.integer(1, 3)))
        return Repeat(inner, draw.pick([1, 2, 3, 10]))
    return _with_options(draw, find_pass(draw.pick(passes))())


def _with_options(draw: Draw, each: Pass) -> Pass:
    """The pass with some of its options changed. What it refuses, such as two options at once, is left as it is; those of
    a pass that lowers the precision may change the interface as well."""
    for option in each.declared_options() if each.stage not in LOWERING else ():
        values = _values(option)
        if values and draw.chance(0.3):
            try:
                each = replace(each, **{option.field: draw.pick(values)})
            except ValueError:
                continue
    return each


def _values(option: Option) -> list[Any]:
    """What an option may be set to; nothing where its type does not tell."""
    kind = option.type
    kinds = [each for each in (get_args(kind) or (kind,)) if each is not type(None)]
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    makers: dict[Any, Callable[[], list[Any]]] = {
        bool: lambda: [not option.default],
        Size: lambda: [Size(0), Size(64), Size("1MiB")],
        int: lambda: [1, 2, 4, 8],
    }
    return makers[kinds[0]]() if len(kinds) == 1 and kinds[0] in makers else []

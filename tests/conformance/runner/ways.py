"""The ways through the compiler that a model is sent: each pass alone, every preset, random pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from generator.draw import Draw

from onnx_opt.passes import registry

PRESETS = ("O1", "O2", "O3")


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


@cache
def single_passes() -> tuple[str, ...]:
    """The passes that leave a model's meaning and interface alone."""
    return tuple(sorted(name for name, cls in registry().passes.items() if not cls.redefines and not _is_example(cls)))


def _is_example(cls: type) -> bool:
    return not cls.__module__.startswith("onnx_opt_passes")


def ways_for(seed: int, symbols: dict[str, int]) -> list[Way]:
    """Every pass alone, every preset, and one or two random ones. `symbols` are sizes in the first feed."""
    draw = Draw(seed ^ 0x5EED)
    ways = [Way(name) for name in (*single_passes(), *PRESETS)]
    chosen = [draw.pick(single_passes()) for _ in range(draw.integer(2, 5))]
    text = ",".join(chosen)
    ways.append(Way(f"repeat({text})" if draw.chance(0.4) else text))
    if draw.chance(0.3):
        ways.append(Way("O2", "ort-cpu"))
    if symbols and draw.chance(0.3):
        name = draw.pick(sorted(symbols))
        ways.append(Way(draw.pick(["O1", "O2"]), dims=((name, symbols[name]),)))
    return ways

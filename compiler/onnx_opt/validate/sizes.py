"""Sizes for the dynamic dimensions of a model's inputs.

Which sizes a model runs at is known to nobody but the model: the interior may have sizes baked in, symbols may depend
on each other (past + 1), images may have to be multiples of 32. So candidates are tried, in a sensible order, and those
at which the reference runs are kept.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from onnx_opt.errors import UsageError
from onnx_opt.validate.signature import Slot

Sizes = dict[str, int]
Fixed = int | tuple[int, int | None]  # a size, or the bounds (lo, hi) of one

_SMALL = (7, 2, 8, 16)
_FEW_SYMBOLS = 6  # more than these are not tried one by one: they are the caches of many layers
_COMMON = (32, 64, 128, 224, 256, 512, 1, 3, 4, 96, 1024, 2048, 4096, 16000)
_STEPS = (1, 2, 4, 8, 16, 32, 64, -1)
# Sizes to come near to, (of batches, of other dims): the smallest, a usual and a larger one.
_WANTED = ((1, 1), (4, 13), (7, 64))
_IMAGE = 32
_MOST_ELEMENTS, _MOST_FIXED_ELEMENTS = 1 << 26, 1 << 30  # where sizes can be chosen, and where not


@dataclass
class Symbols:
    """The free symbols of some slots and what is known about them before anything runs.

    Named dims are shared by all inputs, unnamed ones are each their own symbol 'input[axis]'; a name like 'past + 1' is
    computed from the symbols in it.
    """

    slots: Sequence[Slot]
    bounds: Mapping[str, Fixed] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)  # input -> its shape, fixed by the user

    def __post_init__(self) -> None:
        named = {d for slot in self.slots for d in slot.shape or () if isinstance(d, str)}
        self.derived = {name: tree for name in named if (tree := _expression(name, named)) is not None}
        self.places: dict[str, list[tuple[int, int]]] = {}  # symbol -> (axis, rank) of each occurrence
        for slot in self.slots:
            for axis, key in enumerate(self.keys(slot)):
                if isinstance(key, str) and key not in self.derived:
                    self.places.setdefault(key, []).append((axis, len(slot.shape or ())))
        self.fixed = {name: size for name, size in self.bounds.items() if isinstance(size, int)}
        self._fix_by_shapes()
        self.free = [name for name in self.places if name not in self.fixed]

    def _fix_by_shapes(self) -> None:
        for slot in self.slots:
            given = self.shapes.get(slot.name)
            if given is None or slot.shape is None:
                continue
            declared = list(slot.shape)
            agree = all(not isinstance(d, int) or d == g for d, g in zip(declared, given, strict=False))
            if len(declared) != len(given) or not agree:
                raise UsageError(f"input '{slot.name}' is {slot}, not {'x'.join(map(str, given))}")
            for key, size in zip(self.keys(slot), given, strict=True):
                if not isinstance(key, str) or key in self.derived:
                    continue
                if (before := self.fixed.setdefault(key, size)) != size:
                    raise UsageError(f"'{key}' is to be {size} in input '{slot.name}' and {before} elsewhere")

    def keys(self, slot: Slot) -> list[int | str]:
        """The dims of a slot with names for the unnamed ones."""
        return [f"{slot.name}[{i}]" if d is None else d for i, d in enumerate(slot.shape or ())]

    def shape(self, slot: Slot, sizes: Sizes) -> tuple[int, ...]:
        """The shape of an input under `sizes`."""
        if slot.name in self.shapes:
            return tuple(self.shapes[slot.name])
        return tuple(self.size(key, sizes) for key in self.keys(slot))

    def size(self, key: int | str, sizes: Sizes) -> int:
        if isinstance(key, int):
            return key
        if key in self.derived:
            known = {**self.fixed, **sizes}
            return max(0, _evaluate(self.derived[key], known))
        return self.fixed[key] if key in self.fixed else sizes[key]

    def allowed(self, sizes: Sizes) -> bool:
        """Whether `sizes` keep to the user's bounds and to a sane amount of data."""
        for name, size in sizes.items():
            bound = self.bounds.get(name)
            if isinstance(bound, tuple) and not (bound[0] <= size and (bound[1] is None or size <= bound[1])):
                return False
            if size < 0 or (size == 0 and not isinstance(bound, tuple)):
                return False
        return self.elements(sizes) <= (_MOST_ELEMENTS if self.free else _MOST_FIXED_ELEMENTS)

    def elements(self, sizes: Sizes) -> int:
        """The elements of all inputs together."""
        return sum(math.prod(self.shape(slot, sizes)) for slot in self.slots)

    def clamp(self, name: str, size: int) -> int:
        bound = self.bounds.get(name)
        if not isinstance(bound, tuple):
            return size
        return max(bound[0], size if bound[1] is None else min(bound[1], size))

    def upper(self, name: str) -> int | None:
        """The largest size that the user allows."""
        bound = self.bounds.get(name)
        return bound[1] if isinstance(bound, tuple) else None

    def is_batch(self, name: str) -> bool:
        """Whether it leads some input of two axes or more."""
        return any(axis == 0 and rank > 1 for axis, rank in self.places[name])

    def is_spatial(self, name: str) -> bool:
        """Whether it is one of several free axes of images or volumes (and not the length of a cache)."""
        return not self.is_batch(name) and any(rank >= 4 and self._free_axes(name) > 1 for _, rank in self.places[name])

    def _free_axes(self, name: str) -> int:
        """The most axes behind the batch that are symbolic in an input that has this one."""
        counts = [
            sum(isinstance(key, str) and not self.is_batch(key) for key in keys if key in self.places)
            for keys in map(self.keys, self.slots)
            if name in keys
        ]
        return max(counts, default=0)


def starting_points(
    symbols: Symbols, hints: Callable[[], Sequence[int]], known: Sizes | None = None
) -> Iterator[Sizes]:
    """Sizes to try until the model runs at one, `known` ones first. `hints` gives the numbers in the latest refusal: a
    kernel that says '5 by 7' or 'expected 10' names the size that it wants."""
    points = _raw_starting_points(symbols, hints)
    yield from _distinct(chain([known], points) if known else points, symbols)


def _raw_starting_points(symbols: Symbols, hints: Callable[[], Sequence[int]]) -> Iterator[Sizes]:
    free = symbols.free
    batch = [name for name in free if symbols.is_batch(name)]
    rest = [name for name in free if name not in batch]
    first = dict.fromkeys(batch, 2)
    first |= {name: _IMAGE if symbols.is_spatial(name) else 5 + i for i, name in enumerate(rest)}
    yield first
    for size in hints():
        yield from ({**first, name: size} for name in free)
    for size in _SMALL:
        yield from _alike(batch, rest, size)
    for size in (7, 16):  # one symbol stands apart: past and past + 1, a bit for every byte, three channels
        for name in free:
            base = dict.fromkeys(batch, 2) | dict.fromkeys(rest, size)
            yield from ({**base, name: other} for other in (size + 1, 2 * size, 1, 3, *hints()))
    for size in _COMMON:
        yield from _alike(batch, rest, size)


def _alike(batch: list[str], rest: list[str], size: int) -> Iterator[Sizes]:
    yield dict.fromkeys(batch, 2) | dict.fromkeys(rest, size)
    yield dict.fromkeys(batch, 1) | dict.fromkeys(rest, size)
    if size <= _IMAGE:
        yield dict.fromkeys(batch + rest, size)


def _distinct(points: Iterable[Sizes], symbols: Symbols) -> Iterator[Sizes]:
    seen = set()
    for point in points:
        point = {name: symbols.clamp(name, size) for name, size in point.items()}
        key = tuple(sorted(point.items()))
        if key not in seen and symbols.allowed(point):
            seen.add(key)
            yield point


def other_sizes(symbols: Symbols, base: Sizes, runs: Callable[[Sizes], bool]) -> Iterator[Sizes]:
    """Further sizes at which the model runs, starting from `base`, the most telling first: every symbol at another
    size, all of them different; all at 1; then larger. Each is tried with `runs` before it is given out."""
    free = [name for name in base if name in symbols.places]
    if not free:
        return
    seen = {tuple(sorted(base.items()))}

    def works(sizes: Sizes) -> bool:
        key = tuple(sorted(sizes.items()))
        if key in seen or not symbols.allowed(sizes):
            return False
        seen.add(key)
        return runs(sizes)

    apart = {**base, **{name: symbols.clamp(name, base[name] + 1 + i) for i, name in enumerate(free)}}
    if works(apart):
        yield apart
        moves = [({name: 1}) for name in free]
    else:
        moves = []
        for move, sizes in _moves(free, base, works):
            moves.append(move)
            yield sizes
    for batch, other in _WANTED:
        wanted = {name: batch if symbols.is_batch(name) else other for name in free}
        if other == _WANTED[-1][1]:
            wanted = {name: symbols.upper(name) or max(size, 2 * base[name]) for name, size in wanted.items()}
        wanted = {name: symbols.clamp(name, size) for name, size in wanted.items()}
        for sizes in _towards(base, moves, wanted):
            if works(sizes):
                yield sizes
                break


def _moves(free: list[str], base: Sizes, works: Callable[[Sizes], bool]) -> Iterator[tuple[Sizes, Sizes]]:
    """(steps, sizes): the smallest step by which a symbol, or symbols that depend on each other, can grow alone."""
    stuck = list(free) if len(free) > _FEW_SYMBOLS else []
    for name in free if not stuck else ():
        for step in _STEPS:
            if works(moved := _moved(base, {name: step}, 1)):
                yield {name: step}, moved
                break
        else:
            stuck.append(name)
    while stuck:
        for move in _joint_moves(stuck, free, base):
            if works(moved := _moved(base, move, 1)):
                yield move, moved
                stuck = [name for name in stuck if name not in move]
                break
        else:
            return


def _joint_moves(stuck: list[str], free: list[str], base: Sizes) -> Iterator[Sizes]:
    for step in (1, _IMAGE):
        yield dict.fromkeys((name for name in stuck if base[name] == base[stuck[0]]), step)
        yield dict.fromkeys(stuck, step)
        for one in stuck[:8]:
            yield from ({one: step, other: step} for other in free[:8] if other != one)


def _moved(base: Sizes, move: Sizes, times: int) -> Sizes:
    return {**base, **{name: base[name] + times * step for name, step in move.items()}}


def _towards(base: Sizes, moves: list[Sizes], wanted: Sizes) -> Iterator[Sizes]:
    """`base` moved so that each symbol comes near what is `wanted`: all moves together and by different amounts, all by
    one amount (what depends on each other keeps its difference), one after the other."""
    times = {}
    for i, move in enumerate(moves):
        name = min(move, key=lambda n: base[n])
        count = (wanted[name] - base[name]) // move[name]
        times[i] = max(count, 2) if wanted[name] > 1 else count
    yield _all_moved(base, moves, {i: count + i if count > 0 else count for i, count in times.items()})
    reach = max((times[i] * max(move.values()) for i, move in enumerate(moves)), default=0)
    yield _all_moved(base, moves, {i: reach // max(move.values()) for i, move in enumerate(moves)})
    yield from (_moved(base, move, times[i]) for i, move in enumerate(moves))


def _all_moved(base: Sizes, moves: list[Sizes], times: dict[int, int]) -> Sizes:
    sizes = dict(base)
    for i, move in enumerate(moves):
        sizes = _moved(sizes, move, times[i])
    return sizes


# Expressions in the names of dims, such as exporters write: 'past_sequence_length + 1', '2*H'.
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda a, b: a // b if b else 0,
}


def _expression(name: str, known: set[str]) -> ast.expr | None:
    """The parsed expression, where `name` is one over other symbols of the inputs."""
    if not re.search(r"[-+*/]", name) or len(name) > 200:
        return None
    try:
        tree = ast.parse(name.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names = set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.BinOp):
            if type(part.op) not in _OPERATORS:
                return None
        elif isinstance(part, ast.Constant):
            if not isinstance(part.value, int):
                return None
        elif not isinstance(part, ast.operator | ast.expr_context):
            return None
    return tree if names <= known - {name} else None


def _evaluate(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    if isinstance(tree, ast.Constant):
        return int(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return sizes.get(tree.id, 1)
    assert isinstance(tree, ast.BinOp)
    return _OPERATORS[type(tree.op)](_evaluate(tree.left, sizes), _evaluate(tree.right, sizes))


def numbers_in(message: str) -> list[int]:
    """Sizes that a refusal mentions, without duplicates, small ones first."""
    found = {int(text) for text in re.findall(r"(?<![\w.])\d{1,5}(?![\w.])", message)}
    return sorted(n for n in found if 1 < n <= 16384)[:8]

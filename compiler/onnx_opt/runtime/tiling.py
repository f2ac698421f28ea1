"""Where the tiles of a picture lie, and which part of each one's result counts.

Along one direction, a tile at pixel p gives the elements p / scale and on of a result. Those whose receptive fields lie
inside of the tile, or leave it only where the tile ends with the picture, are what the whole picture would give: the
`valid` ones. Tiles are as far apart as their valid parts allow, and meet in the middle of what two of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from onnx_opt.analysis.receptive import Reach
from onnx_opt.errors import UsageError


@dataclass(frozen=True)
class Seam:
    """The part of one tile's result along one direction: elements `begin` to `end` of the whole result, `offset` of
    them from the tile's first. Before `begin + rise` and from `end - fall` on the neighbours have a share."""

    begin: int
    end: int
    offset: int
    rise: int = 0
    fall: int = 0

    @property
    def inner(self) -> slice:
        """What of the tile's result is taken."""
        return slice(self.offset, self.offset + self.end - self.begin)

    @property
    def outer(self) -> slice:
        """Where in the whole result it goes."""
        return slice(self.begin, self.end)

    def weights(self) -> np.ndarray:
        """The share of this tile in each element (float64); those of neighbours add up to 1."""
        share = np.ones(self.end - self.begin)
        if self.rise:
            share[: self.rise] = np.arange(1, self.rise + 1) / (self.rise + 1)
        if self.fall:
            share[len(share) - self.fall :] = np.arange(self.fall, 0, -1) / (self.fall + 1)
        return share


@dataclass(frozen=True)
class Track:
    """The tiles along one direction: (first pixel, pixels) of each, and for each output the seams in the same order."""

    tiles: tuple[tuple[int, int], ...]
    seams: Mapping[str, tuple[Seam, ...]]
    overlap: int
    """Pixels that neighbouring tiles have in common, at least."""


@dataclass(frozen=True)
class Direction:
    """What is known of one direction: the picture's size, the largest tile, whether a model takes tiles of that size
    alone, by which multiple tiles may be shifted, how each output reaches, and its size for the whole picture."""

    name: str
    size: int
    tile: int
    fixed: bool
    alignment: int
    reaches: Mapping[str, Reach]
    sizes: Mapping[str, int]


def lay_out(way: Direction, overlap: int | None) -> Track:
    """Tiles along a direction: by the receptive fields, or with `overlap` pixels of which the neighbours share.

    Raises UsageError where there is no such layout; the message says what would help.
    """
    if way.size < way.tile and way.fixed:
        raise UsageError(f"the model takes a {way.name} of {way.tile}, the picture has {way.size}: pad it")
    if way.size <= way.tile:
        whole = {name: (Seam(0, size, 0),) for name, size in way.sizes.items()}
        return Track(((0, way.size),), whole, 0)
    tile = way.tile
    step = _step(way, tile) if overlap is None else (tile - overlap) // way.alignment * way.alignment
    if step <= 0:
        raise UsageError(*_too_small(way, tile, overlap))
    starts = [0]
    while starts[-1] + tile < way.size:
        starts.append(starts[-1] + step)
    starts[-1] = _last(way, tile)
    tiles = [(start, min(tile, way.size - start)) for start in starts]
    seams = {name: _seams(way, name, tiles, overlap is not None) for name in way.reaches}
    return Track(tuple(tiles), seams, tile - step)


def _last(way: Direction, tile: int) -> int:
    """Where the last tile begins: it ends with the picture, and is about as large as the others."""
    start = way.size - tile
    if not way.fixed:
        return start + -start % way.alignment
    if start % way.alignment:
        fitting = way.size + -start % way.alignment
        text = f"the {way.name} of {way.size} is not that of a tile and a multiple of {way.alignment} pixels"
        raise UsageError(text, remedy=f"pad the picture to {fitting}")
    return start


def _too_small(way: Direction, tile: int, overlap: int | None) -> tuple[str]:
    if overlap is not None:
        return (f"an overlap of {overlap} leaves nothing of tiles of {tile} that are shifted by {way.alignment}",)
    need = max(ceil(reach.high - reach.low) for reach in way.reaches.values()) + 2 * way.alignment
    return (f"tiles of {tile} pixels are too small: each result is computed from up to {need} pixels of {way.name}",)


def _step(way: Direction, tile: int) -> int:
    """The largest shift at which the valid parts of two tiles meet, for all outputs."""
    room = min(
        _end_inside(reach, 0, tile) * reach.scale - _begin_inside(reach, 0) * reach.scale
        for reach in way.reaches.values()
    )
    return floor(room) // way.alignment * way.alignment


def _begin_inside(reach: Reach, start: int) -> int:
    """The first element whose pixels are all at `start` or after."""
    return floor((start - 1 - reach.low) / reach.scale) + 1


def _end_inside(reach: Reach, start: int, tile: int) -> int:
    """The first element from which on some pixel is behind the tile."""
    return ceil((start + tile - reach.high) / reach.scale)


def _seams(way: Direction, name: str, tiles: Sequence[tuple[int, int]], blends: bool) -> tuple[Seam, ...]:
    reach, size = way.reaches[name], way.sizes[name]
    ranges = [_range(reach, size, way.size, start, tile, blends) for start, tile in tiles]
    seams: list[Seam] = []
    begin, rise = 0, 0
    for (start, _), (_, end), after in zip(tiles, ranges, [*ranges[1:], None], strict=True):
        fall = 0
        if after is not None and after[0] > end:
            raise UsageError(f"the overlap leaves gaps in output '{name}'", remedy="a larger overlap")
        if after is not None and blends:
            fall = max(end - max(after[0], begin + rise), 0)
            cut = end
        elif after is not None:
            cut = min(max((after[0] + end) // 2, begin), end)
        else:
            cut = size
        seams.append(Seam(begin, cut, begin - _first(reach, start), rise, fall))
        begin, rise = cut - fall, fall
    return tuple(seams)


def _range(reach: Reach, size: int, pixels: int, start: int, tile: int, blends: bool) -> tuple[int, int]:
    """The elements (first, behind the last) of a tile's result that count."""
    if blends:
        first = _first(reach, start)
        return first, first + size - ceil((pixels - tile) / reach.scale)
    begin = 0 if start == 0 else _begin_inside(reach, start)
    end = size if start + tile >= pixels else _end_inside(reach, start, tile)
    return begin, end


def _first(reach: Reach, start: int) -> int:
    """The element of the whole result that is the first of a tile's."""
    place = Fraction(start) / reach.scale
    assert place.denominator == 1
    return int(place)

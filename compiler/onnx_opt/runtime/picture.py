"""What a model makes of a picture: which input it is, where its directions lie, and how far each output reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any, cast

from onnx_opt.analysis.receptive import Fields, Reach, receptive_fields
from onnx_opt.errors import UsageError
from onnx_opt.interface import restrict
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.imaging.kinds import Layout
    from onnx_opt.ir import Graph

Pair = tuple[int, int]


@dataclass(frozen=True)
class Reaches:
    """For both directions: how outputs reach, their sizes for the whole picture, the alignment of tiles. `reason` says
    why tiles can't give what the whole picture gives; `rounds` what computes positions in floating point."""

    reaches: tuple[Mapping[str, Reach], Mapping[str, Reach]]
    sizes: tuple[Mapping[str, int], Mapping[str, int]]
    alignment: Pair
    reason: str = ""
    rounds: str = ""


@dataclass
class Picture:
    """The input of a model that is tiled: `axes` are those of height and width, `fixed` their sizes where the model
    takes one size alone."""

    source: Source
    name: str
    rank: int
    axes: Pair
    fixed: tuple[int | None, int | None]
    _axes: dict[str, Pair] = field(default_factory=dict)
    _studies: dict[tuple[int, ...], _Study] = field(default_factory=dict)

    def output_axes(self, name: str) -> Pair:
        """The axes of height and width in an output; `reach` must have been asked for."""
        return self._axes[name]

    def reach(self, shape: tuple[int, ...], tile: Pair) -> Reaches:
        """How the outputs reach for a picture of `shape` in tiles of that height and width.

        The model is studied at the sizes of the tile, and of the whole picture where it takes that: only what is the
        same in both can be relied on. Raises UsageError for an output that is no picture.
        """
        at_tile = self._study(shape, tile)
        whole = (shape[self.axes[0]], shape[self.axes[1]])
        free = (self.fixed[0] or whole[0], self.fixed[1] or whole[1])
        at_whole = self._study(shape, free)
        reason = at_whole.reason() or at_tile.reason() or at_whole.difference(at_tile)
        reaches, sizes = [], []
        for way, (part, all_) in enumerate(zip(tile, whole, strict=True)):
            found = {name: at_tile.output(name, way, part) for name in at_tile.outputs}
            reaches.append(found)
            if self.fixed[way] is None:
                sizes.append({name: at_whole.size(name, way) for name in found})
            else:  # a whole number where the last tile fits, which `lay_out` sees to
                sizes.append({n: at_tile.size(n, way) + int((all_ - part) / r.scale) for n, r in found.items()})
        self._axes |= {name: (reaches[0][name].axis or 0, reaches[1][name].axis or 0) for name in at_tile.outputs}
        alignment = tuple(at_tile.alignment(way, reaches[way]) for way in (0, 1))
        return Reaches((reaches[0], reaches[1]), (sizes[0], sizes[1]), cast(Pair, alignment), reason, at_tile.rounds())

    def reach_alike(self, shape: tuple[int, ...], tile: Pair) -> tuple[Pair, Reaches]:
        """Tiles of at most that height and width in which outputs reach as in the whole picture, if there are any: of
        whole alignments, or, for what pads by the rest of the size, of the same rest as the whole picture."""
        whole = (shape[self.axes[0]], shape[self.axes[1]])
        alignment = self.reach(shape, tile).alignment
        found: list[tuple[Pair, Reaches]] = []
        for rests in ((0, 0), (whole[0] % alignment[0], whole[1] % alignment[1])):
            sizes = tuple(
                part if fixed or part == all_ else part - (part - rest) % step
                for part, all_, rest, step, fixed in zip(tile, whole, rests, alignment, self.fixed, strict=True)
            )
            if min(sizes) > 0:
                found.append((cast(Pair, sizes), self.reach(shape, cast(Pair, sizes))))
                if not found[-1][1].reason:
                    return found[-1]
        if not found:
            text = "x".join(map(str, alignment))
            raise UsageError(f"tiles must be shifted by multiples of {text} pixels", remedy="take larger tiles")
        return found[0]

    def differs(self, shape: tuple[int, ...], tile: Pair, other: Pair) -> str:
        """What reaches otherwise in a tile of another size."""
        return self._study(shape, tile).difference(self._study(shape, other)) if tile != other else ""

    def forget(self) -> None:
        """Give back the memory of what was studied."""
        self._studies.clear()

    def _study(self, shape: tuple[int, ...], pixels: Pair) -> _Study:
        sized = list(shape)
        for axis, size in zip(self.axes, pixels, strict=True):
            sized[axis] = size
        if tuple(sized) not in self._studies:
            self._studies[tuple(sized)] = _Study(self, sized)
        return self._studies[tuple(sized)]


class _Study:
    """The model at one size of the picture."""

    def __init__(self, picture: Picture, shape: list[int]) -> None:
        self.graph = _load(picture.source)
        restrict(self.graph, {}, {picture.name: shape})
        _fold(self.graph)
        self.picture, self.shape = picture, shape
        value = next(each for each in self.graph.inputs if each.name == picture.name)
        self.fields: list[Fields] = [receptive_fields(self.graph, value, axis) for axis in picture.axes]
        self.outputs = {value.name: value for value in self.graph.outputs}

    def reason(self) -> str:
        """Why some output depends on all of the picture; '' where none does."""
        reaches = (fields.reaches.get(value) for fields in self.fields for value in self.outputs.values())
        return next((reach.reason for reach in reaches if reach is not None and reach.reason), "")

    def rounds(self) -> str:
        """What computes positions in floating point, on the way to some output."""
        reaches = (fields.reaches.get(value) for fields in self.fields for value in self.outputs.values())
        return next((reach.rounds for reach in reaches if reach is not None and reach.rounds), "")

    def difference(self, other: _Study) -> str:
        """What reaches otherwise at another size."""
        for mine, theirs in zip(self.fields, other.fields, strict=True):
            known = {value.name: reach for value, reach in theirs.reaches.items()}
            for value, reach in mine.reaches.items():
                if value.name in known and not reach.reason and known[value.name] != reach:
                    producer = value.producer
                    what = f"{producer.op} '{producer.label()}'" if producer is not None else value.name
                    return f"what {what} computes depends on the size of the picture"
        return ""

    def output(self, name: str, way: int, pixels: int) -> Reach:
        """How an output runs along a direction; where that got lost, as the input does if it has the same form."""
        reach = self.fields[way].reaches.get(self.outputs[name])
        if reach is not None and reach.axis is not None:
            return reach
        dims, axis = self.outputs[name].dims, self.picture.axes[way]
        if dims is not None and len(dims) == self.picture.rank and isinstance(dims[axis], int) and dims[axis] > 1:
            return Reach(axis, Fraction(pixels, dims[axis]), reason=reach.reason if reach is not None else "")
        why = f" ({reach.reason})" if reach is not None and reach.reason else ""
        raise UsageError(f"output '{name}' is no picture: it can't be put together from tiles{why}")

    def size(self, name: str, way: int) -> int:
        """The size of an output along a direction."""
        dims, axis = self.outputs[name].dims, self.output(name, way, self.shape[self.picture.axes[way]]).axis
        assert dims is not None and axis is not None
        if not isinstance(dims[axis], int):
            raise UsageError(f"the size of output '{name}' is not known before the run")
        return int(dims[axis])

    def alignment(self, way: int, reaches: Mapping[str, Reach]) -> int:
        """Pixels by whose multiples tiles may be shifted."""
        return lcm(self.fields[way].alignment, *(reach.scale.numerator for reach in reaches.values()))


def study(source: Source, name: str | None, layout: str) -> Picture:
    """The input of a model that is a picture. Raises UsageError where there is none, or several."""
    from onnx_opt.imaging.ports import image_ports

    graph = _load(source)
    port = image_ports(graph, [name] if name else [], cast("Layout", layout), "input", any_type=True)[0]
    height, width = port.spatial
    fixed = tuple(dim if isinstance(dim, int) else None for dim in (port.dims[height], port.dims[width]))
    return Picture(source, port.name, port.rank, (height, width), cast("tuple[int | None, int | None]", fixed))


def _load(source: Source) -> Graph:
    from onnx_opt.compilation import Input

    beside = source.folder / "model.onnx" if source.folder is not None else None
    return Input(source.path or beside, source.data).load()


def _fold(graph: Graph) -> None:
    """Shape arithmetic becomes constants, as all sizes are known."""
    from onnx_opt.passes import PassContext
    from onnx_opt.pipeline import Pipeline

    context: Any = PassContext()
    Pipeline.parse("fold").run(graph, context)

"""Pictures larger than memory, tile by tile.

runner = TiledRunner("upscale.onnx", tile=512, settings=read_settings("cuda"))
outputs = runner.run(np.load("in.npy", mmap_mode="r"), out={"y": np.lib.format.open_memmap("out.npy", "w+", ...)})

While one tile is computed, the next is copied to the device and the one before from there. By default the tiles overlap
as far as the receptive fields reach, so that the result is that of the whole picture; a model in which everything
depends on everything has no such overlap, and needs an explicit one over which neighbours are blended.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from onnx_opt.errors import ModelError, UsageError
from onnx_opt.runtime.picture import Pair, Picture, study
from onnx_opt.runtime.session import Binding, device_of, open_session
from onnx_opt.runtime.settings import Settings
from onnx_opt.runtime.tiling import Direction, Seam, Track, lay_out
from onnx_opt.validate.engine import one_line
from onnx_opt.validate.signature import parse_type
from onnx_opt.validate.source import Source

Progress = Callable[[int, int], object]
Make = Callable[[str, tuple[int, ...], np.dtype[Any]], np.ndarray]
"""Makes the array for an output from its name, shape and type."""
DIRECTIONS = ("height", "width")


@dataclass(frozen=True)
class Plan:
    """How a picture is cut: a track of tiles for each direction; `exact` where the results are those of the whole
    picture, else `reason` says why not; `rounds` names what computes positions in floating point, which far from the
    origin may differ in the last places."""

    picture: Picture
    tracks: tuple[Track, Track]
    exact: bool
    reason: str = ""
    rounds: str = ""

    def __len__(self) -> int:
        return len(self.tracks[0].tiles) * len(self.tracks[1].tiles)

    def tiles(self) -> Iterator[tuple[int, int]]:
        """The numbers of each tile along both directions, row by row."""
        yield from product(*(range(len(track.tiles)) for track in self.tracks))

    def pixels(self, tile: tuple[int, int]) -> tuple[slice, ...]:
        """Where a tile lies in the picture."""
        where = [slice(None)] * self.picture.rank
        for axis, track, number in zip(self.picture.axes, self.tracks, tile, strict=True):
            start, size = track.tiles[number]
            where[axis] = slice(start, start + size)
        return tuple(where)

    def seams(self, name: str, tile: tuple[int, int]) -> tuple[Seam, Seam]:
        """What of a tile's result counts, along both directions."""
        one, other = (track.seams[name][number] for track, number in zip(self.tracks, tile, strict=True))
        return one, other


class TiledRunner:
    """Runs a model on pictures of any size, tile by tile.

    `tile` is the largest height and width of a tile, or both in one number; a model with fixed sizes takes tiles of
    these. `overlap` is the number of pixels over which neighbours are blended; None for as much as makes the result
    that of the whole picture. Integers are not blended: there the later tile counts. `input` is the input that is
    tiled, by default the only picture; all others are given with each call, whole. `ahead` tiles are brought to the
    device while one is computed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        tile: int | tuple[int, int] = 512,
        overlap: int | None = None,
        input: str | None = None,
        layout: str = "auto",
        settings: Settings | None = None,
        threads: int = 0,
        ahead: int = 2,
        session: Any = None,
    ) -> None:
        """Raises what `open_session` raises, and UsageError for a model that takes no picture."""
        if overlap is not None and overlap < 0:
            raise UsageError("an overlap must not be negative")
        self.source, self.settings = Source.of(model), settings or Settings()
        self.tile = (tile, tile) if isinstance(tile, int) else tile
        self.overlap, self.ahead = overlap, max(ahead, 0)
        self.session = session or open_session(self.source, self.settings, threads=threads)
        self.picture = study(self.source, input, layout)
        self._outputs = [slot.name for slot in self.session.get_outputs()]
        self._plans: dict[tuple[int, ...], Plan] = {}

    def plan(self, shape: tuple[int, ...]) -> Plan:
        """How a picture of that shape is cut. Raises UsageError where it can't be, with the reason and what helps."""
        if shape not in self._plans:
            self._plans[shape] = self._plan(shape)
        return self._plans[shape]

    def run(
        self,
        image: np.ndarray,
        out: Mapping[str, np.ndarray] | Make | None = None,
        others: Mapping[str, np.ndarray] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs for `image`, in the model's layout and type; a batch of one may lack its first dim.

        Results go to the arrays of `out`, or to those that it makes: memory-mapped ones perhaps; `others` are the
        model's other inputs; `progress` is called with the tiles done and their total. Raises UsageError for arrays
        that do not fit, ModelError where the model does not run.
        """
        if image.ndim == self.picture.rank - 1:
            image = image[None]
        plan = self.plan(image.shape)
        others = dict(others or {})
        self._check(image, others)
        given = {} if out is None or callable(out) else dict(out)
        results = _Results(plan, out if callable(out) else _zeros, given)
        job = _Job(self, plan, image, others, results)
        job.run(progress or (lambda done, total: None))
        return {name: results.arrays[name] for name in self._outputs}

    def _check(self, image: np.ndarray, others: dict[str, np.ndarray]) -> None:
        """Raise UsageError for what ONNX Runtime would refuse at the first tile."""
        slots = {slot.name: parse_type(slot.type).dtype for slot in self.session.get_inputs()}
        wanted = slots.pop(self.picture.name)
        if wanted is not None and image.dtype != wanted:
            raise UsageError(f"input '{self.picture.name}' is {wanted}, the picture is {image.dtype}")
        if missing := [name for name in slots if name not in others]:
            raise UsageError(f"the model also needs input '{missing[0]}'", remedy="give it in others")

    def _plan(self, shape: tuple[int, ...]) -> Plan:
        picture = self.picture
        if len(shape) != picture.rank:
            raise UsageError(f"input '{picture.name}' has {picture.rank} dims, the picture has {len(shape)}")
        whole = (shape[picture.axes[0]], shape[picture.axes[1]])
        try:
            return self._cut(shape, whole)
        finally:
            picture.forget()

    def _cut(self, shape: tuple[int, ...], whole: Pair) -> Plan:
        picture = self.picture
        height, width = (
            fixed or min(tile, all_) for fixed, tile, all_ in zip(picture.fixed, self.tile, whole, strict=True)
        )
        tile, reach = picture.reach_alike(shape, (height, width))
        self._need_local(reach.reason, tile == whole)
        tracks = [
            lay_out(
                Direction(
                    name, whole[way], tile[way], picture.fixed[way] is not None, reach.alignment[way],
                    reach.reaches[way], reach.sizes[way],
                ),
                self.overlap,
            )
            for way, name in enumerate(DIRECTIONS)
        ]  # fmt: skip
        last = (tracks[0].tiles[-1][1], tracks[1].tiles[-1][1])
        self._need_local(picture.differs(shape, tile, last), tile == whole)
        one = tile == whole
        if one:
            return Plan(picture, (tracks[0], tracks[1]), True)
        return Plan(picture, (tracks[0], tracks[1]), self.overlap is None, reach.reason, reach.rounds)

    def _need_local(self, reason: str, is_whole: bool) -> None:
        if reason and self.overlap is None and not is_whole:
            remedy = "give an overlap, over which neighbouring tiles are blended"
            raise UsageError(f"tiles can't give what the whole picture gives: {reason}", remedy=remedy)


def _zeros(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    return np.zeros(shape, dtype)


class _Results:
    """The arrays that results go to. What is not there is made when the first tile tells its type."""

    def __init__(self, plan: Plan, make: Make, arrays: dict[str, np.ndarray]) -> None:
        self.plan, self.make, self.arrays, self.blends = plan, make, arrays, not plan.exact
        self._begun: set[str] = set()

    def store(self, tile: tuple[int, int], name: str, part: np.ndarray) -> None:
        """Put what counts of a tile's result in its place."""
        axes = self.plan.picture.output_axes(name)
        seams = self.plan.seams(name, tile)
        array = self._array(name, part, axes)
        inner, outer = [slice(None)] * part.ndim, [slice(None)] * part.ndim
        for axis, seam in zip(axes, seams, strict=True):
            inner[axis], outer[axis] = seam.inner, seam.outer
        kept = part[tuple(inner)]
        if not self.blends or part.dtype.kind not in "fV":
            array[tuple(outer)] = kept
            return
        for axis, seam in zip(axes, seams, strict=True):
            weights = seam.weights().astype(kept.dtype)
            kept = kept * weights.reshape([-1 if each == axis else 1 for each in range(part.ndim)])
        array[tuple(outer)] += kept

    def _array(self, name: str, part: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
        shape = list(part.shape)
        for axis, track in zip(axes, self.plan.tracks, strict=True):
            shape[axis] = track.seams[name][-1].end
        if name not in self.arrays:
            self.arrays[name] = self.make(name, tuple(shape), part.dtype)
        array = self.arrays[name]
        if name not in self._begun:
            if array.shape != tuple(shape) or array.dtype != part.dtype:
                text = f"output '{name}' is {part.dtype} of {shape}, the array given for it is {array.dtype} of"
                raise UsageError(f"{text} {list(array.shape)}")
            if self.blends:
                array[...] = 0
            self._begun.add(name)
        return array


class _Job:
    """One picture on its way: copies to the device, inference, copies from it, each in a thread of its own."""

    def __init__(
        self, runner: TiledRunner, plan: Plan, image: np.ndarray, others: dict[str, np.ndarray], results: _Results
    ) -> None:
        self.runner, self.plan, self.image, self.others, self.results = runner, plan, image, others, results
        self.device = device_of(runner.settings)

    def run(self, progress: Progress) -> None:
        """All tiles. An error in any thread ends it."""
        tiles, total = self.plan.tiles(), len(self.plan)
        done = 0
        with ThreadPoolExecutor(1, "upload") as uploads, ThreadPoolExecutor(1, "download") as downloads:
            bound: deque[tuple[tuple[int, int], Future[Binding]]] = deque()
            stored: deque[Future[None]] = deque()
            try:
                while True:
                    while len(bound) <= self.runner.ahead and (tile := next(tiles, None)) is not None:
                        bound.append((tile, uploads.submit(self._upload, tile)))
                    if not bound:
                        break
                    tile, waiting = bound.popleft()
                    binding = waiting.result()
                    self._infer(binding)
                    stored.append(downloads.submit(self._download, tile, binding))
                    while len(stored) > self.runner.ahead:
                        stored.popleft().result()
                        progress(done := done + 1, total)
                while stored:
                    stored.popleft().result()
                    progress(done := done + 1, total)
            except BaseException:
                uploads.shutdown(wait=False, cancel_futures=True)
                downloads.shutdown(wait=False, cancel_futures=True)
                raise

    def _infer(self, binding: Binding) -> None:
        try:
            binding.run()
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            reason = one_line(str(error))
            raise ModelError(f"it does not run on a tile: {reason}", path=self.runner.source.path) from error

    def _upload(self, tile: tuple[int, int]) -> Binding:
        pixels = np.ascontiguousarray(self.image[self.plan.pixels(tile)])
        return Binding(self.runner.session, {self.plan.picture.name: pixels, **self.others}, self.device)

    def _download(self, tile: tuple[int, int], binding: Binding) -> None:
        for name, part in zip(self.runner._outputs, binding.arrays(), strict=True):
            self.results.store(tile, name, part)

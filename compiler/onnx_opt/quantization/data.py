"""Samples to calibrate on, and samples that are kept out of that to judge the result by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_opt.precision.samples import common
from onnx_opt.validate import Source
from onnx_opt.validate.run import Rejected
from onnx_opt.validate.userdata import Part, user_feeds

if TYPE_CHECKING:
    from onnx_opt.proof import Evidence
    from onnx_opt.validate.signature import Signature

Feed = dict[str, Any]
RANDOM = "there are no calibration data: the scales come from random inputs and mean little (--quantize-data)"


@dataclass
class Split:
    """Feeds that may be read again and again: from the user's data, or drawn."""

    data: Any
    most: int
    signature: Signature | None = None
    drawn: tuple[Sequence[Feed], Sequence[Feed]] = ((), ())

    @property
    def is_random(self) -> bool:
        """Whether there were no data."""
        return self.data is None

    @property
    def calibration(self) -> _Feeds:
        """What scales are made from."""
        return _Feeds(self, held_out=False)

    @property
    def held_out(self) -> _Feeds:
        """What they are judged by."""
        return _Feeds(self, held_out=True)


@dataclass(frozen=True)
class _Feeds:
    split: Split
    held_out: bool

    def __iter__(self) -> Iterator[Feed]:
        split = self.split
        if split.is_random:
            return iter(split.drawn[self.held_out])
        assert split.signature is not None
        return iter(user_feeds(Part(split.data, self.held_out, split.most), split.signature))


def split(source: Source, signature: Signature, evidence: Evidence, data: Any, most: int) -> Split:
    """The first `most` samples of `data`, else of the user's data for validation, else random ones.

    Raises UsageError for data that do not fit the model, Rejected where it runs on no random ones.
    """
    data = evidence.data if data is None else data
    if data is not None:
        return Split(data, most, signature)
    # What the proof draws is held out.
    seeds = (evidence.seed + 1, evidence.seed)
    drawn = [replace(evidence, seed=seed).reference(source, finite_only=True) for seed in seeds]
    calibration, held_out = ([record.feed for record in common(each.records)] for each in drawn)
    if not calibration or not held_out:
        raise Rejected(next(each.problem for each in drawn if not each.records))
    return Split(None, most, signature, (calibration, held_out))

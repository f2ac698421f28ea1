"""The outputs of one candidate, feed by feed, against what the original made of the same feeds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from onnx_opt.validate.collect import Record
from onnx_opt.validate.compare import Difference, ToleranceLike, compare
from onnx_opt.validate.lowered import fitted, restored
from onnx_opt.validate.noise import explain, run_moved, shape_is_unstable
from onnx_opt.validate.reference import Reference
from onnx_opt.validate.run import Rejected, Session, Unreadable, Value
from onnx_opt.validate.special import where_present
from onnx_opt.validate.verdict import OutputVerdict


@dataclass
class Comparison:
    """While it `goes_on`, call `run` and then `settle`; at the end `doubt`. `outputs` then says what was found, and
    `refusal` whether the candidate refused a feed.

    The first `promised` outputs are the model's own; those behind are inner values, which a candidate may compute in
    another type or shape. `quick` lets `run` return at the first difference. `lowered` is the type that a candidate may
    have in place of FP32.
    """

    reference: Reference
    tolerance: ToleranceLike
    exact: bool
    quick: bool
    promised: int
    lowered: str = ""
    feeds: int = 0
    refusal: str = ""
    outputs: list[OutputVerdict] = field(default_factory=list)
    # (record, output) -> what went wrong, where instability of the original may yet explain it
    open: dict[tuple[int, int], Difference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = [OutputVerdict(slot.name, str(slot.type)) for slot in self.reference.signature.outputs]
        count, suspect = len(self.reference.records), self.reference.suspect
        self._pending = sorted(range(count), key=lambda number: number != suspect)

    @property
    def goes_on(self) -> bool:
        """Whether there are feeds left that matter."""
        return bool(self._pending) and not self._failed

    @property
    def _failed(self) -> bool:
        return bool(self.refusal) or any(output.status == "failed" for output in self.outputs)

    def run(self, session: Session) -> None:
        """Runs the candidate on the feeds that are left."""
        while self._pending and not (self.quick and (self.open or self._failed)):
            number = self._pending.pop(0)
            record = self.reference.records[number]
            self.reference.say(f"comparing on input {self.feeds + 1} of {len(self.reference.records)}")
            try:
                outputs = session.run(fitted(record.feed, session.signature, self.lowered))
                outputs = restored(outputs, record.outputs, self.lowered)
            except Rejected as error:
                self.reference.suspect = number
                self.refusal = (
                    f"the candidate refuses an input that the original accepts ({_described(record)}): {error}"
                )
                self._stop("the candidate did not run on every input")
            except Unreadable as error:
                self._stop(str(error))
            else:
                self.feeds += 1
                self._compare(number, record, outputs)

    def _stop(self, note: str) -> None:
        self._pending.clear()
        for output in self.outputs:
            output.status, output.note = "unproven", note

    def settle(self) -> None:
        """Asks of what is left open whether the original is as unstable itself."""
        numbers = sorted({number for number, _ in self.open}, key=lambda n: self.reference.records[n].nbytes)
        # One feed first: if its errors have no excuse, the others need not be asked.
        self._settle(numbers[:1])
        if not self._failed:
            self._settle(numbers[1:])
        for (_, i), difference in self.open.items():
            if self.outputs[i].status == "proven":
                self.outputs[i].status, self.outputs[i].note = "unproven", difference.problem

    def _settle(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self.reference.say("measuring the original's own noise")
        moved = run_moved(self.reference, numbers)
        for number, i in [key for key in self.open if key[0] in numbers]:
            difference = self.open.pop((number, i))
            output, before = self.outputs[i], self.reference.records[number].outputs[i]
            trials = [outputs[i] for outputs in moved[number]]
            explained, noise = explain(difference, output.name, before, trials, self.tolerance)
            output.noise = max(output.noise, noise)
            if difference.problem.startswith("shape") and shape_is_unstable(before, trials):
                if output.status == "proven":
                    output.status, output.note = "unproven", "its shape hangs on rounding in the original too"
            elif not explained:
                self._fail(number, output, difference)

    def doubt(self) -> None:
        """Withdraws what agreement on nothing but NaN seemed to prove."""
        for i in self.reference.mute_outputs():
            if i < self.promised and self.outputs[i].status == "proven" and i not in self.reference.random_outputs:
                self.outputs[i].status = "unproven"
                self.outputs[i].note = "the original gives nothing, or no finite number, on any input"

    def _compare(self, number: int, record: Record, outputs: list[Value]) -> None:
        for i, (output, before, after) in enumerate(zip(self.outputs, record.outputs, outputs, strict=True)):
            if i >= self.promised and (i in self.reference.random_outputs or not _comparable(before, after)):
                output.note = "not comparable"
                continue
            if i in self.reference.random_outputs:
                self._compare_kind(output, before, after)
                continue
            compared = where_present(before, after, self.reference.absent)
            difference = compare(output.name, *compared, self.tolerance, self.exact)
            output.figures.merge(difference.figures)
            if difference.problem and difference.rounding:
                self.open[number, i] = difference
            elif difference.problem:
                self._fail(number, output, difference)

    def _compare_kind(self, output: OutputVerdict, before: Value, after: Value) -> None:
        if _kind(before) != _kind(after):
            output.status, output.note = "failed", f"{_kind(before)} became {_kind(after)}"
        elif output.status == "proven":
            output.status, output.note = "unproven", "it is random"

    def _fail(self, number: int, output: OutputVerdict, difference: Difference) -> None:
        self.reference.suspect = number
        if output.status == "failed":
            return
        output.status = "failed"
        output.note = f"{difference.problem} ({_described(self.reference.records[number])})"


def _described(record: Record) -> str:
    return ", ".join([record.origin, *(f"{name}={size}" for name, size in record.sizes.items())])


def _comparable(before: Value, after: Value) -> bool:
    return isinstance(before, np.ndarray) and isinstance(after, np.ndarray) and _form(before) == _form(after)


def _form(array: np.ndarray) -> tuple[str, tuple[int, ...]]:
    return array.dtype.name, array.shape


def _kind(value: Value) -> str:
    """Type and rank, which even a random output keeps."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} of rank {value.ndim}"

"""What a proof found: proven, failed, or unproven and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from onnx_opt.validate.figures import Figures, finite
from onnx_opt.validate.run import Value

Status = Literal["proven", "failed", "unproven"]


@dataclass
class OutputVerdict:
    """One output: its worst figures over all feeds. `noise` is how far the original itself moved when its inputs and
    weights moved by a few units in the last place, as a multiple of the tolerance; 0 where that was not needed."""

    name: str
    type: str
    status: Status = "proven"
    note: str = ""
    figures: Figures = field(default_factory=Figures)
    noise: float = 0.0

    def to_json(self) -> dict[str, Any]:
        said = {
            "name": self.name,
            "type": self.type,
            "status": self.status,
            "note": self.note,
            "noise": finite(self.noise),
        }
        return said | self.figures.to_json()


@dataclass
class Verdict:
    """The result of `prove`: `reason` is one line, `notes` what was assumed or changed to get there, `feeds` the number
    of inputs compared, `sizes` symbol -> sizes tested, `seconds` the wall time."""

    status: Status
    reason: str
    outputs: list[OutputVerdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    feeds: int = 0
    sizes: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0
    half: dict[str, Any] = field(default_factory=dict)
    """Of a half precision model: the metric, its tolerance, and the error in each way of running the model."""
    counterexample: dict[str, Value] | None = None
    """Of a half precision model that failed: the inputs on which it is worst."""

    @property
    def proven(self) -> bool:
        return self.status == "proven"

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def to_json(self) -> dict[str, Any]:
        """Plain data, for reports."""
        return {
            "status": self.status,
            "reason": self.reason,
            "notes": self.notes,
            "feeds": self.feeds,
            "sizes": self.sizes,
            "seconds": round(self.seconds, 3),
            "half": self.half,
            "outputs": [output.to_json() for output in self.outputs],
        }


def conclude(outputs: list[OutputVerdict], feeds: int, promised: int) -> tuple[Status, str]:
    """The status of the whole and the one line that says why. Behind the `promised` outputs come inner values: those
    can only fail."""
    if wrong := [i for i, output in enumerate(outputs) if output.status == "failed"]:
        first = outputs[wrong[0]]
        what = "output" if wrong[0] < promised else "inner value"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return "failed", f"{what} '{first.name}': {first.note}{more}"
    if unsure := [o for o in outputs[:promised] if o.status == "unproven"]:
        partly = f"{promised - len(unsure)} of {promised} outputs proven; " if len(unsure) < promised else ""
        return "unproven", f"{partly}output '{unsure[0].name}': {unsure[0].note}"
    on = f"on {feeds} input{'s' if feeds != 1 else ''}"
    if all(output.figures.bit_equal for output in outputs):
        return "proven", f"equal to the bit {on}"
    worst = max(outputs, key=lambda output: (output.noise > 0, output.figures.worst))
    return "proven", f"{_how_close(worst)} {on}"


def _how_close(output: OutputVerdict) -> str:
    figures = output.figures
    if not output.noise:
        return f"errors up to {figures.worst:.2g} of the tolerance (max abs {figures.max_abs:.2g})"
    where = f"{figures.beyond} of {figures.elements} elements of '{output.name}' are beyond the tolerance"
    return f"{where}, no more than the original's own noise allows (it moves by {output.noise:.3g} times the tolerance)"

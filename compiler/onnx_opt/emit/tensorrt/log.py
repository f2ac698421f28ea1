"""What a builder says while it works: its log and its progress. Runs where the builder does, in the child process."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from onnx_opt.worker.telling import tell

NOISE = re.compile(r"catchCudaError|CUDA initialization|ModelImporter\.cpp:1[45]\d", re.IGNORECASE)
"""No driver is needed to build, so its absence is no news; and what the parser refuses is asked of it by name."""
NODE = re.compile(r"Parsing node: (\S*) \[(\w+)\]")
MEMORY = re.compile(r"Total (Weights|Activation) Memory: (\d+) bytes")


@dataclass
class Heard:
    """What matters of a log: errors, and the memory that the engine will take."""

    errors: list[str] = field(default_factory=list)
    weight_bytes: int | None = None
    activation_bytes: list[int] = field(default_factory=list)
    """One for each profile, in their order; behind them the builder may say more."""

    def take(self, severity: str, message: str) -> None:
        """One message of the log."""
        if severity in ("ERROR", "INTERNAL_ERROR") and not NOISE.search(message):
            self.errors.append(message)
        elif severity == "INFO" and (found := MEMORY.search(message)):
            self._remember(found[1], int(found[2]))

    def _remember(self, kind: str, size: int) -> None:
        if kind == "Weights":
            self.weight_bytes = max(size, self.weight_bytes or 0)
        else:
            self.activation_bytes.append(size)


def make_logger(trt: Any, heard: Heard, trace: bool = False) -> Any:
    """A logger for the builder that fills `heard`; with `trace` it also tells each node that the parser looks at."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            heard.take(severity.name, message)
            if trace and (found := NODE.search(message)):
                tell("node", found[1], found[2])

    return Logger()


def make_monitor(trt: Any) -> Any:
    """A progress monitor that tells how far the innermost long phase is."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            tell("phase", phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            tell("phase", phase, step + 1, self.steps.get(phase, 0))
            return True

        def phase_finish(self, phase: str) -> None:
            self.steps.pop(phase, None)

    return Monitor()

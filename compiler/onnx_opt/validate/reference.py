"""The original model, run once for each feed; its feeds and outputs are kept to judge any number of candidates by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.validate.collect import Collection, Record
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.program import Program
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session, Unreadable, Value
from onnx_opt.validate.signature import Signature
from onnx_opt.validate.sizes import Fixed
from onnx_opt.validate.source import ModelLike, Source
from onnx_opt.validate.userdata import Data

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str], None]


@dataclass(eq=False)
class Reference:
    """The original model and its records.

    `dims` fixes symbols (int) or bounds them ((lo, hi)), `shapes` fixes whole inputs, `data` are the user's samples,
    `samples` is the most random feeds to try and `budget` the seconds that the reference may spend running them: a big
    model gets two or three feeds, a small one all. `folder` holds the external data of a model given as bytes.
    Where there is a `program`, what it gives is what candidates are held against, and `model` only says on what.
    Running is lazy: the first use of `records` does it, and frees the weights again.
    """

    model: ModelLike
    data: Data | None = None
    dims: Mapping[str, Fixed] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seed: int = 0
    samples: int = 12
    budget: float = 0.6
    runtime: Runtime = field(default_factory=Runtime)
    folder: Path | None = None
    progress: Progress | None = None
    absent: frozenset[str] = frozenset()
    program: Program | None = None

    def __post_init__(self) -> None:
        self.source = Source.of(self.model, self.folder)
        self.problem = ""  # why there are no records
        self.cannot_load: CannotLoad | None = None
        self.random_outputs: set[int] = set()
        self.noise_cache: dict[int, list[list[Value]]] = {}
        self.suspect: int | None = None  # the record on which a candidate failed last: the next one meets it first
        self._records: list[Record] | None = None
        self._skeleton: onnx.ModelProto | None = None
        self._signature: Signature | None = None
        self._variants: dict[Source, Reference] = {}

    @property
    def skeleton(self) -> onnx.ModelProto:
        """The model without its large weights."""
        if self._skeleton is None:
            self._skeleton = self.source.skeleton()
        return self._skeleton

    @property
    def signature(self) -> Signature:
        """The interface; `records` must be there."""
        assert self._signature is not None
        return self._signature

    @property
    def records(self) -> list[Record]:
        """The feeds that the original runs on, with its outputs; empty with `problem` set where there is none.

        Raises `UsageError` for data that the original refuses.
        """
        if self._records is None:
            self._records = []
            self._run()
        return self._records

    def variant(self, source: Source, **changes: Any) -> Reference:
        """The reference for an edited form of the model, by itself without its program; kept, since the next candidate
        asks for the same."""
        if source not in self._variants:
            self._variants[source] = replace(self, model=source, program=None, **changes)
        return self._variants[source]

    def held_against(self) -> list[str]:
        """A line that says what gives the results, where that is not the model alone."""
        return [] if self.program is None else [f"held against NumPy and the original model: {self.program}"]

    def tested_sizes(self) -> dict[str, list[int]]:
        """Symbol -> the sizes at which it was tested."""
        found: dict[str, set[int]] = {}
        for record in self.records:
            for name, size in record.sizes.items():
                found.setdefault(name, set()).add(size)
        return {name: sorted(sizes) for name, sizes in sorted(found.items())}

    def mute_outputs(self) -> list[int]:
        """The outputs that were empty or held no finite number on any feed: agreement on them says little."""
        return [
            i
            for i, slot in enumerate(self.signature.outputs)
            if 0 not in (slot.shape or ()) and not any(_says_something(record.outputs[i]) for record in self.records)
        ]

    def say(self, text: str) -> None:
        """Tells whoever watches what is going on."""
        if self.progress is not None:
            self.progress(text)

    def _run(self) -> None:
        self.say("loading the original")
        try:
            session = Session(self.source, self.runtime)
        except CannotLoad as error:
            self.cannot_load, self.problem = error, str(error)
            return
        with session:
            self._signature = session.signature
            if not session.signature.outputs:
                self.problem = "the model has no outputs to compare"
                return
            collection = Collection(self, session)
            try:
                collection.collect()
            except (TypeError, Unreadable) as error:
                self.problem = str(error)
            self._records = collection.records
            self.random_outputs = collection.random_outputs
            self.problem = self.problem or ("" if self._records else collection.failure())
        if self.program is not None and self._records:
            self._run_program(self.program, self._records)

    def _run_program(self, program: Program, records: list[Record]) -> None:
        """Put what the program gives in the place of what the model gave."""
        self.say("running the original with its program")
        try:
            program.run(records, [slot.name for slot in self.signature.outputs], self.runtime)
        except (CannotLoad, Rejected, Unreadable) as error:
            self._records, self.problem = [], f"the original does not run on what its program makes: {error}"


def _says_something(value: Value) -> bool:
    found = leaves(value)
    return any(array.size and (not is_float(array.dtype) or np.isfinite(array).any()) for _, array in found)

"""What is known of outputs that were made: of which inputs, and with what bytes. One small file for each output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_opt.builds.digest import Digests, digest_of
from onnx_opt.builds.external import external_locations
from onnx_opt.builds.inputs import Inputs
from onnx_opt.builds.key import key_of
from onnx_opt.builds.steps import Step
from onnx_opt.files import atomic_file

FOLDER = ".onnx-opt"
_FORMAT = 1


@dataclass
class State:
    """One output as it is found. `reason` says why it has to be made again, and is empty where it has not."""

    step: Step
    reason: str
    key: str = ""
    digests: Digests | None = None
    inputs: Inputs | None = None

    def files(self) -> list[Path]:
        """The files that it depends on."""
        return self.inputs.files() if self.inputs is not None else [Path(self.step.model)]


class Stamps:
    """The stamps in a folder, for outputs that are relative to its parent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def state(self, step: Step) -> State:
        """Whether an output is what its inputs make. Content decides: a file that was only touched changes nothing."""
        stamp = self._read(step.output)
        digests = Digests(stamp.get("inputs", {}))
        try:
            inputs = Inputs.of(step.request)
            key = key_of(step.request, inputs, digests)
        except OSError as error:  # a run says it better
            return State(step, f"{error.filename} can't be read")
        return State(step, _reason(step, stamp, key), key, digests, inputs)

    def write(self, state: State) -> None:
        """Note that the output of `state` was made. Raises OSError."""
        if state.digests is None:
            return
        outputs = Digests()
        held = {path: outputs(Path(path)) for path in map(str, _files_of(state.step))}
        stamp = {
            "format": _FORMAT,
            "key": state.key,
            "outputs": held,
            "seen": outputs.seen,
            "inputs": state.digests.seen,
        }
        self.folder.mkdir(exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        with atomic_file(self._place(state.step.output)) as file:
            file.write(json.dumps(stamp).encode())

    def _read(self, output: Path) -> Mapping[str, Any]:
        try:
            stamp = json.loads(self._place(output).read_bytes())
            return stamp if stamp.get("format") == _FORMAT else {}
        except (OSError, ValueError, AttributeError):
            return {}

    def _place(self, output: Path) -> Path:
        return self.folder / f"{digest_of(str(output))[:24]}.json"


def _reason(step: Step, stamp: Mapping[str, Any], key: str) -> str:
    missing = [path for path in (step.output, *step.sides) if not path.exists()]
    if missing:
        return f"{missing[0]} is missing"
    if not stamp:
        return "it was not made here"
    if stamp["key"] != key:
        return "its inputs changed"
    digests = Digests(stamp["seen"])
    for path, digest in stamp["outputs"].items():
        try:
            if digests(Path(path)) != digest:
                return f"{path} was changed"
        except OSError:
            return f"{path} is missing"
    return ""


def _files_of(step: Step) -> Iterator[Path]:
    """The output and the data that goes with it."""
    yield step.output
    data = step.output.with_name(f"{step.output.name}.data")
    if data.name in external_locations(step.output):
        yield data

"""Models that travel as bytes, to machines that share no disk with this one, and their results on the way back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx_opt.builds.external import external_file
from onnx_opt.builds.inputs import Inputs
from onnx_opt.builds.install import data_of, install
from onnx_opt.builds.stamps import State
from onnx_opt.builds.steps import Step
from onnx_opt.builds.tasks import Task
from onnx_opt.files import PREFIX, atomic_file


def shipped(state: State, words: Sequence[str]) -> Task:
    """The task of a step with the bytes of all files that it reads. Files outside of the current folder, but for the
    model, have to be where it runs."""
    step = state.step
    inputs = state.inputs or Inputs.of(step.request)
    model = _inner(inputs.model) or Path("model") / inputs.model.name
    files = {model: inputs.model}
    for location in inputs.external:
        if (file := external_file(inputs.model, location)) is not None:
            files[model.parent / location] = file
    files |= {inner: path for path in inputs.others if (inner := _inner(path)) is not None}
    output = _inner_output(step, model)
    results = [output, data_of(output), *(inner for side in step.sides if (inner := _inner(side)) is not None)]
    arguments = [*step.words, "-o", str(output), *words, "--", str(model)]
    held = {str(inner): path.read_bytes() for inner, path in files.items()}
    return Task(step.name, tuple(arguments), ".", step.timeout, held, tuple(map(str, results)))


def fetched(step: Step, files: Mapping[str, bytes]) -> None:
    """Write what came back. Raises OSError."""
    for path in (step.output, *step.sides):
        path.parent.mkdir(parents=True, exist_ok=True)
    found = {Path(name).name: content for name, content in files.items()}
    with tempfile.TemporaryDirectory(prefix=PREFIX, suffix=".scratch", dir=step.output.parent) as scratch:
        names = [name for name in (step.output.name, data_of(step.output).name) if name in found]
        for name in names:
            (Path(scratch) / name).write_bytes(found.pop(name))
        data = Path(scratch) / names[1] if len(names) > 1 else None
        install(Path(scratch) / step.output.name, data, step.output)
    for side in step.sides:
        if side.name in found:
            with atomic_file(side) as file:
                file.write(found[side.name])


def _inner(path: Path) -> Path | None:
    """Where a file goes that is in the current folder, seen from it; None for any other."""
    return None if path.is_absolute() or ".." in path.parts else path


def _inner_output(step: Step, model: Path) -> Path:
    """Where the result goes there. A result beside its model may go on referring to the model's data."""
    beside = step.output.parent.resolve() == Path(step.model).parent.resolve()
    return model.with_name(step.output.name) if beside else Path("out of here") / step.output.name

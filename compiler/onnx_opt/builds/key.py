"""One hash of everything that can change a result: equal keys, equal bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnx_opt.builds.digest import Digest, digest_of, file_digest
from onnx_opt.builds.external import external_file
from onnx_opt.builds.inputs import Inputs
from onnx_opt.builds.request import Request
from onnx_opt.builds.tools import tools

FORMAT = 1
LARGE = 1 << 30
"""Bytes of a model from which on a result may get external data though the model has none."""


def key_of(request: Request, inputs: Inputs, digest: Digest = file_digest) -> str:
    """The key of the result that `request` asks for. Raises OSError where a file can't be read."""
    return digest_of(json.dumps(parts_of(request, inputs, digest), sort_keys=True, default=repr))


def parts_of(request: Request, inputs: Inputs, digest: Digest = file_digest) -> dict[str, Any]:
    """What the key is made of."""
    return {
        "format": FORMAT,
        "model": digest(inputs.model),
        "external": [[location, _external(inputs.model, location, digest)] for location in inputs.external],
        "place": _place(request, inputs),
        "pipeline": str(request.pipeline),
        "flags": dict(request.flags),
        "files": [[str(path), digest(path)] for path in inputs.others],
        "tools": tools(),
    }


def _external(model: Path, location: str, digest: Digest) -> str | None:
    file = external_file(model, location)
    return digest(file) if file is not None else None


def _place(request: Request, inputs: Inputs) -> list[Any] | None:
    """Where the result goes, as far as it matters: its ending says what it is, and a model refers to its data by the
    name of a file beside it."""
    if request.output is None:
        return None
    if not inputs.external and inputs.model.stat().st_size <= LARGE:
        return [request.output.suffix]
    return [request.output.name, request.output.parent.resolve() == request.model.parent.resolve()]

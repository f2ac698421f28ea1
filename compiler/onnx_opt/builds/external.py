"""Which files hold the external data of a model, found without parsing it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from onnx_opt import files, wire
from onnx_opt.errors import ModelError, OnnxOptError
from onnx_opt.wire import Buffer

# An entry of TensorProto.external_data, as every serializer writes it: key 'location' (field 1), value (field 2).
_ENTRY = re.compile(rb"\x0a\x08location\x12")
# One with its fields in another order, which is allowed.
_ODD_ENTRY = re.compile(rb"\x0a\x08location(?!\x12)")


def external_locations(model: Path) -> list[str]:
    """The locations that a model's tensors give for their data, sorted. Raises OSError.

    There may be one too many, where another string of the model looks like such an entry.
    """
    buffer = files.contents(model)
    entries = [_text(buffer, match.end()) for match in _ENTRY.finditer(buffer)]
    found = {entry for entry in entries if entry is not None}
    if _ODD_ENTRY.search(buffer):
        found |= _loaded(model)
    return sorted(found)


def external_file(model: Path, location: str) -> Path | None:
    """The file at a location: a regular one in the model's folder, else None (such a model does not load)."""
    folder = model.parent
    try:
        path = folder / location
        inside = path.resolve().is_relative_to(folder.resolve())
        return path if inside and stat.S_ISREG(path.stat().st_mode) else None
    except (OSError, ValueError, RuntimeError):
        return None


def _text(buffer: Buffer, at: int) -> str | None:
    try:
        length, start = wire.read_varint(buffer, at, len(buffer))
        return buffer[start : start + length].decode() if start + length <= len(buffer) else None
    except (ModelError, UnicodeDecodeError):
        return None


def _loaded(model: Path) -> set[str]:
    """The locations as the loader finds them, which takes longer; none where the model does not load."""
    from onnx_opt.checks import check_model
    from onnx_opt.ir import gc_paused, load

    try:
        with gc_paused():
            graph = load(model)
            check_model(graph.model)
            return set(graph.model.external_locations())
    except OnnxOptError:
        return set()

"""Putting a model that was made elsewhere in its place, with its data."""

from __future__ import annotations

import filecmp
from pathlib import Path

from onnx_opt.files import copy


def data_of(output: Path) -> Path:
    """Where the external data of an output goes."""
    return output.with_name(f"{output.name}.data")


def install(model: Path, data: Path | None, output: Path) -> None:
    """Copy `model` to `output` with its `data`, if it has any, which it calls by the name that goes with `output`.

    Whenever this is stopped, the earlier output is there or the new one, each with its data.
    """
    if data is None:
        copy(model, output)
        return
    replaces = output.exists() and data_of(output).exists() and not _same(data, data_of(output))
    if replaces:
        from onnx_opt.ir import load, save

        save(load(model), output)  # knows how to exchange the two
        if _same(model, output) and _same(data, data_of(output)):
            return
    copy(data, data_of(output))
    copy(model, output)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)

"""External data on the way out: tensors that live in a file beside the model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_opt.ir import tensors

if TYPE_CHECKING:
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.values import Constant

ALIGNMENT = 4096
"""Where tensors start in the data file, in bytes: a page, so that runtimes can map them."""
SMALLEST = 1024
"""Tensors of fewer bytes stay inside the model."""


class ExternalFile:
    """Decides where each weight of a saved model goes, and writes the data file.

    A model that is unchanged keeps its references, and the files they name are copied along when it moves to another
    folder. A changed model with external data gets one `<name>.data` of its own; tensors are streamed into it.
    """

    def __init__(self, path: Path, model: Model):
        self.path = path
        self.model = model
        self.file_name = f"{path.name}.data"
        self.places: dict[Constant, tuple[int, int]] = {}
        self.size = 0
        graphs = list(model.all_graphs())
        self._sources = [c for g in graphs for c in g.constants if c.source is not None and _is_external(c)]
        self._changed = any(g.dirty for g in (model.graph, *model.functions))
        self._spill = False
        self.active = bool(self._sources) and self._changed

    def spill_new(self) -> None:
        """Move every large weight out of the model, for it would be too large for one message."""
        self.active = self._spill = True

    def takes(self, constant: Constant) -> bool:
        """Whether the payload of a constant goes to the data file."""
        if not self.active or constant.sparse or constant.dtype == object:
            return False
        return _is_external(constant) or (constant.nbytes >= SMALLEST and (self._spill or not constant.is_stored))

    def reference(self, constant: Constant) -> bytes:
        """The TensorProto that points to the constant's place in the data file."""
        if constant not in self.places:
            start = -(-self.size // ALIGNMENT) * ALIGNMENT
            self.places[constant] = (start, constant.nbytes)
            self.size = start + constant.nbytes
        start, size = self.places[constant]
        return tensors.external_reference(constant.name, constant.elem_type, constant.dims, self.file_name, start, size)

    def commit(self) -> None:
        """Write the data file, or copy the ones that an unchanged model refers to."""
        if not self.active:
            self._copy_sources()
            return
        from onnx_opt.ir.save import atomic_file

        with atomic_file(self.path.with_name(self.file_name)) as file:
            for constant, (start, _) in self.places.items():
                file.seek(start)
                file.write(tensors.payload(constant.values, constant.elem_type))

    def _copy_sources(self) -> None:
        source = self.model.path
        if source is None or source.parent.resolve() == self.path.parent.resolve():
            return
        locations = [c.header.location["location"] for c in self._sources if c.header and c.header.location]
        for location in dict.fromkeys(locations):
            target = self.path.parent / location
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tensors.resolve_external(source.parent, location), target)


def _is_external(constant: Constant) -> bool:
    return constant._array is None and constant.header is not None and constant.header.location is not None

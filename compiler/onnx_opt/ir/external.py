"""External data on the way out: tensors that live in a file beside the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from onnx_opt import files
from onnx_opt.errors import UsageError
from onnx_opt.ir import tensors
from onnx_opt.ir.tensors import Piece

if TYPE_CHECKING:
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.values import Constant

ALIGNMENT = 4096
"""Where tensors start in the data file, in bytes: a page, so that runtimes can map them."""
SMALLEST = 1024
"""Tensors of fewer bytes stay inside the model."""


class ExternalFile:
    """Decides where each weight of a saved model goes, and writes the data file.

    A model that is unchanged and stays in its folder keeps its references. Any other with external data gets one
    `<name>.data` of its own, into which tensors are streamed: no other name is written to, whatever the model says.
    """

    def __init__(self, path: Path, model: Model):
        self.path = path
        self.model = model
        self.file_name = f"{path.name}.data"
        self.places: dict[Constant, tuple[int, int]] = {}
        self.size = 0
        graphs = list(model.all_graphs())
        sources = [c for g in graphs for c in g.constants if c.source is not None and _is_external(c)]
        changed = any(g.dirty for g in (model.graph, *model.functions))
        self._moved = model.path is not None and model.path.parent.resolve() != path.parent.resolve()
        self._spill = False
        self.active = bool(sources) and (changed or self._moved)

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

    def check(self) -> None:
        """Raise UsageError where writing would destroy what the loaded model refers to."""
        if files.is_special(self.path) and self.active:
            raise UsageError("external data needs a folder to lie in", path=self.path, remedy="write to a file")
        source = self.model.path
        if source is None:
            return
        if self.model.external_nodes and self._moved:
            where = next(node.label() for node in self.model.external_nodes)
            remedy = f"write the output to {source.parent}"
            raise UsageError("an attribute is external data, which can't move", node=where, remedy=remedy)
        held = set()
        for location in self.model.external_locations():
            entry = source.parent / location
            held |= {_entry(entry), entry.resolve()}
        if _entry(self.path) in held:
            raise UsageError("it is the external data of the input", path=self.path, remedy="choose another name")
        in_place = _entry(self.path) in (_entry(source), source.resolve())
        if self.active and not in_place and _entry(self._data_path) in held:
            what = f"its data file '{self.file_name}' is the external data of the input"
            raise UsageError(what, path=self.path, remedy="choose another name")

    def write(self, pieces: Callable[[], list[Piece]]) -> None:
        """Write the data file and the model that refers to it, whose bytes `pieces` gives for the present `file_name`.

        Whenever this is stopped, the model at `path` is whole with its data: the earlier one or the new one. For where
        there is an earlier one, the data is first put under a name that the earlier one does not know.
        """
        data = self._data_path
        with files.spare_file(data) as (file, spare):
            try:
                self._fill(file)
                with files.locked_folder(data.parent):
                    self._exchange(spare, data, pieces)
            finally:
                if not files.mentions(self.path, spare.name):
                    spare.unlink(missing_ok=True)
        files.remove_stale(data.parent, data)

    def _exchange(self, spare: Path, data: Path, pieces: Callable[[], list[Piece]]) -> None:
        if data.exists():
            self._write_model(self._named(spare.name, pieces))
            data.unlink()  # nothing refers to it any more
            files.copy(spare, data)  # not a link: onnx reads no data that has two names
            self._write_model(self._named(data.name, pieces))
            return
        os.replace(spare, data)
        try:
            self._write_model(pieces())
        except BaseException:
            data.unlink()
            raise

    @property
    def _data_path(self) -> Path:
        return self.path.with_name(self.file_name)

    def _named(self, name: str, pieces: Callable[[], list[Piece]]) -> list[Piece]:
        self.file_name = name
        return pieces()

    def _fill(self, file: IO[bytes]) -> None:
        for constant, (start, _) in self.places.items():
            file.seek(start)
            file.write(tensors.payload(constant.values, constant.elem_type))
        file.flush()

    def _write_model(self, pieces: list[Piece]) -> None:
        with files.atomic_file(self.path) as file:
            file.writelines(tensors.made(pieces))


def _entry(path: Path) -> Path:
    """The place of a file in its folder, links in the folder's name followed: what a rename replaces."""
    return path.parent.resolve() / path.name


def _is_external(constant: Constant) -> bool:
    return constant._array is None and constant.header is not None and constant.header.location is not None

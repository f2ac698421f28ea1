"""The user's own samples, in the forms that people have them in.

- `file.npz`: an array for each input, by name: one sample. Where every array has one axis more than its input, in front
  and of one length for all, it is a stack of that many samples.
- a directory of `NAME.npy`, one for each input ('/' and ':' in names may be written '_'): one sample;
  of `test_data_set_N/input_K.pb`, the ONNX backend tests' layout, or of `input_K.pb` themselves;
  of several `.npz` files, or of subdirectories of these kinds: as many samples.
- `file.py:function`: a function without parameters that returns or yields dicts of input name -> value.
- in Python: such a dict, or an iterable of them; values may be arrays or onnx.TensorProtos.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import Any, Union

import numpy as np

from onnx_opt.errors import UsageError
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.run import Value
from onnx_opt.validate.signature import Signature, Slot

Data = Union[str, "os.PathLike[str]", Mapping[str, Value], Iterable[Mapping[str, Value]], "Part"]

_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
_INPUT_FILE = re.compile(r"input_(\d+)\.pb")


HELD_OUT = 4
"""Of so many samples one is held out from calibration."""


@dataclass(frozen=True)
class Part:
    """The samples among the first `most` of `data` that are held out from calibration, or the others. A single sample
    is in both parts."""

    data: Data
    held_out: bool
    most: int

    def of(self, feeds: Iterable[dict[str, Value]]) -> Iterator[dict[str, Value]]:
        """Those of all feeds that belong to this part."""
        single = None
        for number, feed in enumerate(islice(feeds, self.most)):
            if (number % HELD_OUT == 1) == self.held_out:
                yield feed
            single = feed if number == 0 else None
        if single is not None and self.held_out:
            yield single


def user_feeds(data: Data, signature: Signature) -> Iterator[dict[str, Value]]:
    """Feeds for a model with that signature, one at a time. Raises `UsageError` where the data do not fit it."""
    if isinstance(data, Part):
        yield from data.of(user_feeds(data.data, signature))
        return
    where, feeds = _open(data, signature)
    count = 0
    for raw in feeds:
        if not isinstance(raw, Mapping):
            raise UsageError(f"sample {count} is a {type(raw).__name__}, not a dict of input name -> array", path=where)
        yield _fit(raw, signature, where)
        count += 1
    if not count:
        raise UsageError("no samples in it", path=where)


def _open(data: Any, signature: Signature) -> tuple[str | None, Iterable[Mapping[str, Value]]]:
    if isinstance(data, Mapping):
        return None, [data]
    if not isinstance(data, str | os.PathLike):
        return None, data
    where = os.fspath(data)
    if match := _FUNCTION.fullmatch(where):
        return where, _from_function(Path(match["file"]), match["name"])
    path = Path(where)
    if path.is_dir():
        return where, _from_directory(path, signature)
    if path.suffix == ".npz" and path.is_file():
        return where, _from_npz(path, signature)
    if not path.exists():
        raise UsageError("no such file or directory", path=where)
    raise UsageError("not sample data", path=where, remedy="give an .npz, a directory or file.py:function")


def _from_function(path: Path, name: str) -> Iterable[Mapping[str, Value]]:
    if not path.is_file():
        raise UsageError("no such Python file", path=path)
    spec = spec_from_file_location(f"onnx_opt_data_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError("not a Python file", path=path)
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            raise UsageError(f"no function '{name}' in it", path=path)
        result = function()
        yield from [result] if isinstance(result, Mapping) else result
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"'{name}' failed: {type(error).__name__}: {error}", path=path) from error


def _from_npz(path: Path, signature: Signature) -> Iterator[Mapping[str, Value]]:
    with _load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = _stacked(arrays, signature)
    if count is None:
        yield arrays
        return
    for i in range(count):
        yield {name: array[i] for name, array in arrays.items()}


def _stacked(arrays: Mapping[str, np.ndarray], signature: Signature) -> int | None:
    """How many samples the arrays stack, None where they are one."""
    ranks = {slot.name: len(slot.shape) for slot in signature.inputs if slot.shape is not None}
    known = [array for name, array in arrays.items() if name in ranks]
    if not known or any(a.ndim != ranks[name] + 1 for name, a in arrays.items() if name in ranks):
        return None
    lengths = {array.shape[0] for array in known}
    return lengths.pop() if len(lengths) == 1 else None


def _from_directory(path: Path, signature: Signature) -> Iterator[Mapping[str, Value]]:
    files = sorted(path.iterdir(), key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])
    if proto_files := [file for file in files if _INPUT_FILE.fullmatch(file.name)]:
        yield _from_protos(proto_files, signature)
    if arrays := {file.stem: file for file in files if file.suffix == ".npy"}:
        yield _from_npy(arrays, signature)
    for file in files:
        if file.suffix == ".npz":
            yield from _from_npz(file, signature)
        elif file.is_dir():
            yield from _from_directory(file, signature)


def _from_npy(arrays: Mapping[str, Path], signature: Signature) -> Mapping[str, Value]:
    spelled = {re.sub(r"[^\w.-]", "_", slot.name): slot.name for slot in (*signature.inputs, *signature.overridable)}
    names = {slot.name for slot in (*signature.inputs, *signature.overridable)}
    return {stem if stem in names else spelled.get(stem, stem): _load(file) for stem, file in arrays.items()}


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"cannot be read: {error}", path=path) from error


def _from_protos(files: list[Path], signature: Signature) -> Mapping[str, Value]:
    feed = {}
    for file in files:
        match = _INPUT_FILE.fullmatch(file.name)
        position = int(match[1]) if match else 0
        if position >= len(signature.inputs):
            raise UsageError(f"the model has only {len(signature.inputs)} inputs", path=file)
        slot = signature.inputs[position]
        feed[slot.name] = _from_proto(file, slot)
    return feed


def _from_proto(file: Path, slot: Slot) -> Value:
    import onnx
    from onnx import numpy_helper

    raw = file.read_bytes()
    try:
        if slot.type.kind == "seq":
            return list(numpy_helper.to_list(onnx.SequenceProto.FromString(raw)))
        if slot.type.kind == "optional":
            return numpy_helper.to_optional(onnx.OptionalProto.FromString(raw))
        return numpy_helper.to_array(onnx.TensorProto.FromString(raw))
    except Exception as error:  # protobuf's DecodeError or numpy_helper's complaints about what it holds
        raise UsageError(f"not the value of input '{slot.name}', a {slot}: {error}", path=file) from error


def _fit(raw: Mapping[str, Value], signature: Signature, where: str | None) -> dict[str, Value]:
    slots = {slot.name: slot for slot in (*signature.inputs, *signature.overridable)}
    if unknown := [name for name in raw if name not in slots]:
        names = ", ".join(slot.name for slot in signature.inputs)
        raise UsageError(f"the model has no input '{unknown[0]}'", path=where, remedy=f"its inputs are {names}")
    if missing := [slot.name for slot in signature.inputs if slot.name not in raw]:
        raise UsageError(f"input '{missing[0]}' is missing from the data", path=where)
    return {name: _fit_value(value, slots[name], where) for name, value in raw.items()}


def _fit_value(value: Value, slot: Slot, where: str | None) -> Value:
    if slot.type.kind != "tensor":
        return value
    if hasattr(value, "SerializeToString"):
        from onnx import numpy_helper

        value = numpy_helper.to_array(value)  # an onnx.TensorProto
    array, dtype = np.asarray(value), slot.type.dtype
    if dtype is None:
        raise UsageError(f"input '{slot.name}' is a {slot}: there is no way to feed it", path=where)
    if array.dtype.type is np.void and array.dtype.itemsize == dtype.itemsize:
        array = array.view(dtype)  # .npy files forget the names of types that numpy does not know
    if not _may_cast(array.dtype, dtype):
        raise UsageError(f"input '{slot.name}' is a {slot}, not {array.dtype}", path=where)
    if slot.shape is not None and not _may_have_shape(array.shape, slot):
        raise UsageError(f"input '{slot.name}' is a {slot}, not {list(array.shape)}", path=where)
    return array.astype(dtype, copy=False)


def _may_cast(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Python's own floats and ints come as 64 bits, so narrowing within a kind is meant."""
    if given == wanted or (given.kind in "US" and wanted.kind == "O"):
        return True
    if "O" in (given.kind, wanted.kind):
        return False
    if given.kind == "V" or wanted.kind == "V":
        return is_float(given) == is_float(wanted) or given.itemsize == wanted.itemsize
    return np.can_cast(given, wanted, "same_kind") or (given.kind == "i" and wanted.kind == "u")


def _may_have_shape(given: tuple[int, ...], slot: Slot) -> bool:
    declared = slot.shape or ()
    if len(given) != len(declared):
        return not declared  # ONNX Runtime reports an unknown rank as no dims at all
    return all(not isinstance(d, int) or d == g for d, g in zip(declared, given, strict=True))

"""A model in ONNX Runtime as written, in this process: no graph optimization, CPU, one copy of the weights.

ONNX Runtime's own optimizer is off because it has bugs, and because it would hide the rewrites that are being judged.
Prepacking is off too: it halves nothing here, costs a copy of the weights, and makes a MatMul by a constant differ in
its last bits from the same MatMul by a computed value, which constant folding would then be blamed for.
"""

from __future__ import annotations

import ctypes
import math
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_opt.errors import OnnxOptError
from onnx_opt.runtime.session import apply_settings, create_session
from onnx_opt.runtime.settings import DISABLED
from onnx_opt.validate.run import CannotLoad, Feed, Rejected, Runtime, Unreadable, Value, operator_name
from onnx_opt.validate.signature import Signature, Slot, ValueType, read_signature
from onnx_opt.validate.source import Source

_FATAL = 4


class Clock:
    """Seconds of work since it was made. Other processes' load must not make for fewer tests: where this process got
    less than a core's time, that time counts."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return min(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Engine:
    """A loaded model: its `signature`, `run(feed)`, and the `seconds` that the last run took."""

    def __init__(self, source: Source, runtime: Runtime | None = None) -> None:
        """Raises `CannotLoad`; TargetError where the provider does not start, UsageError for options that it lacks."""
        import onnxruntime as ort

        self._runtime = runtime or Runtime()
        options = _session_options(ort, self._runtime, source)
        try:
            self._session: Any = create_session(source, options, self._runtime.settings)
        except OnnxOptError:
            raise
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            raise cannot_load(str(error)) from error
        self.signature: Signature = read_signature(self._session, source.declared_types)
        self._slots = {slot.name: slot for slot in (*self.signature.inputs, *self.signature.overridable)}
        self._ort = ort
        self.seconds = 0.0

    def run(self, feed: Feed) -> list[Value]:
        """The outputs for `feed`. Raises `Rejected` when the model refuses it, `Unreadable` for an output whose type
        has no way to Python."""
        options = self._ort.RunOptions()
        options.log_severity_level = _FATAL
        watchdog = threading.Timer(self._runtime.limit, setattr, (options, "terminate", True))
        if math.isfinite(self._runtime.limit):
            watchdog.start()
        clock = Clock()
        try:
            values = {name: self._to_runtime(self._slots.get(name), value) for name, value in feed.items()}
            if all(slot.type.native for slot in self.signature.outputs):
                return list(self._session.run(None, values, options))
            return self._run_through_ort_values(values, options)
        except Unreadable:
            raise
        except Exception as error:
            raise Rejected(one_line(str(error))) from error
        finally:
            watchdog.cancel()
            self.seconds = clock.seconds()

    def _run_through_ort_values(self, values: dict[str, Value], options: Any) -> list[Value]:
        """As `session.run`, for outputs whose types numpy lacks: their bytes are read in place."""
        ort_value = self._ort.OrtValue
        for name, value in values.items():
            if isinstance(value, np.ndarray) or np.isscalar(value):
                values[name] = ort_value.ortvalue_from_numpy(np.asarray(value))
            elif not isinstance(value, ort_value):
                raise Unreadable("ONNX Runtime's Python interface takes no sequence together with a bfloat16 output")
        results = self._session.run_with_ort_values(None, values, options)
        return [_from_runtime(slot.type, result) for slot, result in zip(self.signature.outputs, results, strict=True)]

    def _to_runtime(self, slot: Slot | None, value: Value) -> Value:
        if slot is None or not isinstance(value, np.ndarray):
            return value
        kind = slot.type.inner if slot.type.kind == "optional" and slot.type.inner else slot.type
        if kind.kind != "tensor" or kind.native:
            return value
        return carried(kind, value)


def carried(kind: ValueType, array: np.ndarray) -> Any:
    """An array of a type that numpy lacks as an OrtValue."""
    import onnxruntime as ort

    carrier = pack(array, kind.bits) if kind.bits else array.view(f"u{array.dtype.itemsize}")
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.asarray(carrier, order="C"), kind.onnx_type)


def _session_options(ort: Any, runtime: Runtime, source: Source) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    if runtime.settings.level == DISABLED:
        _as_written(options, runtime)
    apply_settings(options, runtime.settings, source, runtime.custom_ops)
    return options


def _as_written(options: Any, runtime: Runtime) -> None:
    options.use_deterministic_compute = True
    # Each shape is run about once: neither a plan for the next run nor a pool that grows by doubling pays.
    options.enable_mem_pattern = False
    options.enable_mem_reuse = runtime.reuse
    options.add_session_config_entry("session.disable_prepacking", "1")


def _from_runtime(kind: ValueType, result: Any) -> Value:
    if kind.native:
        return result.numpy()
    if kind.kind != "tensor" or kind.dtype is None:
        raise Unreadable(f"ONNX Runtime's Python interface gives no access to {kind}")
    shape = tuple(result.shape())
    count = result.tensor_size_in_bytes()
    raw = np.frombuffer(ctypes.string_at(result.data_ptr(), count), np.uint8) if count else np.zeros(0, np.uint8)
    codes = unpack(raw, shape, kind.bits) if kind.bits else raw
    return codes.view(kind.dtype).reshape(shape)


def pack(array: np.ndarray, bits: int) -> np.ndarray:
    """Elements of less than a byte as ONNX Runtime stores them, the first in the lowest bits.

    The result has the shape of `array` and holds the packed bytes first: that is how the Python interface wants it.
    """
    per_byte = 8 // bits
    codes = array.reshape(-1).view(np.uint8) & np.uint8((1 << bits) - 1)
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, np.uint8)
    padded[: codes.size] = codes
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    out = np.zeros(array.shape, np.uint8)
    out.reshape(-1)[: padded.size // per_byte] = (padded.reshape(-1, per_byte) << shifts).sum(axis=1, dtype=np.uint8)
    return out


def unpack(raw: np.ndarray, shape: Sequence[int], bits: int) -> np.ndarray:
    """The inverse of `pack`, from the packed bytes alone; codes, not values."""
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    codes = ((raw[:, None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(-1)
    return np.asarray(codes[: math.prod(shape)].reshape(tuple(shape)))


_NO_SCHEMA = (
    re.compile(r"Fatal error: (?P<domain>[^\s:]*):(?P<op>\S+)\(-?\d+\) is not a registered function/op"),
    re.compile(r'In Node, \("[^"]*", (?P<op>[^,]+), "(?P<domain>[^"]*)", -?\d+\).*Error No Op registered for'),
)
_NO_KERNEL = re.compile(
    r"(?:Could not find an implementation|Failed to find kernel) for "
    r"(?:(?P<domain>[^\s:(]+)[.:])?(?P<op>[^\s(.:]+)\(\d+\)"
)
_OLD_IR = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OLD_OPSET = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)")


def cannot_load(message: str) -> CannotLoad:
    """What ONNX Runtime says of a model that it does not load, in one line, and what it lacks where that is why."""
    for pattern in _NO_SCHEMA:
        if found := pattern.search(message):
            operator = (found["domain"], found["op"])
            return CannotLoad(f"ONNX Runtime has no operator {operator_name(*operator)}", operator)
    if found := _NO_KERNEL.search(message):
        operator = (found["domain"] or "", found["op"])
        return CannotLoad(f"ONNX Runtime has no kernel for {operator_name(*operator)} on these types", operator)
    if found := _OLD_IR.search(message):
        return CannotLoad(f"ONNX Runtime stops at IR version {found[2]}, not {found[1]}", limit=("ir", int(found[2])))
    if found := _OLD_OPSET.search(message):
        domain = "" if found[2] == "ai.onnx" else found[2]
        reason = f"ONNX Runtime stops at opset {found[3]} of {found[2]}, not {found[1]}"
        return CannotLoad(reason, limit=(domain, int(found[3])))
    return CannotLoad(one_line(message))


def one_line(message: str) -> str:
    """An ONNX Runtime message without its build paths, C++ signatures and line breaks."""
    message = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", message)
    message = re.sub(r"Non-zero status code returned while running |Load model from \S+ failed:", "", message)
    # '/build/dir/onnxruntime/core/file.cc:12 type name(types) const [with T = x] text' -> 'text'
    message = re.sub(r"/\S*onnxruntime/core/\S+:\d+ [^\n]*?\)(?: const)?(?: \[with [^\]]*\])? ", "", message)
    return " ".join(message.split())[:400]

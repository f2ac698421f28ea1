"""Opening a session of ONNX Runtime, and running it on values that are where the provider wants them.

session = open_session("model.onnx", read_settings("cuda"))
bound = Binding(session, feed)
bound.run()
bound.outputs()
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.errors import ModelError, OnnxOptError, TargetError, UsageError
from onnx_opt.runtime.settings import CPU, CUDA, DML, TENSORRT, TENSORRT_RTX, Settings, read_session_option, short_name

if TYPE_CHECKING:
    from onnx_opt.validate.source import Source

_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_DEVICES = {CUDA: "cuda", TENSORRT: "cuda", TENSORRT_RTX: "cuda", DML: "dml"}
_ERRORS_ONLY, _FATAL = 3, 4


def open_session(
    model: str | os.PathLike[str] | bytes | Source,
    settings: Settings | None = None,
    *,
    threads: int = 0,
    custom_ops: Sequence[str | Path] = (),
    folder: Path | None = None,
    options: Any = None,
) -> Any:
    """An onnxruntime.InferenceSession for `model`; `folder` holds the external data of one given as bytes.

    `threads` 0 leaves their number to ONNX Runtime; `options` are SessionOptions to start from.
    Raises TargetError where the provider does not start or does not run the model, ModelError for what is no valid
    model, UsageError for options that the provider does not have.
    """
    import onnxruntime

    from onnx_opt.validate.engine import cannot_load
    from onnx_opt.validate.source import Source

    settings, source = settings or Settings(), Source.of(model, folder)
    options = options if options is not None else onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    apply_settings(options, settings, source, custom_ops)
    try:
        return create_session(source, options, settings)
    except OnnxOptError as error:
        error.locate(source.path)
        raise
    except Exception as error:  # ONNX Runtime's exception classes share no base of their own
        problem = cannot_load(str(error))
        if problem.is_lack:
            raise TargetError(str(problem), path=source.name) from error
        raise ModelError(f"ONNX Runtime does not load it: {problem}", path=source.name) from error


def apply_settings(options: Any, settings: Settings, source: Source, custom_ops: Sequence[str | Path] = ()) -> None:
    """Write into SessionOptions what `settings` say and what `source` needs."""
    import onnxruntime

    from onnx_opt.validate.engine import one_line

    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[settings.level])
    options.log_severity_level = _FATAL
    if source.path is None and source.folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(source.external_folder)
        )
    for library in custom_ops:
        try:
            options.register_custom_ops_library(str(library))
        except Exception as error:
            raise UsageError(f"not a custom operator library: {one_line(str(error))}", path=library) from error
    for key, text in settings.session_options:
        value = read_session_option(key, text)
        if "." in key:
            options.add_session_config_entry(key, value)
        else:
            setattr(options, key, value)


def create_session(source: Source, options: Any, settings: Settings) -> Any:
    """A session in which the provider that was asked for takes part. ONNX Runtime by itself would go on without it,
    and without options that it does not know. Raises TargetError, UsageError, and whatever ONNX Runtime raises."""
    import onnxruntime

    if settings.provider not in (CPU, DML):
        load_libraries()
    model = str(source.path) if source.path else source.data
    try:
        session = onnxruntime.InferenceSession(model, options, providers=settings.providers, enable_fallback=False)
    except Exception as error:
        raise _translated(error, settings) from error
    if settings.provider not in session.get_providers():
        remedy = f"providers that start here: {', '.join(map(short_name, session.get_providers()))}"
        raise TargetError(f"{settings.provider} finds no device here, or not its libraries", remedy=remedy)
    known = session.get_provider_options().get(settings.provider, {})
    told = known or settings.provider == CPU  # the others that tell of no options may have some
    if told and (unknown := [key for key, _ in settings.provider_options if key not in known]):
        remedy = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise UsageError(f"{settings.provider} has no option '{unknown[0]}'", remedy=remedy)
    return session


def require(settings: Settings) -> None:
    """Raise TargetError where the provider does not start, UsageError for options that it does not have; in the worker,
    since the libraries of a provider may end their process."""
    from onnx_opt import worker

    try:
        worker.shared().apply("onnx_opt.runtime.session:start", settings)
    except worker.Crashed as crash:
        raise TargetError(f"{settings.provider} {crash} when it started") from crash
    except OnnxOptError as error:
        error.path = None
        raise


def start(settings: Settings) -> None:
    """Open a session on next to nothing. Raises as `open_session`."""
    open_session(_smallest_model(), settings)


def _smallest_model() -> bytes:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())


@lru_cache(maxsize=1)
def load_libraries() -> None:
    """Let ONNX Runtime find the CUDA libraries that Python packages carry."""
    import io
    from contextlib import redirect_stdout

    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):  # it prints what it does not find; opening says whether that matters
            onnxruntime.preload_dlls()


def _translated(error: Exception, settings: Settings) -> Exception:
    """What ONNX Runtime says of a provider, as an error of ours; anything else as it is."""
    from onnx_opt.validate.engine import one_line

    text = str(error)
    if settings.provider_options and "option" in text.lower() and "provider" in text.lower():
        return UsageError(f"{settings.provider} refuses its options: {one_line(text)}")
    if "install TensorRT libraries" in text or ("providers" in text and "load library" in text.lower()):
        return TargetError(f"{settings.provider} does not start: its libraries are not installed")
    return error


def device_of(settings: Settings) -> tuple[str, int]:
    """Where a provider wants its values: the kind of device, and its number."""
    return _DEVICES.get(settings.provider, "cpu"), int(dict(settings.provider_options).get("device_id", 0))


class Binding:
    """A session bound to one feed: inputs lie on the device, outputs stay there, so that a run copies nothing.

    With `fixed`, outputs are written to the same place in each run (CUDA graphs need that); their shapes then are
    those of the first run. Raises TypeError for values that cannot be bound: strings, sequences, maps, empty optionals.
    """

    def __init__(
        self, session: Any, feed: Mapping[str, Any], device: tuple[str, int] = ("cpu", 0), fixed: bool = False
    ) -> None:
        import onnxruntime

        self.session, self._device = session, device
        self._binding = session.io_binding()
        types = {slot.name: slot.type for slot in session.get_inputs()}
        self._held = [to_device(value, device, types.get(name, "")) for name, value in feed.items()]
        for name, value in zip(feed, self._held, strict=True):
            self._binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            self._binding.bind_output(output.name, *device)
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = _ERRORS_ONLY
        if fixed:
            self._fix_outputs()

    def run(self) -> None:
        """One inference; returns when its results are there."""
        self.session.run_with_iobinding(self._binding, self._options)
        self._binding.synchronize_outputs()

    def outputs(self) -> list[Any]:
        """The results of the last run, as OrtValues on the device."""
        found: list[Any] = self._binding.get_outputs()
        return found

    def arrays(self) -> list[np.ndarray]:
        """The results of the last run, copied to the host."""
        return [value.numpy() for value in self.outputs()]

    def _fix_outputs(self) -> None:
        self.run()
        names = [output.name for output in self.session.get_outputs()]
        for name, value in zip(names, self.outputs(), strict=True):
            self._held.append(value)
            self._binding.bind_ortvalue_output(name, value)


def to_device(value: Any, device: tuple[str, int], kind: str = "") -> Any:
    """An array (or OrtValue) as an OrtValue on `device`; `kind` is ONNX Runtime's name of its type. What numpy has no
    type for stays on the processor. Raises TypeError for what is no tensor, or one of strings."""
    import onnxruntime

    if isinstance(value, onnxruntime.OrtValue):
        return value
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} cannot be bound")
    array = np.asarray(value, order="C")
    if array.dtype.kind in "OUS":
        raise TypeError("strings cannot be bound")
    if kind:
        from onnx_opt.validate.engine import carried
        from onnx_opt.validate.signature import parse_type

        if not (parsed := parse_type(kind)).native:
            return carried(parsed, array)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array, *device)

"""Parsing a model and building an engine: what runs in the child process, where the builder may crash.

One code path for TensorRT 10 and 11 and for TensorRT for RTX: networks are strongly typed everywhere, and what only
some of them have is looked for by name.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from onnx_opt.emit.tensorrt.log import Heard, make_logger, make_monitor
from onnx_opt.emit.tensorrt.messages import About, Built, Fault, Parsed, Port, Profile, Settings
from onnx_opt.emit.tensorrt.modules import import_builder
from onnx_opt.emit.tensorrt.remedies import BUILDER, explain
from onnx_opt.errors import TargetError
from onnx_opt.files import atomic_file

MOST_CALLS = 16
"""Longest stack of local functions that an error is located in."""


def describe(module: str) -> About:
    """What a builder can do on this machine."""
    trt = import_builder(module)
    names = [name.removeprefix("SM") for name in dir(getattr(trt, "ComputeCapability", None)) if name.startswith("SM")]
    return About(module, trt.__version__, tuple(sorted(names, key=int)), _has_driver())


def _has_driver() -> bool:
    for library in ("libcuda.so.1", "nvcuda.dll"):
        with suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False


def parse(module: str, model: str | bytes, folder: str | None = None, trace: bool = False) -> Parsed:
    """Let the parser read a model: the path of its file, or bytes with their external data in `folder`."""
    trt, heard = import_builder(module), Heard()
    logger = make_logger(trt, heard, trace)
    network = _network(trt, trt.Builder(logger))
    return _parse(trt, network, trt.OnnxParser(network, logger), module, model, folder, heard)


def build(
    module: str, model: str | bytes, settings: Settings, output: str, folder: str | None = None
) -> Built | Parsed:
    """Build an engine from a model, as `parse` takes it, into the file at the path `output`; what was parsed where the
    parser refuses. Raises TargetError where the builder does."""
    trt, heard = import_builder(module), Heard()
    logger = make_logger(trt, heard)
    builder = trt.Builder(logger)
    network = _network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    parsed = _parse(trt, network, parser, module, model, folder, heard)
    if parsed.faults:
        return parsed
    _require_contents(parsed, settings.profiles)
    config = _configure(trt, builder, settings)
    cache = _timing_cache(config, settings.timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reason, remedy = explain(BUILDER, _first(heard.errors))
        raise TargetError(f"the builder refuses: {reason}", remedy=remedy)
    with open(output, "wb") as file:
        file.write(memoryview(engine))
    if cache is not None and settings.timing_cache:
        with atomic_file(Path(settings.timing_cache)) as file:
            file.write(memoryview(config.get_timing_cache().serialize()))
    count = max(len(settings.profiles), 1)
    return Built(
        parsed,
        engine.nbytes,
        heard.weight_bytes,
        tuple(heard.activation_bytes[:count]),
        config.builder_optimization_level,
        settings.capabilities,
    )


def _network(trt: Any, builder: Any) -> Any:
    """An empty, strongly typed network; newer versions have no other, and some no flag to ask for it."""
    flags = 0
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        flags |= 0 if flag is None else 1 << int(flag)
    return builder.create_network(flags)


def _parse(
    trt: Any, network: Any, parser: Any, module: str, model: str | bytes, folder: str | None, heard: Heard
) -> Parsed:
    if isinstance(model, str):
        done = parser.parse_from_file(model)
    else:
        # Data beside a model is found from the path of its file; the file itself need not be there.
        done = parser.parse(model, path=str(Path(folder) / "model.onnx")) if folder else parser.parse(model)
    faults = tuple(_fault(parser.get_error(i)) for i in range(parser.num_errors))
    if not done and not faults:
        faults = (Fault(-1, "", "", "", "", _first(heard.errors)),)
    return Parsed(
        module,
        trt.__version__,
        faults,
        network.num_layers,
        tuple(_port(network.get_input(i)) for i in range(network.num_inputs)),
        tuple(_port(network.get_output(i)) for i in range(network.num_outputs)) if done else (),
    )


def _port(tensor: Any) -> Port:
    try:
        shape = tuple(tensor.shape)
    except ValueError:  # the number of dims is not known
        shape = ()
    return Port(tensor.name, tensor.dtype.name, shape, bool(tensor.is_shape_tensor))


def _fault(error: Any) -> Fault:
    stack: Sequence[str] = ()
    with suppress(AttributeError, TypeError):
        stack = tuple(map(str, error.local_function_stack()))[:MOST_CALLS]
    code = str(error.code()).rpartition(".")[2]
    return Fault(error.node(), error.node_name(), error.node_operator(), error.func(), code, error.desc(), tuple(stack))


def _configure(trt: Any, builder: Any, settings: Settings) -> Any:
    config = builder.create_builder_config()
    config.progress_monitor = make_monitor(trt)
    if settings.level is not None:
        config.builder_optimization_level = settings.level
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    for name in settings.flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if settings.capabilities:
        config.num_compute_capabilities = len(settings.capabilities)
        for index, name in enumerate(settings.capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{name}"), index):
                raise TargetError(f"the builder does not take compute capability {name}", remedy="leave it out")
    for profile in settings.profiles:
        _add_profile(builder, config, profile)
    return config


def _require_contents(parsed: Parsed, profiles: Sequence[Profile]) -> None:
    """An input that the parser found to be a shape needs its contents in each profile."""
    for port in parsed.inputs:
        if port.is_shape and not (profiles and all(port.name in profile.contents for profile in profiles)):
            remedy = f"--profile '{port.name}=[..]:[..]:[..]' gives the smallest, the best and the largest"
            raise TargetError(
                f"the content of input '{port.name}' is a shape: an engine needs its range", remedy=remedy
            )


def _add_profile(builder: Any, config: Any, profile: Profile) -> None:
    made = builder.create_optimization_profile()
    try:
        for name, shapes in profile.shapes.items():
            made.set_shape(name, *shapes)
        for name, contents in profile.contents.items():
            made.set_shape_input(name, *contents)
        accepted = config.add_optimization_profile(made) >= 0
    except (RuntimeError, ValueError):
        accepted = False
    if not accepted:
        reason = f"the builder does not take the profile {profile}"
        raise TargetError(reason, remedy="each size must be one that the model can run at")


def _timing_cache(config: Any, path: str | None) -> Any:
    if path is None:
        return None
    file = Path(path)
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _first(messages: Sequence[str]) -> str:
    return messages[0] if messages else "it gives no reason"

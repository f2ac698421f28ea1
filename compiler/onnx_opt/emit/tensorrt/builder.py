"""Parsing a model and building an engine: what runs in the child process, where the builder may crash.

One code path for TensorRT 10 and 11 and for TensorRT for RTX: networks are strongly typed everywhere, and what only
some of them have is looked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx_opt.emit.tensorrt.log import Heard, make_logger, make_monitor
from onnx_opt.emit.tensorrt.modules import import_builder
from onnx_opt.errors import TargetError

Sizes = tuple[int, ...]
MOST_CALLS = 16
"""Longest stack of local functions that an error is located in."""


@dataclass(frozen=True)
class Fault:
    """What the parser says of a node: `index` is its place in the graph that it stands in, -1 for the whole model."""

    index: int
    name: str
    operator: str
    function: str
    code: str
    text: str
    stack: tuple[str, ...] = ()
    """The calls of local functions that lead to the node."""


@dataclass(frozen=True)
class Port:
    """An input or output of the network, with the sizes of its dims, -1 where they are dynamic."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_shape: bool = False
    """Its content is part of profiles."""


@dataclass(frozen=True)
class Parsed:
    """What the parser made of a model."""

    module: str
    version: str
    faults: tuple[Fault, ...]
    layers: int = 0
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Smallest, best and largest sizes of each dynamic input, by its name."""

    shapes: Mapping[str, tuple[Sizes, Sizes, Sizes]]

    def __str__(self) -> str:
        """As `--profile` takes it: x=1x3x8x8:8x3x8x8:32x3x8x8,y=..."""
        texts = {name: ["x".join(map(str, sizes)) for sizes in shapes] for name, shapes in self.shapes.items()}
        return ",".join(f"{name}={':'.join(shapes)}" for name, shapes in texts.items())


@dataclass(frozen=True)
class Settings:
    """What an engine is built with; None leaves the builder's own choice."""

    profiles: tuple[Profile, ...] = ()
    level: int | None = None
    workspace: int | None = None
    timing_cache: str | None = None
    capabilities: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """What is known of an engine without running it."""

    parsed: Parsed
    engine_bytes: int
    weight_bytes: int | None
    activation_bytes: tuple[int, ...]
    """One for each profile."""
    level: int
    capabilities: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def parse(module: str, model: str | bytes, folder: str | None = None, trace: bool = False) -> Parsed:
    """Let the parser read a model: the path of its file, or bytes with their external data in `folder`."""
    trt, heard = import_builder(module), Heard()
    logger = make_logger(trt, heard, trace)
    network = _network(trt, trt.Builder(logger))
    return _parse(trt, network, trt.OnnxParser(network, logger), module, model, folder, heard)


def build(module: str, model: str, settings: Settings, output: str) -> Built | Parsed:
    """Build an engine from the model at the path `model` into the file at the path `output`; what was parsed where
    the parser refuses. Raises TargetError where the builder does."""
    trt, heard = import_builder(module), Heard()
    logger = make_logger(trt, heard)
    builder = trt.Builder(logger)
    network = _network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    parsed = _parse(trt, network, parser, module, model, None, heard)
    if parsed.faults:
        return parsed
    config = _configure(trt, builder, settings)
    cache = _timing_cache(config, settings.timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise TargetError(f"the builder refuses: {_first(heard.errors)}")
    with open(output, "wb") as file:
        file.write(memoryview(engine))
    if cache is not None and settings.timing_cache:
        Path(settings.timing_cache).write_bytes(memoryview(config.get_timing_cache().serialize()))
    count = max(len(settings.profiles), 1)
    return Built(
        parsed,
        engine.nbytes,
        heard.weight_bytes,
        tuple(heard.activation_bytes[:count]),
        config.builder_optimization_level,
        settings.capabilities,
        tuple(dict.fromkeys(heard.warnings)),
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
        tuple(dict.fromkeys(heard.warnings)),
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
                raise TargetError(f"the builder does not take compute capability {name}")
    for profile in settings.profiles:
        _add_profile(builder, config, profile)
    return config


def _add_profile(builder: Any, config: Any, profile: Profile) -> None:
    made = builder.create_optimization_profile()
    for name, shapes in profile.shapes.items():
        made.set_shape(name, *shapes)
    if config.add_optimization_profile(made) < 0:
        raise TargetError(f"the builder does not take the profile {profile}")


def _timing_cache(config: Any, path: str | None) -> Any:
    if path is None:
        return None
    file = Path(path)
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _first(messages: Sequence[str]) -> str:
    return messages[0] if messages else "it gives no reason"

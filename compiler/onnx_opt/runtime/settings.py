"""How a model is to be opened in ONNX Runtime, as users spell it.

ONNX Runtime itself ignores what it does not understand: a misspelt option, a value that is no number, a provider that
is not there. Here each of these is an error before any work is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from onnx_opt.errors import MissingRuntimeError, TargetError, UsageError

SUFFIX = "ExecutionProvider"
CPU, CUDA, DML = f"CPU{SUFFIX}", f"CUDA{SUFFIX}", f"Dml{SUFFIX}"
TENSORRT, TENSORRT_RTX = f"Tensorrt{SUFFIX}", f"NvTensorRTRTX{SUFFIX}"

DISABLED, ALL = "disabled", "all"
LEVELS = (DISABLED, "basic", "extended", "layout", ALL)
"""How far ONNX Runtime optimizes a model when it loads it."""

HELPERS: Mapping[str, tuple[str, ...]] = {TENSORRT: (CUDA,)}
"""The providers that take the nodes which another leaves, before the processor takes the rest."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Settings:
    """A provider with its options, and the options of the session. `level` is one of `LEVELS`."""

    provider: str = CPU
    provider_options: Pairs = ()
    session_options: Pairs = ()
    level: str = ALL

    @property
    def providers(self) -> list[tuple[str, dict[str, str]]]:
        """What InferenceSession takes as `providers`."""
        return [(self.provider, dict(self.provider_options)), *((name, {}) for name in HELPERS.get(self.provider, ()))]


AS_WRITTEN = Settings(level=DISABLED)
"""On the processor, without a change of ONNX Runtime's own."""


# -- what users write --------------------------------------------------------------------------------------------------


def read_settings(
    provider: str | None = None,
    provider_options: Iterable[str] = (),
    session_options: Iterable[str] = (),
    level: str = ALL,
) -> Settings:
    """Settings from the texts of flags: a provider's name (``cuda`` or ``CUDAExecutionProvider``), ``KEY=VALUE`` pairs.

    Raises UsageError for what nobody could mean, TargetError for a provider that is not in this ONNX Runtime.
    """
    options = _pairs("--session-option", session_options)
    for key, value in options:
        read_session_option(key, value)
    return Settings(find_provider(provider or CPU), _pairs("--provider-option", provider_options), options, level)


def find_provider(name: str) -> str:
    """The full name of a provider, which must be in the installed ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingRuntimeError("running a model needs ONNX Runtime") from error

    available = onnxruntime.get_available_providers()
    known = {short_name(full): full for full in (*onnxruntime.get_all_providers(), *available)}
    full = known.get(short_name(name))
    here = f"available here: {', '.join(map(short_name, available))}"
    if full is None:
        close = get_close_matches(short_name(name), known, n=1)
        remedy = f"did you mean {close[0]!r}? {here}" if close else here
        raise UsageError(f"unknown provider '{name}'", remedy=remedy)
    if full not in available:
        raise TargetError(f"this ONNX Runtime has no {full}", remedy=here)
    return full


def short_name(provider: str) -> str:
    """``cuda`` for ``CUDAExecutionProvider``."""
    return provider.strip().lower().removesuffix(SUFFIX.lower())


def _pairs(flag: str, texts: Iterable[str]) -> Pairs:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise UsageError(f"{flag} {text}: not an option and its value", remedy=f"write {flag} KEY=VALUE")
        if found.setdefault(key, value) != value:
            raise UsageError(f"{flag} {text}: '{key}' is given twice")
    return tuple(found.items())


# -- options of a session ----------------------------------------------------------------------------------------------


def _integer(text: str) -> int:
    return int(text)


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "0": False, "false": False}[text.lower()]


def _choice(kind: str, **values: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        import onnxruntime

        return getattr(getattr(onnxruntime, kind), values[text.lower()])

    return read


@dataclass(frozen=True)
class _Attribute:
    """An attribute of onnxruntime.SessionOptions: how its value is read, and what may be written."""

    read: Callable[[str], Any]
    takes: str


_ATTRIBUTES: Mapping[str, _Attribute] = {
    **{
        name: _Attribute(_integer, "a whole number")
        for name in ("intra_op_num_threads", "inter_op_num_threads", "log_severity_level", "log_verbosity_level")
    },
    **{
        name: _Attribute(_flag, "0 or 1")
        for name in ("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "use_deterministic_compute")
    },
    "execution_mode": _Attribute(
        _choice("ExecutionMode", sequential="ORT_SEQUENTIAL", parallel="ORT_PARALLEL"), "sequential or parallel"
    ),
    "execution_order": _Attribute(
        _choice(
            "ExecutionOrder", default="DEFAULT", priority_based="PRIORITY_BASED", memory_efficient="MEMORY_EFFICIENT"
        ),
        "default, priority_based or memory_efficient",
    ),
}
_OWN_FLAGS = {"graph_optimization_level": "--ort-level", "enable_profiling": "--profile"}

AREAS = ("session", "ep", "optimization", "mlas", "memory")
"""What the names of configuration entries begin with. The rest of the name only the runtime knows."""


def doubts(settings: Settings) -> list[str]:
    """What the user may have misspelt: ONNX Runtime passes over configuration entries that it does not know."""
    from onnx_opt.runtime.option_names import ENTRIES

    unknown = [key for key, _ in settings.session_options if "." in key and not key.startswith("ep.")]
    told = []
    for key in (key for key in unknown if key not in ENTRIES):
        close = get_close_matches(key, ENTRIES, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        told.append(f"session option '{key}' is none that ONNX Runtime is known to have: it may be ignored{hint}")
    return told


def read_session_option(key: str, value: str) -> Any:
    """The value of an option as SessionOptions takes it; UsageError for an unknown option or a value it cannot have."""
    if "." in key:
        if key.split(".")[0] not in AREAS:
            remedy = f"configuration entries begin with {', '.join(AREAS)}"
            raise UsageError(f"--session-option {key}: ONNX Runtime has no such option", remedy=remedy)
        return value
    if key in _OWN_FLAGS:
        raise UsageError(f"--session-option {key}: it has a flag of its own", remedy=f"use {_OWN_FLAGS[key]}")
    if key not in _ATTRIBUTES:
        close = get_close_matches(key, _ATTRIBUTES, n=1)
        known = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(_ATTRIBUTES)}, or an entry such as "
        raise UsageError(
            f"--session-option {key}: ONNX Runtime has no such option",
            remedy=known if close else f"{known}session.intra_op.allow_spinning",
        )
    try:
        return _ATTRIBUTES[key].read(value)
    except (ValueError, KeyError):
        raise UsageError(f"--session-option {key}: '{value}' is not {_ATTRIBUTES[key].takes}") from None

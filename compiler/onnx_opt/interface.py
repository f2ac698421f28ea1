"""Fixing what a model leaves open: sizes for its symbolic dims, shapes for its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnx_opt.errors import UsageError
from onnx_opt.passes import nearest
from onnx_opt.types import TensorType

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.ir.values import Value

Bounds = tuple[int, int | None]
Dims = Mapping[str, int | Bounds]
"""A size, or the smallest and the largest one (None: no limit), by the name of a symbolic dim."""
Shapes = Mapping[str, Sequence[int | None]]
"""The sizes of an input's dims by its name; None leaves a dim as it is."""


def restrict(graph: Graph, dims: Dims, shapes: Shapes) -> dict[str, int | Bounds]:
    """Fix or bound symbolic dims everywhere in the model; returns what holds of each then.

    A shape fixes the symbols that it meets as well.  Raises UsageError for an input or a dim that the model does not
    have, and for a size that contradicts the model or another option.
    """
    if not dims and not shapes:
        return {}
    wanted: dict[str, int | Bounds] = dict(dims)
    for name, sizes in shapes.items():
        _fix_input(graph, _input(graph, name), list(sizes), wanted)
    known = dict.fromkeys(symbols(graph))
    for name in dims:
        if name not in known:
            remedy = nearest(name, known, _list(known))
            raise UsageError(f"no input has a dim '{name}'", path=_path(graph), remedy=remedy)
    _substitute(graph, {name: size for name, size in wanted.items() if isinstance(size, int)})
    for name, size in wanted.items():
        try:
            graph.model.facts.fix(name, size)
        except ValueError as error:
            raise UsageError(f"dim '{name}': {error}", path=_path(graph)) from error
    return wanted


def symbols(graph: Graph) -> Iterator[str]:
    """The names of the symbolic dims of the inputs, in order."""
    for value in graph.inputs:
        shape = getattr(value.declared, "shape", None) or ()
        yield from (dim for dim in shape if isinstance(dim, str))


def _input(graph: Graph, name: str) -> Value:
    known: dict[str, Value] = {value.name: value for value in graph.inputs}
    if name not in known:
        raise UsageError(f"no input '{name}'", path=_path(graph), remedy=nearest(name, known, _list(known)))
    return known[name]


def _fix_input(graph: Graph, value: Value, sizes: list[int | None], wanted: dict[str, int | Bounds]) -> None:
    declared = value.declared
    if not isinstance(declared, TensorType):
        raise UsageError(f"input '{value.name}' is no tensor and has no shape", path=_path(graph))
    old = declared.shape if declared.shape is not None else (None,) * len(sizes)
    if len(old) != len(sizes):
        text = f"input '{value.name}' has {len(old)} dims, the shape given has {len(sizes)}"
        raise UsageError(text, path=_path(graph))
    new = []
    for dim, size in zip(old, sizes, strict=True):
        if size is not None and isinstance(dim, int) and dim != size:
            raise UsageError(f"a dim of input '{value.name}' is {dim}, it cannot be {size}", path=_path(graph))
        if size is not None and isinstance(dim, str):
            _settle(graph, dim, size, wanted)
        new.append(dim if size is None else size)
    graph.declare(value, declared.with_shape(new))


def _settle(graph: Graph, name: str, size: int, wanted: dict[str, int | Bounds]) -> None:
    """A shape gives the symbol `name` a size: check it against what else is said of it."""
    before = wanted.get(name, size)
    low, high = (before, before) if isinstance(before, int) else before
    if size < low or (high is not None and size > high):
        raise UsageError(f"dim '{name}' is {size} in one option and {spell_dim(before)} in another", path=_path(graph))
    wanted[name] = size


def _substitute(graph: Graph, sizes: Mapping[str, int]) -> None:
    """Write sizes in place of names in every type that the model states."""
    for value in _declared_values(graph):
        declared = value.declared
        shape = getattr(declared, "shape", None)
        if isinstance(declared, TensorType) and shape and any(dim in sizes for dim in shape if isinstance(dim, str)):
            graph.declare(value, declared.with_shape([sizes.get(d, d) if isinstance(d, str) else d for d in shape]))


def _declared_values(graph: Graph) -> Iterator[Value]:
    for scope in graph.nested():
        yield from scope.inputs
        for node in scope:
            yield from (value for value in node.outputs if value.name)


def spell_dim(dim: int | Bounds) -> str:
    """A size or its bounds as the command line has them: 4, 1:512, 1:"""
    return str(dim) if isinstance(dim, int) else f"{dim[0]}:{'' if dim[1] is None else dim[1]}"


def _list(names: Iterable[Any]) -> str:
    names = list(names)
    return f"it has {', '.join(map(str, names[:8]))}" if names else "it has none"


def _path(graph: Graph) -> str | None:
    return str(graph.model.path) if graph.model.path else None

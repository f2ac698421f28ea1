"""Which inputs and outputs of a model are pictures, and where their channels lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from onnx import TensorProto

from onnx_opt import types
from onnx_opt.errors import UsageError
from onnx_opt.imaging.kinds import Layout
from onnx_opt.passes import nearest
from onnx_opt.types import TensorType

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Value

CHANNELS = (3, 1, 4)
"""What a picture has, the likeliest first: colours, greys, colours and transparency."""


@dataclass(frozen=True)
class Port:
    """An input or output that is a picture, or a batch of them: as the model has it before it is changed, its channels
    at `axis`."""

    value: Value
    name: str
    declared: TensorType
    axis: int

    @property
    def rank(self) -> int:
        assert self.declared.shape is not None
        return len(self.declared.shape)

    @property
    def dims(self) -> tuple[Any, ...]:
        assert self.declared.shape is not None
        return self.declared.shape

    @property
    def channels(self) -> int | None:
        """How many there are, None where the model does not say."""
        dim = self.dims[self.axis]
        return dim if isinstance(dim, int) else None

    @property
    def is_last(self) -> bool:
        """Whether the channels lie last already, as a camera gives them."""
        return self.axis == self.rank - 1

    @property
    def to_model(self) -> tuple[int, ...]:
        """The permutation from channels last to the model's layout."""
        others = list(range(self.rank - 1))
        return (*others[: self.axis], self.rank - 1, *others[self.axis :])

    @property
    def to_last(self) -> tuple[int, ...]:
        """The permutation from the model's layout to channels last."""
        return (*(axis for axis in range(self.rank) if axis != self.axis), self.axis)

    @property
    def spatial(self) -> tuple[int, int]:
        """The axes of height and width in the model's layout."""
        axes = [axis for axis in range(self.rank) if axis != self.axis][-2:]
        return axes[0], axes[1]

    def along_channels(self, array: Any) -> Any:
        """One number a channel, in the form that broadcasts over a picture of the model's layout."""
        return array.reshape(-1) if self.is_last else array.reshape(-1, 1, 1)


def image_ports(
    graph: Graph, names: Sequence[str], layout: Layout, what: Literal["input", "output"], any_type: bool = False
) -> list[Port]:
    """The pictures called `names`; without names the only one that looks like a picture.

    They hold floating-point numbers, or `any_type`. Raises UsageError where there is none, where several could be
    meant, and where the channels are not to be found.
    """
    from onnx_opt.ir import Constant

    values = graph.inputs if what == "input" else graph.outputs
    known = {value.name: value for value in values if not isinstance(value, Constant)}
    if names:
        chosen = [_named(graph, name, known, what) for name in dict.fromkeys(names)]
        return [_port(graph, value, layout, what, any_type) for value in chosen]
    found = list(_candidates(known.values(), layout, any_type))
    if not found:
        remedy = f"name it: {what}=NAME, and layout=nchw or nhwc; the model has {', '.join(known) or 'none'}"
        raise UsageError(f"no {what} looks like a picture", path=_path(graph), remedy=remedy)
    if len(found) > 1:
        listed = ", ".join(value.name for value in found)
        raise UsageError(f"several {what}s look like pictures: {listed}", path=_path(graph), remedy=f"{what}=NAME")
    return [_port(graph, found[0], layout, what, any_type)]


def _candidates(values: Any, layout: Layout, any_type: bool) -> Iterator[Value]:
    for value in values:
        declared = value.declared
        if not isinstance(declared, TensorType) or not (any_type or types.is_float(declared.elem_type)):
            continue
        if declared.shape is None or len(declared.shape) != 4:
            continue
        if layout != "auto" or any(declared.shape[axis] in CHANNELS for axis in _axes(layout, 4)):
            yield value


def _axes(layout: Layout, rank: int) -> tuple[int, ...]:
    first, last = rank - 3, rank - 1
    return {"auto": (first, last), "nchw": (first,), "nhwc": (last,)}[layout]


def _port(graph: Graph, value: Value, layout: Layout, what: str, any_type: bool) -> Port:
    declared = value.declared
    if not isinstance(declared, TensorType) or declared.shape is None or len(declared.shape) not in (3, 4):
        text = f"{what} '{value.name}' is no picture: three or four dims are needed"
        raise UsageError(text, path=_path(graph))
    if not any_type and not types.is_float(declared.elem_type):
        kind = TensorProto.DataType.Name(declared.elem_type).lower()
        raise UsageError(f"{what} '{value.name}' is {kind}, not floating-point", path=_path(graph))
    axes = _axes(layout, len(declared.shape))
    counts = [count for count in CHANNELS if any(declared.shape[axis] == count for axis in axes)]
    fitting = [axis for axis in axes if len(axes) == 1 or declared.shape[axis] in counts[:1]]
    if len(fitting) != 1:
        dims = "x".join("?" if dim is None else str(dim) for dim in declared.shape)
        text = f"{what} '{value.name}' ({dims}): it is not clear which of its dims are the channels"
        raise UsageError(text, path=_path(graph), remedy="layout=nchw or layout=nhwc")
    return Port(value, value.name, declared, fitting[0])


def _named(graph: Graph, name: str, known: dict[str, Value], what: str) -> Value:
    if name not in known:
        listed = f"it has {', '.join(list(known)[:8])}"
        raise UsageError(f"no {what} '{name}'", path=_path(graph), remedy=nearest(name, known, listed))
    return known[name]


def _path(graph: Graph) -> str | None:
    return str(graph.model.path) if graph.model.path else None

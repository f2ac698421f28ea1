"""Values of types other than numbers: strings and optionals."""

from __future__ import annotations

from collections.abc import Sequence

from .movement import ints
from .registry import sampler
from .scope import Refused, Scope, Val


@sampler(0.3, 10)
def strings(scope: Scope) -> Val:
    """Moved about, and mostly compared or read as numbers in the end."""
    draw = scope.draw
    if scope.is_function:
        raise Refused("a Constant of strings")
    dims = [draw.integer(1, 3) for _ in range(draw.integer(1, 2))]
    x = scope.input("object", dims) if scope.parent is None else constant(scope, dims)
    for _ in range(draw.integer(0, 2)):
        style = draw.pick(["Identity", "Reshape", "Concat", "Gather", "Transpose"])
        if style == "Reshape":
            x = scope.node("Reshape", [x, ints(scope, [-1])])
        elif style == "Concat":
            x = scope.node("Concat", [x, constant(scope, x.shapes[0])], axis=0)
        elif style == "Gather" and x.rank > 1:
            raise Refused("ONNX Runtime gathers one string of each block")
        elif style == "Gather":
            x = scope.node("Gather", [x, ints(scope, [0])], axis=0)
        else:
            x = scope.node(style, [x])
    if scope.plan.opset >= 19 and draw.chance(0.5):
        return scope.node("Equal", [x, constant(scope, x.shapes[0])])
    return x


def constant(scope: Scope, dims: Sequence[int]) -> Val:
    """Words. One array object may equal another and hold other words: such constants are not looked up."""
    return scope.const(scope.draw.array("object", dims), shared=False)


@sampler(0.3, 18)
def optional(scope: Scope) -> Val:
    """Wrapped, and asked or unwrapped at once: what can be fed here is never an optional."""
    wrapped = scope.node("Optional", [scope.pick(["float32", "int64"])])
    result: Val = scope.node(scope.draw.pick(["OptionalGetElement", "OptionalHasElement"]), [wrapped])
    scope.values.remove(wrapped)
    return result

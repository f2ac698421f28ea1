"""Elementwise operators: operands that broadcast in every way that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt.harness.draw import Dims, Draw, Filler, fraction, ordinary, positive
from onnx_opt.harness.samplers.registry import guess_attributes, sampler
from onnx_opt.harness.sketch import elem_type_of
from onnx_opt.types import numpy_dtype
from onnx_opt.validate.figures import is_float

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

FORMS = ("all", "scalar", "one", "last", "channel", "channel", "axis", "axis", "ones", "longer", "wider")
"""How constants are broadcast; see `broadcast`."""
FORM_ATTEMPTS = 8
FAVOURITE_CHANCE = 0.3
"""How often the constants that follow are broadcast like this one."""
SAME_DIMS_CHANCE = 0.75
"""How often an operand that the pattern says how to compute is not broadcast."""

DOMAINS: dict[str, Filler] = {
    **dict.fromkeys(("Log", "Sqrt", "Reciprocal"), positive),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), fraction),
    "Acosh": lambda draw, dims, dtype: (1 + positive(draw, dims, dtype)).astype(dtype),
}
"""What unary operators that are not defined everywhere are mostly given."""
ATTRIBUTES_WITHOUT_DEFAULT = {"BitShift": ("direction", ("LEFT", "RIGHT"))}


def broadcast(draw: Draw, dims: Dims, form: str = "") -> Dims:
    """Dims that go together with `dims`: a number, one number per element, row, channel or batch, with leading ones,
    and some that widen the result; a `form` at random where none is given."""
    rank = len(dims)
    axis = draw.integer(0, rank - 1) if rank else 0
    form = form or draw.favourite or draw.pick(FORMS)
    if not draw.favourite and draw.chance(FAVOURITE_CHANCE):
        draw.favourite = form
    if form == "scalar" or not rank:
        return ()
    if form == "one":
        return (1,)
    if form == "last":
        return dims[-1:]
    if form == "ones":
        return (1,) * rank
    if form == "longer":
        return (1,) * draw.integer(1, 2) + dims[draw.integer(0, rank) :]
    if form == "wider":
        return tuple(draw.integer(2, 3) if dim == 1 else dim for dim in dims)
    if form == "all":
        return dims
    if form == "channel" and rank > 1:
        axis = 1
    kept = tuple(dim if position == axis else 1 for position, dim in enumerate(dims))
    return kept if draw.chance(0.5) else kept[axis:]


def _other_dims(site: Site, index: int, dims: Dims) -> Dims:
    """Dims for another operand beside one of `dims`, so that the result is what the consumer needs."""
    if site.is_computed(index) and site.draw.chance(SAME_DIMS_CHANCE):
        return dims
    form = site.hint(index).form
    if form:
        return broadcast(site.draw, dims, form)
    wanted = site.wish.dims if site.wish.exact and site.wish.dims is not None else None
    for _ in range(FORM_ATTEMPTS if wanted is not None else 1):
        other = broadcast(site.draw, dims if wanted is None else wanted)
        if wanted is None or np.broadcast_shapes(other, wanted) == wanted:
            return other
    return dims


@sampler("Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
@sampler("Pow", "Mod", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Sum", "Max", "Min", "Mean")
def broadcasting(site: Site) -> None:
    """Any number of operands."""
    fillers = {1: positive} if site.op in ("Div", "Mod", "BitShift") else {0: positive} if site.op == "Pow" else {}
    first, *others = site.in_order(range(site.count))
    made = site.operand(first, site.wish.dims, side=False, filler=fillers.get(first, ordinary))
    for index in others:
        dims = _other_dims(site, index, made.dims)
        site.optional(index, dims, side=True, exact=site.is_computed(index), filler=fillers.get(index, ordinary))
    if site.op == "Mod" and is_float(site.operand(first).array.dtype):
        site.attr("fmod", 1)
    if site.op in ATTRIBUTES_WITHOUT_DEFAULT:
        name, choices = ATTRIBUTES_WITHOUT_DEFAULT[site.op]
        site.attr(name, site.draw.pick(choices))


@sampler("Where")
def where(site: Site) -> None:
    first, *others = site.in_order([1, 2, 0])
    made = site.operand(first, site.wish.dims)
    for index in others:
        site.operand(index, _other_dims(site, index, made.dims), exact=site.is_computed(index), side=index > 0)


@sampler("PRelu")
def prelu(site: Site) -> None:
    """The slope is broadcast to the operand, never the other way round."""
    x = site.operand(0, site.wish.dims)
    dims = broadcast(site.draw, x.dims)
    fits = len(dims) <= len(x.dims) and all(d in (1, e) for d, e in zip(dims[::-1], x.dims[::-1], strict=False))
    site.operand(1, dims if fits else (1,))


@sampler(*DOMAINS)
def partial(site: Site) -> None:
    """Functions that are not defined everywhere."""
    filler = DOMAINS[site.op] if site.draw.chance(0.8) else ordinary
    site.operand(0, site.wish.dims, filler=filler)


@sampler("Clip")
def clip(site: Site) -> None:
    """Bounds are attributes before operator set 11, then numbers; sometimes in the wrong order."""
    x = site.operand(0, site.wish.dims)
    low, high = sorted(site.draw.pick([[0.0, 6.0], [-1.0, 1.0], [0.5, 2.0], [-2.0, -1.0], [0.0, 1.0]]))
    if site.draw.chance(0.08):
        low, high = high, low
    if site.takes("min"):
        for name, bound in (("min", low), ("max", high)):
            if site.draw.chance(0.8):
                site.attr(name, bound)
        return
    for index, bound in ((1, low), (2, high)):
        value = np.array(bound).astype(x.array.dtype if x.array.dtype.kind != "u" else np.float64)
        site.optional(index, (), array=np.abs(value) if x.array.dtype.kind == "u" else value)


@sampler("Cast")
def cast(site: Site) -> None:
    """Mostly between floats; the other way round where the consumer wants a type."""
    x = site.operand(0, site.wish.dims, array=site.wish.array, elem_type=_source_type(site))
    choices = [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32]
    site.attr("to", int(site.wish.elem_type or site.draw.pick([*choices, elem_type_of(x.array)])))


def _source_type(site: Site) -> int:
    """Something else than what is wanted, now and then."""
    kind = site.wish.elem_type
    if not kind or site.is_bound(0) or site.is_computed(0):
        return 0
    dtype = numpy_dtype(kind)
    if dtype is not None and dtype.kind in "iu":
        return int(site.draw.pick([TensorProto.INT32, TensorProto.INT64]))
    return int(site.draw.pick([kind, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16]))


@sampler("CastLike")
def cast_like(site: Site) -> None:
    site.operand(0, site.wish.dims)
    site.operand(1, (), elem_type=site.wish.elem_type or int(site.draw.pick([TensorProto.FLOAT, TensorProto.DOUBLE])))


@sampler("Dropout")
def dropout(site: Site) -> None:
    """In inference mode, where it says so itself."""
    site.operand(0, site.wish.dims)
    if site.takes("ratio"):
        guess_attributes(site)
        return
    site.optional(1, (), array=np.array(0.5), elem_type=TensorProto.FLOAT)
    site.optional(2, (), array=np.array(False), elem_type=TensorProto.BOOL)


@sampler("Gelu")
def gelu(site: Site) -> None:
    site.operand(0, site.wish.dims)
    site.attr("approximate", site.draw.pick(["none", "tanh"]))


@sampler("QuantizeLinear", "DequantizeLinear")
def quantize(site: Site) -> None:
    """Per tensor and per axis."""
    x = site.operand(0, site.wish.dims)
    axis = site.draw.integer(0, len(x.dims) - 1) if x.dims and site.takes("axis") else None
    per_axis = axis is not None and site.draw.chance(0.4)
    dims = (x.dims[axis],) if per_axis and axis is not None else ()
    if per_axis:
        site.attr("axis", axis)
    site.operand(1, dims, filler=positive)
    site.optional(2, dims)

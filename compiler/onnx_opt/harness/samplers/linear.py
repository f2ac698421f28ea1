"""Convolutions and products of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.harness.draw import Dims
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

WINDOW_ATTEMPTS = 60


@dataclass(frozen=True)
class Window:
    """How a kernel moves along each spatial axis; `pads` has all begins before all ends."""

    kernel: tuple[int, ...]
    strides: list[int]
    dilations: list[int]
    pads: list[int]

    def result(self, sizes: Dims) -> Dims:
        """The sizes of what a convolution or pooling makes of `sizes`."""
        n = len(sizes)
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        return tuple(
            (sizes[i] + self.pads[i] + self.pads[n + i] - spans[i]) // self.strides[i] + 1 if sizes[i] else 0
            for i in range(n)
        )


def draw_window(site: Site, sizes: Dims, kernel: Dims, wanted: Dims | None = None, dilated: bool = True) -> Window:
    """A window that fits into `sizes` and, if it can be found, makes `wanted` of them; what the pattern says stays."""
    draw, n = site.draw, len(sizes)
    fallback: Window | None = None
    for _ in range(WINDOW_ATTEMPTS):
        padded = draw.chance(0.5)
        window = Window(
            kernel,
            list(site.decided("strides", [draw.pick([1, 1, 1, 2]) for _ in range(n)])),
            list(site.decided("dilations", [draw.pick([1, 1, 1, 2]) if dilated else 1 for _ in range(n)])),
            list(site.decided("pads", [draw.integer(0, 1) if padded else 0 for _ in range(2 * n)])),
        )
        lengths = {len(window.strides), len(window.dilations), len(window.pads) // 2}
        if lengths != {n}:
            raise Unfit("the pattern fixes another number of spatial axes")
        result = window.result(sizes)
        if min(result, default=1) < 1:
            continue
        if wanted is None or result == wanted:
            return window
        fallback = fallback or window
    if fallback is None:
        raise Unfit("no window fits")
    return fallback


def set_window(site: Site, window: Window) -> None:
    """Write a window's attributes, those that are the defaults only now and then; sometimes as automatic padding."""
    n = len(window.kernel)
    if site.draw.chance(0.5):
        site.attr("kernel_shape", list(window.kernel))
    for name, value, default in (
        ("strides", window.strides, [1] * n),
        ("dilations", window.dilations, [1] * n),
    ):
        if value != default or site.draw.chance(0.4):
            site.attr(name, value)
    if "pads" not in site.call.attrs and site.draw.chance(0.12):
        site.attr("auto_pad", site.draw.pick(["VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET"]))
    elif any(window.pads) or site.draw.chance(0.4):
        site.attr("pads", window.pads)


def image_dims(site: Site) -> Dims:
    """Dims for the operand of a convolution or pooling: batch, channels, one to three spatial axes."""
    wish, draw = site.wish.dims, site.draw
    if wish is not None and len(wish) >= 3:
        grown = [size + (draw.integer(0, 2) if draw.chance(0.3) else 0) for size in wish[2:]]
        return (wish[0], draw.size(), *grown)
    return (draw.size(3), draw.size(), *(draw.size(6) for _ in range(draw.pick([1, 2, 2, 2, 3]))))


def _kernel(site: Site, sizes: Dims) -> Dims:
    kernel = site.decided("kernel_shape")
    if kernel is not None:
        return tuple(kernel)
    return tuple(site.draw.integer(1, max(1, min(3, size))) for size in sizes)


@sampler("Conv")
def conv(site: Site) -> None:
    draw, wish = site.draw, site.wish.dims
    x = site.operand(0, image_dims(site))
    if len(x.dims) < 3:
        raise Unfit("Conv needs spatial axes")
    channels, sizes = x.dims[1], x.dims[2:]
    group = site.decided("group", draw.pick([1, 1, 1, *[g for g in range(2, channels + 1) if channels % g == 0]]))
    outputs = group * draw.integer(1, 3)
    if wish is not None and len(wish) == len(x.dims):
        outputs, group = wish[1], group if wish[1] % group == 0 else 1
    w = site.operand(1, (outputs, channels // group, *_kernel(site, sizes)), exact=True)
    if len(w.dims) != len(x.dims) or not w.dims[1]:
        raise Unfit("the weights have another rank")
    site.attr("group", channels // w.dims[1])
    wanted = wish[2:] if wish is not None and len(wish) == len(x.dims) else None
    set_window(site, draw_window(site, sizes, w.dims[2:], wanted))
    site.optional(2, (w.dims[0],), exact=True)


FUSED = {"Relu": [], "Sigmoid": [], "Tanh": [], "LeakyRelu": [0.2], "HardSigmoid": [0.3, 0.6], "Clip": [0.0, 6.0]}
"""Activations of FusedConv, with parameters for them."""


@sampler("FusedConv", domain="com.microsoft")
def fused_conv(site: Site) -> None:
    """No schema says which attributes it has, so they are set without asking."""
    conv(site)
    name = site.draw.pick(sorted(FUSED))
    site.attrs["activation"] = name
    if FUSED[name]:
        site.attrs["activation_params"] = FUSED[name]


@sampler("ConvTranspose")
def conv_transpose(site: Site) -> None:
    draw, wish = site.draw, site.wish.dims
    x = site.operand(0, image_dims(site))
    if len(x.dims) < 3:
        raise Unfit("ConvTranspose needs spatial axes")
    channels, sizes = x.dims[1], x.dims[2:]
    group = site.decided("group", draw.pick([1, 1, 1, *[g for g in range(2, channels + 1) if channels % g == 0]]))
    outputs = wish[1] if wish is not None and len(wish) > 2 and wish[1] % group == 0 else group * draw.integer(1, 3)
    kernel = tuple(site.decided("kernel_shape", [draw.integer(1, 3) for _ in sizes]))
    w = site.operand(1, (channels, outputs // group, *kernel), exact=True)
    if len(w.dims) != len(x.dims):
        raise Unfit("the weights have another rank")
    site.attr("group", group)
    strides = site.attr("strides", [draw.pick([1, 1, 2]) for _ in sizes])
    if any(stride > 1 for stride in strides) and draw.chance(0.3):
        site.attr("output_padding", [stride - 1 for stride in strides])
    if draw.chance(0.3):
        site.attr("pads", [draw.integer(0, 1) if k > 2 else 0 for k in w.dims[2:]] * 2)
    if draw.chance(0.3):
        site.attr("kernel_shape", list(w.dims[2:]))
    site.optional(2, (w.dims[1] * group,), exact=True)


@sampler("Gemm")
def gemm(site: Site) -> None:
    draw, wish = site.draw, site.wish.dims
    rows, columns = wish if wish is not None and len(wish) == 2 else draw.dims(2)
    turned = [site.attr(name, draw.pick([0, 0, 1])) for name in ("transA", "transB")]
    depth = draw.size()
    if site.is_computed(1) or site.is_bound(1):
        b = site.operand(1, (columns, depth) if turned[1] else (depth, columns), side=True)
        columns, depth = _matrix(b.dims, turned[1])[::-1]
    a = site.operand(0, (depth, rows) if turned[0] else (rows, depth), exact=1 in site.operands)
    rows, depth = _matrix(a.dims, turned[0])
    b = site.operand(1, (columns, depth) if turned[1] else (depth, columns))
    columns = _matrix(b.dims, turned[1])[1]
    if draw.chance(0.4):
        site.attr("alpha", draw.pick([0.5, 2.0, 1.0]))
    if draw.chance(0.4):
        site.attr("beta", draw.pick([0.5, 2.0, 0.0]))
    forms: list[Dims] = [(columns,), (columns,), (columns,), (), (1,), (1, columns), (rows, 1), (rows, columns)]
    site.optional(2, draw.pick(forms))


def _matrix(dims: Dims, turned: bool) -> Dims:
    if len(dims) != 2:
        raise Unfit("Gemm needs matrices")
    return dims[::-1] if turned else dims


@sampler("MatMul", "FusedMatMul")
def matmul(site: Site) -> None:
    draw, wish = site.draw, site.wish.dims
    batch, rows, columns = _product(site, wish)
    depth = draw.size()
    if (site.is_bound(1) or site.is_computed(1)) and not site.is_bound(0):
        b = site.operand(1, (*batch, depth, columns))
        depth = b.dims[-2] if len(b.dims) > 1 else b.dims[0] if b.dims else 1
        batch = b.dims[:-2] if not site.is_computed(0) else batch
        site.operand(0, (*batch, rows, depth), exact=True)
        return
    a = site.operand(0, (depth,) if wish is None and batch and draw.chance(0.3) else (*batch, rows, depth))
    if not a.dims:
        raise Unfit("MatMul needs rows")
    depth = a.dims[-1]
    stack, often = (a.dims[:-2], 3) if len(a.dims) > 1 else (batch, 12)
    forms: list[Dims] = [(depth, columns)] * 6 + [(*stack, depth, columns)] * often + [(depth,)]
    if wish is not None or site.is_computed(1):
        forms = forms[:9]
    site.operand(1, draw.pick(forms), exact=True)


def _product(site: Site, wish: Dims | None) -> tuple[Dims, int, int]:
    """Batch dims, rows and columns of the result."""
    if wish is not None and len(wish) >= 2:
        return wish[:-2], wish[-2], wish[-1]
    return site.draw.dims(site.draw.pick([0, 0, 0, 1, 1, 2])), site.draw.size(), site.draw.size()


EQUATIONS = {
    1: ("ij->ji", "bij->bji", "bijk->bkij", "bij->jb", "bij", "ii->i", "bij->b"),
    2: ("ij,jk->ik", "bij,bjk->bik", "bij,bkj->bik", "i,j->ij", "bij,jk->bik", "bij,bij->b"),
    3: ("ij,jk,kb->ib",),
}


@sampler("Einsum")
def einsum(site: Site) -> None:
    """A product of matrices and the like, whatever the consumer wishes."""
    if site.count not in EQUATIONS:
        raise Unfit("no equation with as many operands")
    equation = site.attr("equation", site.draw.pick(EQUATIONS[site.count]))
    sizes = {letter: site.draw.size() for letter in "bijk"}
    for index, term in enumerate(str(equation).partition("->")[0].split(",")):
        site.operand(index, tuple(sizes.setdefault(letter.strip(), 2) for letter in term.strip()))

"""The `embed-preprocess` pass: an image model takes pictures as the camera gives them, uint8 with their channels last.

It changes the interface on purpose, so it comes first. What it takes over from the program is known in NumPy, and the
result is proven against that and the original model. `fuse-conv-bn-relu` then folds scale and mean into the first
layer where that is right at the borders too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from onnx_opt.host import Host, Values
from onnx_opt.imaging.kinds import ImageType, Interpolation, Layout, Order
from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.imaging.pixels import Numbers, Preprocessing
    from onnx_opt.ir import Graph

RULE = "embed-preprocess"


@dataclass(frozen=True)
class EmbedPreprocess(Pass):
    """Let an image model take uint8 pictures, channels last, and normalize them itself: this changes the interface."""

    name: ClassVar[str] = "embed-preprocess"
    stage: ClassVar[str] = "strip"
    redefines: ClassVar[bool] = True

    preset: Literal["raw", "unit", "signed", "imagenet", "caffe"] = option(
        "raw", primary=True, help="numbers that models are trained with; those given beside it take their place"
    )
    input: tuple[str, ...] = option((), metavar="NAME", help="the inputs that are pictures; by default the only one")
    divisor: float | None = option(None, help="what pixels are divided by first")
    scale: float | None = option(None, help="what pixels are multiplied by then")
    mean: tuple[float, ...] = option((), metavar="X,X,X", help="what is subtracted then, one number or one a channel")
    std: tuple[float, ...] = option((), metavar="X,X,X", help="what is divided by last")
    layout: Layout = option("auto", help="where the model has its channels")
    order: Order = option("rgb", help="the channels of the pictures that are given")
    model_order: Literal["preset", "rgb", "bgr"] = option("preset", help="the channels that the model wants")
    dtype: ImageType = option("uint8", help="the type of the pictures that are given")
    resize: tuple[int, ...] = option((), metavar="H,W", help="take pictures of any size and resize them")
    interpolation: Interpolation = option("linear", help="how they are resized")

    def __post_init__(self) -> None:
        if self.resize and (len(self.resize) != 2 or min(self.resize) < 1):
            raise ValueError("resize must be a height and a width")
        self.numbers()

    def numbers(self) -> Numbers:
        """The preset's numbers with those that were given in their place."""
        from onnx_opt_rules.image_presets import PRESETS

        numbers = PRESETS[self.preset]
        if self.divisor is not None or self.scale is not None:
            divisor = 1.0 if self.divisor is None else self.divisor
            numbers = replace(numbers, divisor=divisor, scale=1.0 if self.scale is None else self.scale)
        if self.mean:
            numbers = replace(numbers, mean=self.mean)
        if self.std:
            numbers = replace(numbers, std=self.std)
        return numbers if self.model_order == "preset" else replace(numbers, order=self.model_order)

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.imaging.embed import embed

        for work in self._plan(graph).values():
            last = embed(graph, work)
            context.applied(RULE, [work.port.name], last.origin, [last.outputs[0].name])

    def host(self, graph: Graph) -> Host:
        plan = self._plan(graph)

        def before(feed: Values) -> Values:
            return {name: plan[name].apply(value) if name in plan else value for name, value in feed.items()}

        text = "; ".join(map(str, plan.values()))
        return Host(text, before=before, exact=all(work.is_exact for work in plan.values()))

    def _plan(self, graph: Graph) -> Mapping[str, Preprocessing]:
        """What is done for each input, by its name."""
        from onnx_opt.imaging.pixels import Preprocessing
        from onnx_opt.imaging.ports import image_ports
        from onnx_opt.imaging.resize import Resize

        numbers = self.numbers()
        resize = Resize(self.resize[0], self.resize[1], self.interpolation) if self.resize else None
        ports = image_ports(graph.model.graph, self.input, self.layout, "input")
        return {port.name: Preprocessing(port, numbers, self.dtype, self.order, resize) for port in ports}

"""The `embed-postprocess` pass: what programs do with the outputs of an image model happens inside of it.

It changes the interface on purpose, so it comes first; the result is proven against the original model and NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from onnx_opt.errors import UsageError
from onnx_opt.host import Host, Values
from onnx_opt.imaging.kinds import Layout, Order
from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph

RULE = "embed-postprocess"


@dataclass(frozen=True)
class EmbedPostprocess(Pass):
    """Put softmax, argmax, top-k, non-maximum suppression or conversion to pixels behind outputs."""

    name: ClassVar[str] = "embed-postprocess"
    stage: ClassVar[str] = "strip"
    redefines: ClassVar[bool] = True

    kind: Literal["softmax", "argmax", "top-k", "nms", "image"] = option("softmax", primary=True, help="what is done")
    output: tuple[str, ...] = option((), metavar="NAME", help="the outputs; by default the only one")
    axis: int | None = option(None, help="the axis of the classes; by default the last, of pictures the channels")
    k: int = option(5, help="how many of top-k")
    softmax: bool = option(False, help="top-k: of the softmax")
    index: Literal["int64", "int32", "uint8"] = option("int64", help="the type of what argmax gives")
    boxes: str | None = option(None, metavar="NAME", help="nms: the output with boxes, or boxes and scores (YOLO)")
    scores: str | None = option(None, metavar="NAME", help="nms: the output with scores")
    box_form: Literal["corners", "center"] = option("corners", help="nms: what the four numbers of a box are")
    scores_last: bool = option(False, help="nms: scores have the classes last")
    most: int = option(100, help="nms: the most boxes of a class")
    overlap: float = option(0.45, help="nms: intersection over union above which the worse box goes")
    threshold: float = option(0.25, help="nms: boxes with scores up to this go")
    prefix: str = option("kept_", help="nms: what the names of the new outputs begin with")
    preset: Literal["raw", "unit", "signed", "imagenet", "caffe"] = option("unit", help="image: the numbers undone")
    layout: Layout = option("auto", help="image: where the model has its channels")
    order: Order = option("rgb", help="image: the channels of the pictures that are wanted")
    pixel: Literal["uint8", "uint16"] = option("uint8", help="image: the type of the pictures that are wanted")

    def __post_init__(self) -> None:
        if self.k < 1 or self.most < 1:
            raise ValueError("k and most must be at least 1")
        if not 0 <= self.overlap <= 1:
            raise ValueError("overlap must be from 0 to 1")
        if self.kind == "nms" and self.boxes is None:
            raise ValueError("nms needs the name of the output with boxes")
        if self.kind != "nms" and (self.boxes or self.scores):
            raise ValueError("boxes and scores are for nms")

    def run(self, graph: Graph, context: PassContext) -> None:
        for work in self._plan(graph):
            work.embed(graph.model.graph)
            context.applied(RULE, [str(work)])

    def host(self, graph: Graph) -> Host:
        plan = self._plan(graph)

        def after(outputs: Values) -> Values:
            for work in plan:
                outputs = work.apply(outputs)
            return outputs

        return Host("; ".join(map(str, plan)), after=after, exact=all(work.exact for work in plan))

    def _plan(self, graph: Graph) -> list[Any]:
        """What is done, one for each output."""
        main = graph.model.graph
        if self.kind == "nms":
            return [self._suppression()]
        if self.kind == "image":
            return self._pictures(main)
        from onnx_opt.imaging.heads import ArgMax, Softmax, TopK, class_axis

        names = self.output or tuple(value.name for value in main.outputs)
        if len(names) > 1 and not self.output:
            raise UsageError(f"the model has several outputs: {', '.join(names)}", remedy="output=NAME")
        axes = {name: class_axis(main, name, self.axis) for name in names}
        if self.kind == "softmax":
            return [Softmax(name, axis) for name, axis in axes.items()]
        if self.kind == "argmax":
            return [ArgMax(name, axis, self.index) for name, axis in axes.items()]
        shares = [Softmax(name, axis) for name, axis in axes.items()] if self.softmax else []
        return [*shares, *(TopK(name, axis, self.k) for name, axis in axes.items())]

    def _suppression(self) -> Any:
        from onnx_opt.imaging.detections import Suppression

        assert self.boxes is not None
        return Suppression(
            self.boxes,
            self.scores,
            self.box_form,
            self.scores_last,
            self.most,
            self.overlap,
            self.threshold,
            self.prefix,
        )

    def _pictures(self, main: Graph) -> list[Any]:
        from onnx_opt.imaging.developed import Developed
        from onnx_opt.imaging.ports import image_ports
        from onnx_opt_rules.image_presets import PRESETS

        numbers = PRESETS[self.preset]
        if self.pixel == "uint16" and numbers.divisor != 1:
            numbers = replace(numbers, divisor=numbers.divisor * 257)  # 65535 = 255 * 257
        ports = image_ports(main, self.output, self.layout, "output")
        return [Developed(port, numbers, self.pixel, self.order) for port in ports]

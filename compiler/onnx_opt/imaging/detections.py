"""What programs do with the boxes and scores of a detector: of those that overlap, the best one stays.

Greedy non-maximum suppression (Felzenszwalb et al., 2010) by class: boxes in the order of their scores, each dropped
whose intersection over union with one that was kept is larger than a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import TensorProto

from onnx_opt.errors import UsageError
from onnx_opt.imaging.tail import Tail, exchange

if TYPE_CHECKING:
    from onnx_opt.host import Values
    from onnx_opt.ir import Graph, Value

BoxFormat = Literal["corners", "center"]
FIRST_OPSET = 12
"""Where NonMaxSuppression, GatherND and operands of Slice stand as they do now."""
RESULTS = ("boxes", "scores", "classes", "images")


@dataclass(frozen=True)
class Suppression:
    """Boxes [images, boxes, 4] and scores [images, classes, boxes], or [images, boxes, classes] where `scores_last`;
    without `scores` one output [images, 4 + classes, boxes] has both, as YOLO's heads from version 8 on.

    `form` says whether boxes are two opposite corners or a center with width and height. The outputs become, for the
    boxes that are kept: boxes [kept, 4], scores [kept], classes [kept] and images [kept] (int64), each name with
    `prefix`; those of an image stand together, and of these those of a class, the best first.
    """

    boxes: str
    scores: str | None
    form: BoxFormat = "corners"
    scores_last: bool = False
    most: int = 100
    overlap: float = 0.45
    threshold: float = 0.25
    prefix: str = "kept_"
    exact = False

    def __str__(self) -> str:
        what = f"{self.boxes} and {self.scores}" if self.scores else self.boxes
        limits = f"overlap {self.overlap:g}, scores above {self.threshold:g}, {self.most} a class"
        return f"non-maximum suppression of {what} ({limits})"

    @property
    def names(self) -> list[str]:
        return [self.prefix + name for name in RESULTS]

    # -- in NumPy ------------------------------------------------------------------------------------------------------

    def apply(self, outputs: Values) -> Values:
        """In NumPy."""
        boxes, scores = self._split(outputs)
        kept = np.array(list(self._kept(boxes, scores)), np.int64).reshape(-1, 3)
        image, label, box = kept.T
        found = (boxes[image, box], scores[image, label, box], label, image)
        gone = {self.boxes, self.scores}
        rest = {name: value for name, value in outputs.items() if name not in gone}
        return {**dict(zip(self.names, found, strict=True)), **rest}

    def _split(self, outputs: Values) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [images, boxes, 4] and scores [images, classes, boxes]."""
        first: np.ndarray = outputs[self.boxes]
        if self.scores is None:
            return first[:, :4].transpose(0, 2, 1), first[:, 4:]
        scores: np.ndarray = outputs[self.scores]
        return first, scores.transpose(0, 2, 1) if self.scores_last else scores

    def _kept(self, boxes: np.ndarray, scores: np.ndarray) -> Iterator[tuple[int, int, int]]:
        for image in range(scores.shape[0]):
            corners = self._corners(boxes[image])
            for label in range(scores.shape[1]):
                for box in self._best(corners, scores[image, label]):
                    yield image, label, box

    def _corners(self, boxes: np.ndarray) -> np.ndarray:
        """The smaller and the larger coordinates of each box."""
        if self.form == "center":
            half = boxes[:, 2:] / np.float32(2)
            return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
        one, other = boxes[:, :2], boxes[:, 2:]
        return np.concatenate([np.minimum(one, other), np.maximum(one, other)], axis=1)

    def _best(self, corners: np.ndarray, scores: np.ndarray) -> list[int]:
        order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > np.float32(self.threshold)]
        kept: list[int] = []
        for box in order:
            if len(kept) == self.most:
                break
            if not kept or not (_overlaps(corners[box], corners[kept]) > np.float32(self.overlap)).any():
                kept.append(box)
        return kept

    # -- as nodes ------------------------------------------------------------------------------------------------------

    def embed(self, graph: Graph) -> None:
        """As nodes. Raises UsageError for outputs of another form."""
        tail = Tail(graph, self.boxes)
        other = Tail(graph, self.scores) if self.scores else tail
        if tail.opset < FIRST_OPSET:
            raise UsageError(f"operator set {FIRST_OPSET} or later is needed, the model has {tail.opset}")
        self._check(tail.value, other.value)
        boxes, scores = self._parts(tail, other)
        limits: list[np.ndarray] = [np.array([self.most], np.int64)]
        limits += [np.array([number], np.float32) for number in (self.overlap, self.threshold)]
        selected = tail.op("NonMaxSuppression", boxes, scores, *limits, center_point_box=int(self.form == "center"))
        image, label = (tail.op("Gather", selected, np.array(column, np.int64), axis=1) for column in (0, 1))
        places = tail.op("Gather", selected, np.array([0, 2], np.int64), axis=1)
        found = [tail.op("GatherND", boxes, places), tail.op("GatherND", scores, selected), label, image]
        exchange(graph, list(dict.fromkeys((tail.value, other.value))), dict(zip(self.names, found, strict=True)))

    def _check(self, boxes: Value, scores: Value) -> None:
        for value in (boxes, scores):
            if value.rank != 3:
                raise UsageError(f"output '{value.name}' has {value.rank} dims: three are needed")
            if value.elem_type != TensorProto.FLOAT:
                raise UsageError(f"output '{value.name}' is not float32, which NonMaxSuppression takes")
        last = (boxes.dims or ())[-1]
        if self.scores is not None and isinstance(last, int) and last != 4:
            raise UsageError(f"output '{boxes.name}' has {last} numbers a box: four are needed")

    def _parts(self, tail: Tail, other: Tail) -> tuple[Value, Value]:
        if self.scores is not None:
            scores = tail.op("Transpose", other.value, perm=[0, 2, 1]) if self.scores_last else other.value
            return tail.value, scores

        def rows(start: int, end: int) -> Any:
            return tail.op("Slice", tail.value, *(np.array([each], np.int64) for each in (start, end, 1)))

        return tail.op("Transpose", rows(0, 4), perm=[0, 2, 1]), rows(4, np.iinfo(np.int64).max)


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others, 0 where a box is empty."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=(shared > 0) & (union > 0))

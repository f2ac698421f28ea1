"""What a target rejects of a model: node by node, by its own parser or by our tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.target import Target


@dataclass(frozen=True)
class Rejection:
    """A node that a target rejects: its name, its operator, why, and what can be done. `function` is the function of
    the target's parser that says so, `code` its class of errors, `says` its own words. Of a whole model, `operator` is
    empty."""

    node: str
    operator: str
    reason: str
    function: str = ""
    remedy: str | None = None
    code: str = ""
    says: str = ""

    def __str__(self) -> str:
        where = f"node '{self.node}' ({self.operator}): " if self.operator else ""
        function = f" [{self.function}]" if self.function else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{self.reason}{function}{remedy}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """What a target makes of a model."""

    asked: str
    """What was asked: a parser and its version, or a table."""
    rejections: tuple[Rejection, ...]
    layers: int = 0
    """Layers that its parser made of the model, 0 where a table was asked."""
    complete: bool = True
    """Whether every node was looked at, those aside that follow from rejected ones."""

    @property
    def accepted(self) -> bool:
        return not self.rejections


def by_table(graph: Graph, target: Target) -> Answer:
    """What the table of the target says of a model."""
    found = []
    version = graph.opsets.get("", 0)
    if target.newest_opset and version > target.newest_opset:
        found.append(
            Rejection("", "", f"{target.name} stops at opset {target.newest_opset}, the model needs {version}")
        )
    for scope in graph.model.all_graphs():
        for node in scope:
            if reason := target.rejects(node):
                found.append(Rejection(node.label(), qualified(node.domain, node.op), reason))
    return Answer(f"the table of the target {target.name}", tuple(found))


def qualified(domain: str, op: str) -> str:
    """Add, or acme::Foo."""
    return f"{domain}::{op}" if domain else op

"""Patterns of a user for nodes."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_opt.ir import Node


def matching(node: Node, patterns: Iterable[str]) -> str | None:
    """The first of the patterns, such as Softmax, com.microsoft::* or /decoder/*, that means the node."""
    called = (node.op, f"{node.domain or 'ai.onnx'}::{node.op}", node.label())
    return next((pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in called)), None)

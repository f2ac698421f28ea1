"""Telling a user what happened: any failure in one line, and the story of one node."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnx_opt.errors import OnnxOptError, UsageError, single_line
from onnx_opt.passes import nearest

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.journal import Journal

TRACEBACK_VARIABLE = "ONNX_OPT_TRACEBACK"


def one_line(error: BaseException, path: str | None = None) -> str:
    """Any exception as one line for the user; `path` is the model that was being worked on."""
    if isinstance(error, OnnxOptError):
        error.locate(path)
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return single_line(f"{error.filename or path or 'file'}: {_os_reason(error)}")
    where = f"{path}: " if path else ""
    if isinstance(error, MemoryError):
        return f"{where}out of memory"
    what = single_line(f"{type(error).__name__}: {error}")
    return f"{where}internal error: {what} (please report it with the output of --traceback)"


def exit_code(error: BaseException) -> int:
    """What a build system is told: 1 failed, 2 bad usage or input, 3 rejected by the target."""
    if isinstance(error, OnnxOptError):
        return error.exit_code
    return 2 if isinstance(error, OSError) else 1


def _os_reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk; nothing was written"
    return os.strerror(error.errno or 0).lower()


# -- the story of one node ------------------------------------------------------------------------------------------


def is_operator(graph: Graph, name: str) -> bool:
    """Whether `name` is that of an operator which the model holds, and of no node or value."""
    nodes = [node for scope in graph.model.all_graphs() for node in scope]
    named = (named for node in nodes for named in (node.label(), *(value.name for value in node.outputs)))
    return any(node.op == name for node in nodes) and name not in named


def explain_operator(journal: Journal, optimized: Graph, op: str) -> Iterator[str]:
    """Why each node of the operator `op` that is left in the result is there; a line for each reason."""
    left = [node for scope in optimized.model.all_graphs() for node in scope if node.op == op]
    yield f"{len(left)} left"
    for node in left:
        for decline in journal.declines_at(node.origin):
            yield f"'{node.label()}': {decline.rule} ({decline.pass_name}) left it alone: {decline.reason}"


def original_node(graph: Graph, name: str) -> str:
    """The label of the node that is called `name` or computes a value called so. UsageError where there is none."""
    labels: dict[str, str] = {}
    for scope in graph.model.all_graphs():
        for node in scope:
            labels.setdefault(node.label(), node.label())
            for value in node.outputs:
                labels.setdefault(value.name, node.label())
    labels.pop("", None)
    if name not in labels:
        path = str(graph.model.path) if graph.model.path else None
        raise UsageError(f"no node or value '{name}'", path=path, remedy=nearest(name, labels))
    return labels[name]


def explain(journal: Journal, optimized: Graph, label: str) -> Iterator[str]:
    """What happened to the original node called `label`, and why nothing else did; a line for each."""
    rewrites = journal.rewrites_of(label)
    for rewrite in rewrites:
        results = f", which gave {', '.join(rewrite.outputs)}" if rewrite.outputs else ""
        yield f"rewritten by {rewrite.rule} ({rewrite.pass_name}, rewrite {rewrite.index}){results}"
    survivors = [n.label() for scope in optimized.model.all_graphs() for n in scope if label in n.origin.names()]
    if rewrites:
        yield f"now part of: {', '.join(survivors)}" if survivors else "nothing of it is left"
    elif not survivors:
        yield "removed: nothing that the model returns needed it"
    for decline in journal.declines_of(label):
        yield f"{decline.rule} ({decline.pass_name}) left it alone: {decline.reason}"
    if survivors and not rewrites and not journal.declines_of(label):
        yield "unchanged: no rule matches it"

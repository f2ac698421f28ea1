"""What one run of a model costs, by operator and by node, for ``onnx-opt inspect``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.analysis.memory import Cost
    from onnx_opt.ir import Graph


def describe(graph: Graph, most_nodes: int | None) -> dict[str, Any]:
    """Costs by operator and of the costliest nodes (None: of all), and memory, as plain data."""
    from onnx_opt.analysis.memory import activations, costs, weights_of

    weights = weights_of(graph)
    found = list(costs(graph, weights))
    memory = activations(graph, weights)
    ranked = sorted(found, key=lambda cost: (-cost.flops, -cost.bytes))
    by_op: dict[str, list[Cost]] = {}
    for cost in found:
        by_op.setdefault(_operator(cost), []).append(cost)
    whole = _sum(found)
    return {
        "costs": {op: {"nodes": len(of_op), **_shares(_sum(of_op), whole)} for op, of_op in by_op.items()},
        "total": whole,
        "assumed": {str(symbol): size for symbol, size in weights.assumed.items()},
        "peak_activation_bytes": memory.peak,
        "peak_node": memory.peak_node,
        "unknown_values": memory.unknown,
        "node_costs": [_node(cost, whole) for cost in ranked[:most_nodes]],
    }


def _operator(cost: Cost) -> str:
    return f"{cost.node.domain}::{cost.node.op}" if cost.node.domain else cost.node.op


def _sum(found: Iterable[Cost]) -> dict[str, int]:
    total = {"flops": 0, "bytes": 0}
    for cost in found:
        total["flops"] += cost.flops
        total["bytes"] += cost.bytes
    return total


def _shares(amount: dict[str, int], whole: dict[str, int]) -> dict[str, Any]:
    """An amount with its shares of the whole, and FLOPs per byte."""
    shares = {f"{name}_share": round(part / whole[name], 4) if whole[name] else 0.0 for name, part in amount.items()}
    return {**amount, **shares, "intensity": round(amount["flops"] / amount["bytes"], 3) if amount["bytes"] else 0.0}


def _node(cost: Cost, whole: dict[str, int]) -> dict[str, Any]:
    from onnx_opt.text import spell_value

    results = [spell_value(value) for value in cost.node.outputs if value.name]
    amount = {"flops": cost.flops, "bytes": cost.bytes}
    return {"name": cost.node.label(), "op": _operator(cost), "results": results, **_shares(amount, whole)}


def write_plot(graph: Graph, title: str, path: Path) -> None:
    """Draw what is held in memory while each node runs."""
    from onnx_opt.analysis.memory import activations, weights_of
    from onnx_opt.files import atomic_file
    from onnx_opt.plot import memory_plot

    with atomic_file(path) as file:
        file.write(memory_plot(activations(graph, weights_of(graph)), title).encode())


# -- for reading ----------------------------------------------------------------------------------------------------


def lines_by_operator(found: dict[str, Any]) -> Iterator[str]:
    """A row for each operator, the most frequent first."""
    yield f"    {'':6} {'':28} {'FLOPs':>8} {'share':>6} {'bytes':>9} {'share':>6} {'FLOPs/byte':>10}"
    for name, count in sorted(found["ops"].items(), key=lambda item: (-item[1], item[0])):
        yield f"    {count:6} {name:28} {_figures(found['costs'].get(name))}".rstrip()


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures of the whole, and the costliest nodes."""
    from onnx_opt.report import human_bytes, human_count

    assumed = ", ".join(f"{name} = {size}" for name, size in found["assumed"].items())
    at = f", at {assumed} (assumed; --dim says otherwise)" if assumed else ""
    yield f"  one run    {human_count(found['total']['flops'])} FLOPs, {human_bytes(found['total']['bytes'])} moved{at}"
    unknown = f"; {found['unknown_values']} values of unknown rank not counted" if found["unknown_values"] else ""
    where = f" while '{found['peak_node']}' runs" if found["peak_node"] else ""
    yield f"  memory     {human_bytes(found['peak_activation_bytes'])} of activations at most{where}{unknown}"
    if found["node_costs"]:
        yield "  costliest"
    for node in found["node_costs"]:
        yield f"    {node['op']:20} {_figures(node)}  {', '.join(node['results'])}  {node['name']}"


def _figures(cost: dict[str, Any] | None) -> str:
    from onnx_opt.report import human_bytes, human_count

    if cost is None:
        return ""
    flops = human_count(cost["flops"]) if cost["flops"] else ""
    share = f"{100 * cost['flops_share']:.1f}%" if cost["flops"] else ""
    moved = human_bytes(cost["bytes"]) if cost["bytes"] else ""
    of_moved = f"{100 * cost['bytes_share']:.1f}%" if cost["bytes"] else ""
    intensity = f"{cost['intensity']:.3g}" if cost["flops"] else ""
    return f"{flops:>8} {share:>6} {moved:>9} {of_moved:>6} {intensity:>10}"

"""What the report shows, gathered from a result as plain data."""

from __future__ import annotations

import hashlib
import math
import platform
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt.analysis.memory import Memory, activations, costs, sizes_tested, weights_of
from onnx_opt.builds.external import external_file, external_locations
from onnx_opt.html.graphs import Picture, Texts, names_of
from onnx_opt.html.regions import Match, Region, regions_of
from onnx_opt.plot import thinned
from onnx_opt.report import emitted_rows

if TYPE_CHECKING:
    from onnx_opt.api import Result
    from onnx_opt.ir import Graph
    from onnx_opt.journal import Journal
    from onnx_opt.report import Report, Stats

POINTS = 800
"""Points of the plot of memory over time."""
MOST_REASONS = 200
"""Kinds of reasons that are listed."""
MOST_NAMES = 12
"""Names that are listed for one rewrite."""
PACKAGES = (
    "onnx-opt",
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime-gpu",
    "onnxruntime",
    "numpy",
    "ml_dtypes",
    "sympy",
    "scipy",
)


def collect(result: Result, command: str = "", output: str | Path | None = None) -> dict[str, Any]:
    """All that the page shows, as plain data. `command` is what was typed; `output` the file that was written."""
    report, original, optimized = result.report, result.original(), result.model
    texts = Texts()
    match = Match.of(Picture.of(original), Picture.of(optimized))
    regions = regions_of(match)
    sizes = sizes_tested(report.proof.get("sizes") or {})
    figures = [_Figures(graph, sizes) for graph in (original, optimized)]
    place = {(0, p): n for n, region in enumerate(regions) for p in region.before}
    place |= {(1, p): n for n, region in enumerate(regions) for p in region.after}
    data = {
        "model": result.source.name or original.name or "model",
        "report": plain(_told(report)),
        "figures": _summary(report.before, report.after, *figures),
        "sizes": {name: size for name, size in sizes.items() if not name.startswith("?")},
        "costs": [each.costs for each in figures],
        "memory": [_plot(each.memory) for each in figures],
        "rewrites": _rewrites(result, match, place, texts),
        "declines": _declines(result.journal),
        "regions": [_region(match, region, texts) for region in regions],
        "graphs": [
            picture.data(texts, {p: n for (side, p), n in place.items() if side == number})
            for number, picture in enumerate((match.before, match.after))
        ],
        "twins": sorted(match.twins.items()),
        "origins": [[new, found] for new, found in enumerate(match.origins) if found],
        "reproduce": _reproduce(result, report, command, output),
    }
    return {**data, "texts": texts.all()}


def _told(report: Report) -> dict[str, Any]:
    """The report, with what is known of an engine as one more table."""
    told = report.to_dict()
    if report.emitted:
        title = str(report.emitted.get("kind", "output"))
        told["tables"][title] = {"headings": ["", ""], "rows": emitted_rows(report.emitted)}
    return told


class _Figures:
    """What a model takes at the sizes that it was proven at."""

    def __init__(self, graph: Graph, sizes: Mapping[str, int]) -> None:
        weights = weights_of(graph, sizes)
        self.memory = activations(graph, weights)
        by_op: dict[str, list[int]] = {}
        for cost in costs(graph, weights):
            op = f"{cost.node.domain}::{cost.node.op}" if cost.node.domain else cost.node.op
            row = by_op.setdefault(op, [0, 0, 0])
            for place, amount in enumerate((1, cost.flops, cost.bytes)):
                row[place] += amount
        self.costs = by_op
        self.flops, self.moved = (sum(row[place] for row in by_op.values()) for place in (1, 2))


def _summary(before: Stats, after: Stats, one: _Figures, other: _Figures) -> list[list[Any]]:
    """(title, before, after, unit, what it is) of each figure; the first ones are what people ask for."""
    flops = "of Conv, Gemm, MatMul and their like; a multiplication and an addition are two"
    held = "the most bytes of values held at once; weights not counted"
    traffic = "operands read and results written, weights included, where nothing is fused"
    moved = "that Transposes move in one run, where an unknown batch counts as 1 and any other unknown size as 64"
    return [
        ["Nodes", before.nodes, after.nodes, "", "subgraphs and local functions included"],
        ["Model size", before.bytes, after.bytes, "B", "on disk, external data included"],
        ["Transposes", before.transposes, after.transposes, "", ""],
        ["Casts", before.casts, after.casts, "", ""],
        ["FLOPs", one.flops, other.flops, "n", flops],
        ["Peak activations", one.memory.peak, other.memory.peak, "B", held],
        ["Memory traffic", one.moved, other.moved, "B", traffic],
        ["Transposed bytes", before.transposed_bytes, after.transposed_bytes, "B", moved],
        ["Parameters", before.parameters, after.parameters, "n", "elements of all weights"],
    ]  # fmt: skip


def _plot(memory: Memory) -> dict[str, Any]:
    """Bytes held over time, at most `POINTS` of them: of each stretch the most."""
    return {
        "live": thinned(memory.live, POINTS),
        "peak": memory.peak,
        "at": memory.peak_node,
        "unknown": memory.unknown,
    }


def _rewrites(result: Result, match: Match, place: Mapping[tuple[int, int], int], texts: Texts) -> list[list[Any]]:
    """(rule, pass, where, origins, how many more, results, region) of each rewrite."""
    rows = []
    for rewrite in result.journal.rewrites:
        origins = names_of(rewrite.origin, MOST_NAMES + 1) if rewrite.origin is not None else list(rewrite.nodes)
        names = [*origins, *rewrite.nodes]
        known = [match.labels[name] for name in names if name in match.labels]
        region = next((place[0, old] for old in known if (0, old) in place), -1)
        where = next(iter([*rewrite.nodes, *rewrite.outputs]), "")
        rows.append(
            [
                texts.number(rewrite.rule),
                texts.number(rewrite.pass_name),
                texts.number(where),
                [texts.number(name) for name in origins[:MOST_NAMES]],
                int(len(origins) > MOST_NAMES),
                [texts.number(name) for name in rewrite.outputs[:MOST_NAMES]],
                region,
            ]
        )
    return rows


def _declines(journal: Journal) -> list[list[Any]]:
    """(reason, rule, pass, how often) of what rules matched and left alone, the most frequent first."""
    counts = Counter((each.reason, each.rule, each.pass_name) for each in journal.declines())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [[*key, count] for key, count in ranked[:MOST_REASONS]]


def _region(match: Match, region: Region, texts: Texts) -> list[Any]:
    first, picture = (region.before, match.before) if region.before else (region.after, match.after)
    where = picture.nodes[first[0]].label() if first else ""
    return [texts.number(region.title), region.before, region.after, texts.number(where)]


# -- doing it again -------------------------------------------------------------------------------------------------


def _reproduce(result: Result, report: Report, command: str, output: str | Path | None) -> dict[str, Any]:
    found: dict[str, str] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": command,
        "pipeline": report.pipeline,
        "target": report.target,
        "versions": found,
        "hashes": [*_hashes("input", result.source.path, result.source.data), *_hashes("output", output, None)],
    }


def _hashes(role: str, path: str | Path | None, data: bytes | None) -> list[list[Any]]:
    """(role, name, bytes, SHA-256) of a model and of the files with its external data."""
    if data is not None:
        return [[role, "in memory", len(data), hashlib.sha256(data).hexdigest()]]
    if path is None:
        return []
    return [[role, str(file), file.stat().st_size, _digest(file)] for file in [Path(path), *_external(Path(path))]]


def _external(path: Path) -> list[Path]:
    found = (external_file(path, location) for location in external_locations(path))
    return [file for file in found if file is not None]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(data: Any) -> Any:
    """`data` as JSON can say it: texts for what it has no word for, infinities among them."""
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(each) for each in data]
    if data is None or isinstance(data, str | bool | int):
        return data
    if isinstance(data, float):
        return data if math.isfinite(data) else str(data)
    return plain(data.item()) if hasattr(data, "item") and getattr(data, "ndim", 0) == 0 else str(data)

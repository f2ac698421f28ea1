"""What a model holds, in figures, and the report on an optimization."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.instrument import PassRun
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.journal import Rewrite, Table
    from onnx_opt.validate import Verdict


@dataclass(frozen=True)
class Stats:
    """Figures of a model. `bytes` is its size on disk, with the `external_bytes` of data that it refers to; `flops`
    counts Conv, Gemm and MatMul (a multiplication and an addition are two), with symbolic dims taken as 1 where
    `symbolic` is set. `transposed_bytes` are those that Transposes move in one run, with the sizes that the `layout`
    pass assumes: an unknown batch is 1, any other unknown size 64."""

    nodes: int
    ops: Counter[str]
    parameters: int
    weight_bytes: int
    flops: int
    symbolic: bool
    transposed_bytes: int
    external_bytes: int
    bytes: int

    @property
    def transposes(self) -> int:
        return self.ops["Transpose"]

    @property
    def casts(self) -> int:
        return self.ops["Cast"] + self.ops["CastLike"]

    def of_size(self, file_bytes: int) -> Stats:
        """The same model where its file takes that many bytes."""
        return replace(self, bytes=file_bytes + self.external_bytes)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "transposes": self.transposes, "ops": dict(sorted(self.ops.items()))}


def measure(graph: Graph) -> Stats:
    """The figures of a model as it was loaded: all of its graphs and functions together, each once."""
    from onnx_opt.layout.weigh import Weights

    ops: Counter[str] = Counter()
    flops, symbolic, parameters, weight_bytes, transposed = 0, False, 0, 0, 0
    weights = Weights(graph.model.graph.inputs)
    external: dict[tuple[str | None, str | None], int] = {}
    for scope in graph.model.all_graphs():
        for node in scope:
            ops[f"{node.domain}::{node.op}" if node.domain else node.op] += 1
            if node.op in FLOPS:
                count, guessed = estimate_flops(node)
                flops, symbolic = flops + count, symbolic or guessed
            elif node.op == "Transpose":
                transposed += weights.transposed_by(node)
        for constant in scope.constants:
            parameters += math.prod(constant.dims)
            weight_bytes += constant.nbytes
            if constant.header is not None and (place := constant.header.location) is not None:
                external[place.get("location"), place.get("offset")] = constant.nbytes
    held = sum(external.values())
    stats = Stats(sum(ops.values()), ops, parameters, weight_bytes, flops, symbolic, transposed, held, 0)
    return stats.of_size(len(graph.model.buffer))


# -- FLOPs ----------------------------------------------------------------------------------------------------------


def estimate_flops(node: Node) -> tuple[int, bool]:
    """Floating-point operations of one run of `node`, and whether symbolic dims were taken as 1. 0 where unknown."""
    dims = [v.dims for v in _concerned(node)]
    if any(d is None for d in dims):
        return 0, False
    sizes = [[_at_one(d) for d in shape or ()] for shape in dims]
    guessed = any(not isinstance(d, int) for shape in dims for d in shape or ())
    return 2 * FLOPS[node.op](node, *sizes), guessed


def flops_at(node: Node, sizes_of: Callable[[Value], list[int] | None]) -> int:
    """The same where `sizes_of` gives each value's dims as numbers."""
    sizes = [sizes_of(value) for value in _concerned(node)] if node.op in FLOPS else [None]
    return 0 if None in sizes else 2 * FLOPS[node.op](node, *sizes)


def _concerned(node: Node) -> list[Value]:
    """The values whose sizes say what a product costs."""
    return [*node.inputs[:2], node.outputs[0]]


@lru_cache(maxsize=4096)
def _at_one(dim: Any) -> int:
    """A dim with every symbol in it at 1, but no less than 1: a size such as n - 2 is not meant for that."""
    return dim if isinstance(dim, int) else max(int(dim.subs(dict.fromkeys(dim.free_symbols, 1))), 1)


def _conv(node: Node, x: list[int], w: list[int], y: list[int]) -> int:
    return math.prod(y) * math.prod(w[1:])


def _conv_transpose(node: Node, x: list[int], w: list[int], y: list[int]) -> int:
    return math.prod(x) * math.prod(w[1:])


def _gemm(node: Node, a: list[int], b: list[int], y: list[int]) -> int:
    inner = a[0 if node.attribute("transA", 0) else -1] if a else 0
    return math.prod(y) * inner


def _matmul(node: Node, a: list[int], b: list[int], y: list[int]) -> int:
    return math.prod(y) * (a[-1] if a else 0)


FLOPS = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
}


# -- the report on an optimization ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A rewrite that validation found wrong and that was taken back."""

    rule: str
    pass_name: str
    node: str
    origin: tuple[str, ...]
    reason: str

    @staticmethod
    def of(rewrite: Rewrite, reason: str) -> Fault:
        node = rewrite.nodes[0] if rewrite.nodes else ""
        return Fault(rewrite.rule, rewrite.pass_name, node, tuple(rewrite.origins()), reason)

    def __str__(self) -> str:
        origin = f" (from {', '.join(self.origin[:4])})" if self.origin and self.origin != (self.node,) else ""
        return f"rule '{self.rule}' of {self.pass_name} at node '{self.node}'{origin}: {self.reason}"


@dataclass
class Report:
    """What an optimization did, and what is known of its result.

    `status` is "proven" (every sample agrees with the original), "unproven" (nothing wrong was seen, but not all could
    be run), or "unchecked" (validation was not asked for).  `warnings` are what the user should know, `notes` what was
    assumed to get there.
    """

    pipeline: str
    target: str
    before: Stats
    after: Stats
    rewrites: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: list[PassRun] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    status: str = "unchecked"
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    """What passes report beyond their rewrites, by title."""
    proof: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What passes measured to decide what they do, by pass."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by phase: load, passes, save, validate."""
    granted: tuple[str, ...] = ()
    """The liberties that rules were allowed to take with floating-point numbers."""
    liberties: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(liberty, pass, rule) -> how many rewrites took it."""
    emitted: dict[str, Any] = field(default_factory=dict)
    """Figures of the output where it is more than an ONNX file; `kind` says what it is."""

    def add_verdict(self, verdict: Verdict, faults: list[Fault], warnings: list[str]) -> None:
        """Take in what validation found."""
        self.status = verdict.status
        self.proof = verdict.to_json()
        self.faults = faults
        self.warnings += warnings
        if verdict.status != "proven":
            self.warnings.append(f"{verdict.status}: {verdict.reason}")
        self.notes += verdict.notes

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {
            "pipeline": self.pipeline,
            "target": self.target,
            "status": self.status,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "rewrites": [{"pass": p, "rule": r, "count": n} for (p, r), n in sorted(self.rewrites.items())],
            "passes": [asdict(run) for run in self.runs],
            "undone": [asdict(fault) for fault in self.faults],
            "fast_math": {
                "granted": list(self.granted),
                "taken": [
                    {"liberty": liberty, "pass": p, "rule": r, "count": n}
                    for (liberty, p, r), n in sorted(self.liberties.items())
                ],
            },
            "tables": {title: asdict(table) for title, table in self.tables.items()},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "validation": self.proof,
            "measured": self.measured,
            **({"emitted": self.emitted} if self.emitted else {}),
            "seconds": {phase: round(s, 4) for phase, s in self.seconds.items()},
        }


def emitted_rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """What is known of an engine or another output: (name, figure), those that end with _bytes as sizes."""
    rows = []
    for name, figure in figures.items():
        if name == "kind" or figure in (None, []) or isinstance(figure, dict):
            continue
        each = figure if isinstance(figure, list) else [figure]
        shown = [human_bytes(item) if name.endswith("_bytes") else str(item) for item in each]
        rows.append([name.removesuffix("_bytes").replace("_", " "), ", ".join(shown)])
    return rows


def changed_ops(before: Stats, after: Stats) -> list[tuple[str, int, int]]:
    """(operator, count before, count after) for those whose count differs, the largest change first."""
    names = before.ops.keys() | after.ops.keys()
    changed = [(n, before.ops[n], after.ops[n]) for n in names if before.ops[n] != after.ops[n]]
    return sorted(changed, key=lambda row: (-abs(row[1] - row[2]), row[0]))


def human_count(number: float) -> str:
    """1234567 -> '1.23 M'."""
    return _scaled(number, 1000, ("", " k", " M", " G", " T", " P"))


def human_bytes(number: float) -> str:
    """1536 -> '1.5 KiB'."""
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _scaled(number: float, base: int, units: Iterable[str]) -> str:
    *smaller, largest = units
    for unit in smaller:
        if abs(number) < base:
            return f"{number:.3g}{unit}" if number < base and isinstance(number, float) else f"{number}{unit}"
        number /= float(base)
    return f"{number:.3g}{largest}"

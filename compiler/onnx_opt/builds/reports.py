"""Reports from the plain data that they are kept as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from onnx_opt.instrument import PassRun
from onnx_opt.journal import Table
from onnx_opt.report import Fault, Report, Stats

T = TypeVar("T")


def report_from(data: Mapping[str, Any]) -> Report:
    """The report whose `Report.to_dict` is `data`."""
    found = {field.name: data[field.name] for field in fields(Report) if field.name in data}
    return Report(**found | {name: read(data) for name, read in _READ.items()})


def _stats(data: Mapping[str, Any]) -> Stats:
    return _make(Stats, {**data, "ops": Counter(data["ops"])})


def _make(cls: Callable[..., T], data: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in data.items() if name in names})


def _fault(data: Mapping[str, Any]) -> Fault:
    return _make(Fault, {**data, "origin": tuple(data["origin"])})


_READ: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "before": lambda data: _stats(data["before"]),
    "after": lambda data: _stats(data["after"]),
    "rewrites": lambda data: Counter({(row["pass"], row["rule"]): row["count"] for row in data["rewrites"]}),
    "runs": lambda data: [_make(PassRun, row) for row in data["passes"]],
    "faults": lambda data: [_fault(row) for row in data["undone"]],
    "proof": lambda data: data["validation"],
    "granted": lambda data: tuple(data["fast_math"]["granted"]),
    "liberties": lambda data: Counter(
        {(row["liberty"], row["pass"], row["rule"]): row["count"] for row in data["fast_math"]["taken"]}
    ),
    "tables": lambda data: {title: _make(Table, table) for title, table in data["tables"].items()},
}

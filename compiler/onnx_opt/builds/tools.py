"""What takes part in a compilation beside its inputs: this program, the packages it stands on, and those that offer
passes."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from onnx_opt.builds.digest import digest_of, tree_digest

ENTRY_POINT_GROUPS = ("onnx_opt.passes", "onnx_opt.tables")
_TEST_ONLY = re.compile(r"""extra\s*==\s*['"](dev|dask|ray)['"]""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@cache
def tools() -> dict[str, str]:
    """Name -> version or hash of everything that can change a result: other entries, other results."""
    found = {"python": platform.python_version(), "machine": _machine()}
    for name in sorted(set(_requirements())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for package in _packages():
        found[f"{package} (source)"] = _source_digest(package)
    return found


def source_folders() -> list[str] | None:
    """The folders of the packages whose files take part; None where one of them is no folder."""
    roots: list[str] = []
    for package in _packages():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return None
        roots += spec.submodule_search_locations
    return roots


def _packages() -> list[str]:
    return sorted({"onnx_opt", *_offering()})


def _machine() -> str:
    """The system, and the processors: what is measured on one, or made for one, may differ on another."""
    parts = {sys.platform, platform.machine()}
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts.update(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    for file in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        with suppress(OSError):
            parts.update(line for line in file.read_text().splitlines() if line.startswith("Model"))
    return digest_of("\n".join(sorted(parts)))


def _requirements() -> Iterator[str]:
    """The distributions that onnx-opt may use, those for tests alone aside."""
    for line in metadata.requires("onnx-opt") or ():
        if not _TEST_ONLY.search(line) and (match := _NAME.match(line)):
            yield match[0]
    yield "protobuf"
    for group in ENTRY_POINT_GROUPS:
        for point in metadata.entry_points(group=group):
            if point.dist is not None:
                yield point.dist.name


def _offering() -> Iterator[str]:
    """The packages that offer passes or tables."""
    for group in ENTRY_POINT_GROUPS:
        for point in metadata.entry_points(group=group):
            yield point.module.partition(".")[0]


def _source_digest(package: str) -> str:
    """A hash of a package's Python files: a version says too little where somebody works on it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return "missing"
    if spec is None:
        return "missing"
    if not spec.submodule_search_locations:
        return tree_digest([Path(spec.origin)], Path(spec.origin).parent) if spec.origin else "missing"
    roots = [Path(place) for place in spec.submodule_search_locations]
    return "+".join(tree_digest(root.rglob("*.py"), root) for root in roots)

"""What takes part in a compilation beside its inputs: this program, the packages it stands on, and those that offer
passes."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from onnx_opt.builds.digest import tree_digest

ENTRY_POINT_GROUPS = ("onnx_opt.passes", "onnx_opt.tables")
_TEST_ONLY = re.compile(r"""extra\s*==\s*['"](dev|dask|ray)['"]""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@cache
def tools() -> dict[str, str]:
    """Name -> version or hash of everything that can change a result: other entries, other results."""
    found = {"python": platform.python_version(), "machine": f"{sys.platform} {platform.machine()}"}
    for name in sorted(set(_requirements())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for package in sorted({"onnx_opt", *_offering()}):
        found[f"{package} (source)"] = _source_digest(package)
    return found


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

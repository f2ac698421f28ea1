"""The page: its template, style and scripts, with the data embedded as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from onnx_opt.files import atomic_file

SCRIPTS = (
    "dom.js", "figures.js", "layered.js", "drawing.js", "changes.js", "rewrites.js", "sections.js", "reported.js",
    "main.js",
)  # fmt: skip
"""In the order in which they stand in the page: each uses the ones before it."""
_PLACE = re.compile(r"\{\{(\w+)\}\}")
"""A place of the template. All are filled at once: what the data hold is no place."""


def write(data: dict[str, Any], path: str | Path) -> None:
    """Write the page: it appears whole or not at all."""
    with atomic_file(Path(path)) as file:
        file.write(render(data).encode())


def render(data: dict[str, Any]) -> str:
    """The whole page. Its policy lets it load nothing, and run its own script and no other."""
    script = '"use strict";\n(() => {\n' + "\n".join(map(_part, SCRIPTS)) + "})();\n"
    style = _part("page.css")
    parts = {
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:",
        "style": style,
        "data": _embedded(data),
        "script": script,
    }
    return _PLACE.sub(lambda place: parts[place[1]], _part("page.html"))


def _embedded(data: dict[str, Any]) -> str:
    """JSON in which nothing can end the script element around it."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")

"""Running models in ONNX Runtime the way that users run them: any provider, its options, its own optimizations.

`TiledRunner` runs them on pictures larger than memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.runtime.tiled import TiledRunner

__all__ = ["TiledRunner"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is."""
    if name != "TiledRunner":
        raise AttributeError(f"module 'onnx_opt.runtime' has no attribute '{name}'")
    from onnx_opt.runtime import tiled

    return tiled.TiledRunner

"""Operators that no table speaks of, on purpose: nothing is assumed of them, so they are neither folded, merged nor
removed."""

from __future__ import annotations

PLACED_BY_RUNTIME = "ONNX Runtime places it itself when it loads a model; no model is delivered with it"
TENSORRT_ALONE = "a plugin of TensorRT; no other runtime says what it computes"
OTHER_LAYOUT = "ONNX Runtime's own form of an operator with channels last, which it makes when it loads a model"

LEFT_ALONE: dict[tuple[str, str], str] = {
    ("", "DisentangledAttention_TRT EfficientNMS_TRT MultilevelCropAndResize_TRT PyramidROIAlign_TRT"): TENSORRT_ALONE,
    ("", "MemcpyFromHost MemcpyToHost"): PLACED_BY_RUNTIME,
    (
        "com.ms.internal.nhwc",
        """AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool
        GridSample InstanceNormalization LRN LpPool MaxPool MaxUnpool QLinearAveragePool QLinearConv
        QLinearConvTranspose Resize SpaceToDepth""",
    ): OTHER_LAYOUT,
}
"""(domain, operators) -> why nothing is stated of them."""


def reason(domain: str, op: str) -> str | None:
    """Why no table speaks of an operator; None where one should."""
    return next((why for (home, ops), why in LEFT_ALONE.items() if home == domain and op in ops.split()), None)

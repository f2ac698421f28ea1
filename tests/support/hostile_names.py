"""A model in which every name is an attack on a page that shows it."""

from __future__ import annotations

import onnx

from onnx_text import parse

MODEL = """
g (float[n,4] x) => (float[n,4] y) {
    a = Transpose <perm = [1, 0]> (x)
    b = Transpose <perm = [1, 0]> (a)
    y = Exp(b)
}"""

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "{{script}}",
    "<!--<script>",
    "\u2028';window.hacked=1//",
    "__proto__",
)


def hostile_model() -> onnx.ModelProto:
    """A model in which every name is an attack."""
    model = parse(MODEL)
    names = {"x": HOSTILE[0], "a": HOSTILE[1], "b": HOSTILE[2], "y": HOSTILE[3]}
    for node, name in zip(model.graph.node, HOSTILE, strict=False):
        node.name = name
        node.input[:] = [names[value] for value in node.input]
        node.output[:] = [names[value] for value in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = HOSTILE[4]
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = HOSTILE[4]
    model.graph.name = HOSTILE[0]
    return model

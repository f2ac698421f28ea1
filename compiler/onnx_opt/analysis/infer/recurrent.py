"""LSTM, GRU and RNN."""

from __future__ import annotations

from onnx_opt.analysis.infer.registry import NodeView, infer
from onnx_opt.types import TensorType, Type


@infer("LSTM", "GRU", "RNN")
def recurrent(n: NodeView) -> list[Type | None]:
    """[length, batch, input] -> [length, directions, batch, hidden] and the last states [directions, batch, hidden].

    With `layout` 1 the batch comes first everywhere.
    """
    data, weights = n.dims(0), n.dims(2)
    directions = 2 if n.text("direction", "forward") == "bidirectional" else 1
    hidden = n.attr("hidden_size")
    if hidden is None:
        hidden = weights[2] if weights is not None and len(weights) == 3 else n.fresh()
    known = data is not None and len(data) == 3
    length, batch = (data[0], data[1]) if known and data is not None else (n.fresh(), n.fresh())
    if n.attr("layout", 0):
        length, batch = batch, length
        every, last = (batch, length, directions, hidden), (batch, directions, hidden)
    else:
        every, last = (length, directions, batch, hidden), (directions, batch, hidden)
    elem_type = n.elem(0)
    return [TensorType(elem_type, every), TensorType(elem_type, last), TensorType(elem_type, last)]

"""Normalizations that give statistics besides the normalized data; the others are in `elementwise`."""

from __future__ import annotations

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, axis_of, infer
from onnx_opt.types import TensorType, Type

FLOAT, INT32 = int(TensorProto.FLOAT), int(TensorProto.INT32)


@infer("BatchNormalization")
def batch_normalization(n: NodeView) -> list[Type | None]:
    """The normalized data, then means and variances, [C] each."""
    count = n.result_count
    statistics = [TensorType(n.elem(index), n.dims(index)) for index in (3, 4)]
    return [n.tensor(0), *[statistics[index % 2] for index in range(count - 1)]]


@infer("LayerNormalization", "SimplifiedLayerNormalization")
@infer("LayerNormalization", "SimplifiedLayerNormalization", domain=MICROSOFT)
def layer_normalization(n: NodeView) -> list[Type | None]:
    """The normalized data, then mean and 1 / deviation, with dims of 1 from `axis` on."""
    data = n.tensor(0)
    stash = int(n.attr("stash_type", FLOAT))
    result = TensorType(n.elem(1) or data.elem_type, data.shape)
    if data.shape is None:
        return [result, TensorType(stash, None), TensorType(stash, None)]
    axis = axis_of(int(n.attr("axis", -1)), len(data.shape))
    statistic = TensorType(stash, (*data.shape[:axis], *[1] * (len(data.shape) - axis)))
    return [result, statistic, statistic]


@infer("RMSNormalization", elem=1)
def rms_normalization(n: NodeView) -> Type:
    """The normalized data, of the scale's element type."""
    return TensorType(n.elem(1), n.dims(0))


@infer("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(n: NodeView) -> list[Type | None]:
    """The normalized sum, mean and 1 / deviation, and the sum itself."""
    data = n.tensor(0)
    statistic = TensorType(FLOAT, None if data.shape is None else (*data.shape[:-1], 1))
    return [data, statistic, statistic, data]


@infer("EmbedLayerNormalization", domain=MICROSOFT, elem=2)
def embed_layer_normalization(n: NodeView) -> list[Type | None]:
    """[batch, length, hidden], the mask's sums [batch], and the sum of the embeddings."""
    ids, table = n.known_dims(0), n.known_dims(2)
    hidden = n.result(n.elem(2), (*ids, table[-1]))
    return [hidden, n.result(INT32, ids[:1]), hidden]

"""How operators behave when their tensors are stored transposed.

Elementwise operators need no row: `algebra` says which they are. Every other operator of the standard has one, be it
that it is bound to its layout; so is an operator of which nothing is declared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx_opt.layout.axes import Along, Listed, PerAxis
from onnx_opt.layout.behaviour import TRAIT, Absorbing, Behaviour, Fixed
from onnx_opt.layout.perms import Perm
from onnx_opt.layout.products import Contracting
from onnx_opt.layout.ranks import Gathering, Inserting, OneAxis, Reducing
from onnx_opt.layout.views import View
from onnx_opt.layout.windows import Windowed
from onnx_opt.parameters import parameter
from onnx_opt.traits import declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node


NEWEST = 1 << 30


# -- what rows ask of a node -------------------------------------------------------------------------------------------


def _before(version: int) -> Callable[[Node], bool]:
    """Until `version`, the operator flattened all dims from its axis on."""
    return lambda node: node.version < version


def _always(node: Node) -> bool:
    return True


def _samples_channels_first(node: Node, perm: Perm) -> str:
    """Runtimes resize the last dims fast and others slowly or not at all: only towards that does Resize move."""
    return "" if _untouched(node, perm[:2]) else f"{node.op} would not have its channels first"


def _untouched(node: Node, axes: Perm) -> bool:
    """Whether Resize or Upsample leaves these axes as they are."""
    if node.attribute("axes") is not None:
        return not {int(axis) % len(node.inputs[0].dims or (0,)) for axis in node.attribute("axes")} & set(axes)
    scales = parameter(node, "scales").numbers
    if scales:
        return all(scales[axis] == 1 for axis in axes)
    before, after = node.inputs[0].dims, node.outputs[0].dims
    return before is not None and after is not None and all(before[axis] == after[axis] for axis in axes)


def _reorders_ties(node: Node, perm: Perm) -> str:
    """Until 13, all dims from the axis on were one, and of its equal elements the first one counts."""
    start = int(node.attribute("axis", 1)) % len(perm)
    behind = [axis for axis in perm if axis >= start]
    keeps = node.version >= 13 or behind == sorted(behind) == list(perm[start:])
    return "" if keeps else f"{node.op} marks the first of equal elements"


def _bound_to_last_axes(node: Node, perm: Perm) -> str:
    return "" if perm[-2:] == (len(perm) - 2, len(perm) - 1) else f"{node.op} works on the last two axes"


def _bound_to_first_axes(node: Node, perm: Perm) -> str:
    return "" if perm[:2] == (0, 1) else f"{node.op} works on the first two axes"


def _names_its_dims(node: Node) -> bool:
    """Whether the equation of an Einsum has a letter for every dim and says how they stand in the result."""
    equation = str(node.attribute("equation", ""))
    return "->" in equation and "." not in equation and equation.count(",") <= 1


# -- the rows ----------------------------------------------------------------------------------------------------------

PER_CHANNEL = Along(data=(0,), results=(0,), pinned=(1,), channels_first=True)
PER_SAMPLE = Along(data=(0,), results=(0,), pinned=(0, 1), channels_first=True)
NORMALIZED = Along(data=(0,), axis="axis", reaches_end=_always, parameters=(1, 2))
REDUCING = Reducing(axes=Listed("axes", 1))
SELECTING = Reducing(axis="axis")
LISTED = Listed(operand=1)
ACCUMULATING = Along(axis_operand=1)
RESAMPLING = Along(
    axes=Listed("axes"),
    per_dim=(
        Listed("scales", 1, versions=range(11)),
        Listed(operand=1, halves=2, versions=range(11, NEWEST)),
        Listed(operand=2),
        Listed(operand=3),
    ),
    channels_first=True,
    refuses=_samples_channels_first,
)

CHANNELS_FIRST = Fixed(channels_first=True)
BLOCKWISE = Fixed("{op} takes its blocks from the channels", channels_first=True)
BY_COORDINATES = Fixed("{op} reads its operand at given coordinates", channels_first=True)
BY_POSITION = Fixed("{op} counts positions in the order of its dims")
BY_INDICES = Fixed("the indices of {op} are for its leading dims")
MATRICES = Fixed("{op} works on matrices")
BY_TIME = Fixed("{op} takes the batch first only with layout=1, which ONNX Runtime lacks")
HEADS = Fixed("{op} fixes where its batch, heads and sequence are")
WITH_BODIES = Fixed("{op} hands its operands to a subgraph")
SEQUENCES = Fixed("{op} works with sequences or optional values")
SOURCE = Fixed("{op} makes a tensor from nothing that has a layout")
TEXT = Fixed("{op} works on strings")
TABULAR = Fixed("{op} takes rows of features")
SIGNAL = Fixed("{op} has its frames and its complex parts last")
LOSS = Fixed("{op} has its classes in dim 1")
TRAINING = Fixed("{op} belongs to training")

ROWS: dict[str, Behaviour] = {
    # windows behind batch and channels
    "AveragePool LpPool MaxPool": Windowed(),
    "Conv ConvInteger ConvTranspose": Windowed(kernel=1),
    "QLinearConv": Windowed(kernel=3),
    "BatchNormalization LRN": PER_CHANNEL,
    "GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization": PER_SAMPLE,
    # along axes
    "CenterCropPad": Along(axes=Listed("axes"), per_dim=(LISTED,)),
    "Compress": Along(axis="axis"),
    "Concat": Along(data=None, axis="axis"),
    "CumProd CumSum": ACCUMULATING,
    "DynamicQuantizeLinear": Along(results=(0,)),
    "Expand Tile": Along(per_dim=(LISTED,)),
    "GatherElements": Along(data=(0, 1), axis="axis"),
    "Hardmax": Along(axis="axis", reaches_end=_before(13), best_last=True, refuses=_reorders_ties),
    "LogSoftmax Softmax": Along(axis="axis", reaches_end=_before(13), best_last=True),
    "LayerNormalization RMSNormalization": NORMALIZED,
    "LpNormalization": Along(axis="axis", best_last=True),
    "MeanVarianceNormalization": Along(axes=Listed("axes")),
    "Pad": Along(axes=Listed(operand=3), per_dim=(Listed("pads", 1, halves=2),)),
    "DequantizeLinear QuantizeLinear": PerAxis(),
    "Resize Upsample": RESAMPLING,
    "ReverseSequence": Along(refuses=_bound_to_first_axes),
    "Scatter ScatterElements": Along(data=(0, 1, 2), axis="axis"),
    "Slice": Along(axes=Listed("axes", 3), per_dim=(Listed("starts", 1), Listed("ends", 2), Listed(operand=4))),
    "Split TopK": Along(axis="axis"),
    "SwiGLU": Along(data=(0, 1)),
    "Trilu": Along(refuses=_bound_to_last_axes),
    # along axes that go, come, or shrink to 1
    "ArgMax ArgMin": SELECTING,
    "Gather": Gathering(),
    "MatMul": Contracting(),
    "MatMulInteger": Contracting(lists=(2, 3)),
    "QLinearMatMul": Contracting(right=3, lists=(1, 2, 4, 5, 6, 7)),
    "OneHot": Inserting(drops=False, axes=OneAxis("axis")),
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum": REDUCING,
    "ReduceSumSquare": REDUCING,
    "Squeeze": Inserting(drops=True),
    "Unsqueeze": Inserting(drops=False),
    # views
    "Flatten": View(),
    "Reshape": View(shape=1),
    # what takes a Transpose in
    "Einsum": Absorbing((0, 1), where=_names_its_dims),
    "Gemm": Absorbing((0, 1), ((1, 0),)),
    "Shape Size": Absorbing((0,)),
    # bound to their layout
    "CausalConvWithState MaxUnpool": CHANNELS_FIRST,
    "Col2Im DepthToSpace SpaceToDepth": BLOCKWISE,
    "AffineGrid DeformConv GridSample MaxRoiPool RoiAlign": BY_COORDINATES,
    "NonMaxSuppression NonZero TfIdfVectorizer Unique": BY_POSITION,
    "GatherND ScatterND TensorScatter": BY_INDICES,
    "Det EyeLike": MATRICES,
    "GRU LSTM RNN": BY_TIME,
    "Attention LinearAttention RotaryEmbedding": HEADS,
    "If Loop Scan SequenceMap": WITH_BODIES,
    "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct": SEQUENCES,
    "SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence": SEQUENCES,
    "Bernoulli Constant ConstantOfShape ImageDecoder Multinomial RandomNormal RandomNormalLike RandomUniform": SOURCE,
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix RandomUniformLike Range": SOURCE,
    "RegexFullMatch StringNormalizer StringSplit": TEXT,
    "DFT STFT": SIGNAL,
    "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss": LOSS,
}
OF_OTHER_DOMAINS: dict[tuple[str, str], Behaviour] = {
    ("ai.onnx.ml", "ArrayFeatureExtractor CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer"): TABULAR,
    ("ai.onnx.ml", "LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor"): TABULAR,
    ("ai.onnx.ml", "Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap"): TABULAR,
    ("ai.onnx.preview", "FlexAttention"): HEADS,
    ("ai.onnx.preview.training", "Adagrad Adam Gradient Momentum"): TRAINING,
    ("com.microsoft", "FusedConv"): CHANNELS_FIRST,
}

for _ops, _row in ROWS.items():
    declare("", _ops, **{TRAIT: _row})
for (_domain, _ops), _row in OF_OTHER_DOMAINS.items():
    declare(_domain, _ops, **{TRAIT: _row})

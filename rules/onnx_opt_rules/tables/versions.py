"""What changed in the meaning of operators from one operator set to the next, and where their parameters are.

Rows name the operator set in which a node of the same form began to mean something else, or in which its form changed:
an attribute became an operand, a default another one. New element types alone are no row, nor are attributes that were
added with a default which keeps the old meaning.
"""

from __future__ import annotations

from onnx_opt.traits import declare, declare_newest, define

define("changes", "operator set version -> what a node means from there on that it did not before (dict)")
define("operands", "parameter -> position among the operands, of operators that onnx has no schema of (dict)")
define("widened", "operator set versions whose change leaves nodes of the old form alone (dict: True, or a name)")
define("renamed", "parameter -> the other names that it has or had as attribute or operand (dict of tuples)")

NEWEST = {"": 28, "ai.onnx.ml": 5, "ai.onnx.preview": 1, "ai.onnx.preview.training": 1, "com.microsoft": 1}
"""The operator sets that the tables were written against. What a later one changes they do not know."""

BROADCAST = {7: "both operands are broadcast as in numpy; before, the second one by the attributes broadcast and axis"}
LEGACY = {6: "consumed_inputs, which let the result take an operand's memory, is gone"}
REDUCTION = "axes is an operand, none given can mean none instead of all (noop_with_empty_axes)"
NEGATIVE = "axes may be negative"
SOFTMAX = {13: "along one axis, the last by default; before, all dims from axis on (1 by default) were one"}

CHANGES: dict[str, dict[int, str]] = {
    "Abs Ceil Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Neg Reciprocal Relu Sigmoid Sqrt Tanh":
        LEGACY,
    "Max Mean Min Sum": {**LEGACY, 8: "operands are broadcast; before, they had the same dims"},
    "PRelu": {**LEGACY, 7: "the slope is broadcast; before, it was a number or one per channel"},
    "Selu": {6: "alpha and gamma have their exact defaults"},
    "Add Div Mul Sub": LEGACY | BROADCAST,
    "And Equal Greater Less Or Xor": BROADCAST,
    "Pow": {**BROADCAST, 12: "base and exponent may differ in type; the result has that of the base"},
    "Gemm": {7: "C is broadcast without the attribute", 11: "C may be absent"},
    "ArgMax ArgMin": {11: NEGATIVE, 12: "of equal elements the last one can be asked for"},
    "ReduceSum": {11: NEGATIVE, 13: REDUCTION},
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare":
        {11: NEGATIVE, 18: REDUCTION},
    "Softmax LogSoftmax Hardmax": SOFTMAX | {11: NEGATIVE},
    "Flatten": {11: NEGATIVE},
    "Gather": {11: "axes and indices may be negative"},
    "Concat": {4: "axis has no default; before, it was 1", 11: NEGATIVE},
    "Squeeze Unsqueeze": {11: NEGATIVE, 13: "axes is an operand"},
    "Split": {2: "axis is 0 by default, lengths are an attribute", 11: NEGATIVE, 13: "lengths are an operand",
              18: "num_outputs, the last part may be shorter; without it or lengths a node is not valid"},
    "Slice": {10: "starts, ends and axes are operands, with steps", 11: NEGATIVE},
    "Reshape": {5: "the shape is an operand", 14: "allowzero lets 0 mean zero instead of the operand's dim"},
    "Tile": {6: "one operand with the repeats of all axes"},
    "Pad": {2: "the attribute is called pads", 11: "pads and value are operands",
            18: "axes is an operand: pads may speak of some axes only"},
    "TopK": {10: "k is an operand", 11: "the smallest and unsorted ones can be asked for"},
    "Clip": {6: "bounds that are not given are the limits of the type", 11: "bounds are operands"},
    "Cast": {6: "to is a number instead of a name", 19: "overflow to 8-bit floats saturates if asked for",
             24: "rounding to 8-bit floats can be chosen"},
    "CastLike": {19: "overflow to 8-bit floats saturates if asked for", 24: "rounding to 8-bit floats can be chosen"},
    "Dropout": {6: "consumed_inputs is gone", 7: "it drops nothing; before, unless is_test was set",
                10: "the mask is of bools", 12: "ratio and training_mode are operands, and it may drop again"},
    "BatchNormalization": {6: "consumed_inputs is gone", 7: "more than one result means training; before, is_test",
                           9: "statistics are per channel always; before, unless spatial was 0",
                           14: "training_mode means training, and there are three results instead of five"},
    "AveragePool": {7: "padding counts if asked for", 10: "ceil_mode rounds sizes up",
                    19: "dilations", 22: "a window that starts in the padding at the end is left out under ceil_mode"},
    "MaxPool": {8: "indices are a second result", 10: "ceil_mode rounds sizes up, dilations",
                22: "a window that starts in the padding at the end is left out under ceil_mode"},
    "LpPool": {2: "p is an integer, kernel_shape is needed", 18: "ceil_mode rounds sizes up, dilations"},
    "GlobalLpPool": {2: "p is an integer"},
    "Upsample": {7: "scales of all axes instead of height and width", 9: "scales are an operand", 10: "deprecated"},
    "Resize": {11: "roi and sizes are operands; half_pixel is the default where it was asymmetric",
               13: "operands that are not used may be absent",
               18: "axes, antialiasing, sizes by aspect ratio", 19: "half_pixel_symmetric coordinates"},
    "GridSample": {20: "modes are called linear and cubic; volumes"},
    "RoiAlign": {16: "half_pixel is the default; before, coordinates had no offset"},
    "DepthToSpace": {11: "the order of depth and blocks can be chosen"},
    "GatherND": {12: "batch dims"},
    "ScatterElements ScatterND": {16: "values can be combined instead of replaced",
                                  18: "also by the least or greatest"},
    "Scatter": {11: "deprecated: it is ScatterElements"},
    "Shape": {15: "a part of the dims can be asked for"},
    "GroupNormalization": {18: "scale and bias per group", 21: "scale and bias per channel; in that of 18, per group"},
    "GRU": {3: "linear_before_reset, a default direction, all results are optional",
            7: "output_sequence is gone", 14: "batch can come first"},
    "LSTM RNN": {7: "output_sequence is gone", 14: "batch can come first"},
    "Scan": {9: "no batch dim and sequence_lens; axes of scanned operands and results"},
    "If": {11: "branches may differ in shape"},
    "Loop": {11: "carried values may change their shape"},
    "DequantizeLinear": {13: "scales per axis", 21: "scales per block", 23: "the type of the result can be chosen"},
    "QuantizeLinear": {13: "scales per axis", 19: "8-bit floats saturate if asked for",
                       21: "scales per block, the type of the result can be chosen", 23: "precision of the division"},
    "DFT": {20: "axis is an operand"},
    "OptionalHasElement": {18: "the operand may be absent"},
    "Attention": {24: "lengths without padding", 25: "sliding windows"},
    "Constant": {11: "sparse values", 12: "numbers, strings and lists of them"},
    "OneHot": {11: "indices and axis may be negative"},
    "Range": {27: "the type in which it is computed can be chosen"},
    "SpaceToDepth": {28: "the order of depth and blocks can be chosen"},
    "BitShift": {28: "of signed integers, and by more than their width"},
    "Mod": {28: "of floats also with the sign of the divisor"},
}  # fmt: skip

# Of these changes, those that leave nodes of the old form alone: operands, attributes or values that were added. A name
# is that of the attribute by which the node must then say how many results it has, unless it has a second operand.
WIDENED: dict[str, dict[int, bool | str]] = {
    "Reshape": {14: True},
    "GRU LSTM RNN": {14: True},
    "Shape": {15: True},
    "ScatterElements ScatterND": {16: True, 18: True},
    "LpPool OptionalHasElement Pad": {18: True},
    "Resize": {18: True, 19: True},
    "Split": {18: "num_outputs"},
    "AveragePool Cast CastLike QuantizeLinear": {19: True},
}

MACHINE_LEARNING: dict[str, dict[int, str]] = {
    "LabelEncoder": {2: "keys and values of all types; before, strings and their positions",
                     4: "keys and values as tensors"},
    "TreeEnsembleClassifier TreeEnsembleRegressor": {3: "attributes as tensors", 5: "deprecated: TreeEnsemble"},
}  # fmt: skip

# Where a parameter is called otherwise, or was: as an attribute in one operator set, as an operand in another.
RENAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "Pad": {"pads": ("paddings",), "value": ("constant_value",)},
    "TopK": {"k": ("K",)},
    "Tile": {"repeats": ("tiles",)},
    "BatchNormalization": {"mean": ("input_mean",), "var": ("input_var",)},
}

for _domain, _version in NEWEST.items():
    declare_newest(_domain, _version)
for _domain, _table in (("", CHANGES), ("ai.onnx.ml", MACHINE_LEARNING)):
    for _ops, _changes in _table.items():
        declare(_domain, _ops, changes=_changes)
for _ops, _widened in WIDENED.items():
    declare("", _ops, widened=_widened)
for _op, _names in RENAMED.items():
    declare("", _op, renamed=_names)
declare("com.microsoft", "Pad", operands={"pads": 1, "value": 2})
# A runtime computes with negative indices all the same, but onnx.checker rejects them where it sees them.
declare("", "OneHot", admits=lambda node, index, array: index != 0 or node.version >= 11 or bool((array >= 0).all()))
# ONNX Runtime also takes vectors of one element, and onnx.checker does as long as it does not see them.
declare("", "Range", admits=lambda node, index, array: array.ndim == 0)

"""Targets: what each runtime supports and what pays on it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import TYPE_CHECKING, Literal

from onnx_opt.errors import TargetError, UsageError
from onnx_opt.runtime.settings import CPU, CUDA, DML
from onnx_opt.runtime.settings import TENSORRT as TENSORRT_PROVIDER

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node

STANDARD_DOMAINS = frozenset({"", "ai.onnx.ml"})
CONTRIB = "com.microsoft"

Layout = Literal["nchw", "nhwc"]

_FLOATS = frozenset({"float32", "float16", "float64", "bfloat16"})
_INTS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"})
_SMALL = frozenset({"float8e4m3fn", "float8e5m2", "int4", "uint4"})


@dataclass(frozen=True)
class CostModel:
    """How long a device takes, for choices that trade one kind of work for another. It ranks alternatives; it does not
    predict times.

    `flops` are operations per second by dtype on matrix units with aligned channels, `bandwidth` bytes per second,
    `launch` seconds for each kernel, `shares` which part of the rate is left where channels are aligned to so many
    bytes only.
    """

    flops: Mapping[str, float] = field(default_factory=dict)
    bandwidth: float = 1e12
    launch: float = 4e-6
    shares: Mapping[int, float] = field(default_factory=dict)

    def rate(self, op: str, dtype: str, k: int, n: int, flops: float) -> float:
        """Operations per second of a layer that sums over `k` channels, computes `n`, and takes `flops` in all."""
        itemsize = {"float16": 2, "bfloat16": 2, "int8": 1}.get(dtype, 4)
        return self.flops.get(dtype, 1e13) * self.shares.get(gcd(k * itemsize, n * itemsize, 16), 1.0)


@dataclass(frozen=True)
class Quantized:
    """How a target takes quantized graphs.

    `forms` are those it has kernels for: 8-bit integers, 8-bit floats, weights of 4 bits. With `unsigned`, activations
    are uint8 with a zero point, else int8 around zero. With `integer_bias` a bias is an integer, in units of the
    product of both scales. With `results`, an integer kernel must also give quantized results; it is ONNX Runtime's.
    """

    forms: frozenset[str] = frozenset({"int8"})
    unsigned: bool = False
    integer_bias: bool = False
    results: bool = False


@dataclass(frozen=True)
class Target:
    """What a runtime takes.

    `vendor` are the (domain, operator) pairs that passes may emit beside standard ONNX; `lacks` the standard operators
    that it rejects; `lacks_forms` what it rejects of operators that it has, by the names that `legalize` has rules
    for; `newest_opset` its newest version of the standard domain (None: any); `fused_at_load` the sequences
    of operators that it makes one kernel of by itself, so that nothing is gained by writing them as one; `alignment`
    the multiple of channels per dtype at which its fastest kernels start; `half_sums` the operators whose sums it may
    keep in half precision, where other sums of half numbers are FP32; `layout` where it wants the channels of what
    stands beside a convolution, as far as that costs no transposed byte; `cost` what padding channels is weighed by
    (None: it is never held against what it gains); `gains_by_subsampling` whether a stride that is larger than its
    kernel keeps a Conv from the fastest kernels; `quantized` how it takes quantized graphs; `provider` the execution
    provider of ONNX Runtime that it is, '' where it is none.
    """

    name: str
    summary: str
    dtypes: frozenset[str]
    vendor: frozenset[tuple[str, str]] = frozenset()
    lacks: frozenset[str] = frozenset()
    lacks_forms: frozenset[str] = frozenset()
    newest_opset: int | None = None
    fused_at_load: frozenset[tuple[str, ...]] = frozenset()
    alignment: Mapping[str, int] = field(default_factory=dict)
    half_sums: frozenset[str] = frozenset()
    layout: Layout = "nchw"
    cost: CostModel | None = None
    gains_by_subsampling: bool = False
    provider: str = ""
    quantized: Quantized = Quantized()

    def supports(self, op: str, domain: str = "", version: int | None = None) -> bool:
        """May a pass emit this operator? Vendor domains only where the target is that vendor's."""
        if domain not in STANDARD_DOMAINS:
            return (domain, op) in self.vendor
        if domain == "" and self.newest_opset and version is not None and version > self.newest_opset:
            return False
        return op not in self.lacks

    @property
    def is_restricted(self) -> bool:
        """Does the target reject anything of standard ONNX?"""
        return bool(self.lacks or self.lacks_forms)

    def fuses(self, *ops: str) -> bool:
        """Does the runtime fuse this sequence of operators when it loads a model?"""
        return ops in self.fused_at_load

    def rejects(self, node: Node) -> str | None:
        """Why the target cannot run `node`, or None. Custom operators pass: their implementation may be registered."""
        if node.domain != "":
            return None
        if node.op in self.lacks:
            return f"{self.name} has no operator {node.op}"
        return None

    def check(self, graph: Graph, path: str | None = None) -> None:
        """Raise TargetError for the first node that the target cannot run."""
        version = graph.opsets.get("", 0)
        if self.newest_opset and version > self.newest_opset:
            newest = self.newest_opset
            raise TargetError(f"{self.name} stops at opset {newest}, the model needs {version}", path=path)
        if not self.lacks:
            return
        for scope in graph.model.all_graphs():
            for node in scope:
                if reason := self.rejects(node):
                    raise TargetError(
                        reason, path=path, node=node.label(), remedy=f"onnx-opt check --target {self.name} lists all"
                    )


_CONV_ACTIVATIONS = frozenset(
    {("Conv", "BatchNormalization"), ("Conv", "Add"), ("Conv", "Mul")}
    | {("Conv", activation) for activation in ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")}
)
# What ONNX Runtime's providers have kernels of in its own domain, by the tables in its docs/OperatorKernels.md: all of
# these on the processor, on the others less.
_GPU_CONTRIB = frozenset({
    (CONTRIB, "FusedMatMul"), (CONTRIB, "Gelu"), (CONTRIB, "FastGelu"), (CONTRIB, "BiasGelu"), (CONTRIB, "QuickGelu"),
    (CONTRIB, "SkipLayerNormalization"),
})  # fmt: skip
_CUDA_CONTRIB = _GPU_CONTRIB | {(CONTRIB, "FusedConv")}
_CPU_CONTRIB = _CUDA_CONTRIB | {(CONTRIB, "FusedGemm")}

# Reductions that are no matrix product: of a runtime that nobody measured the worst is assumed.
_HALF_SUMS = frozenset({"ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", "GlobalAveragePool"})

# Peak rates and bandwidth of an A100 (its data sheet). The shares are no measurement: TensorRT and cuDNN take even
# counts of half precision channels nearly as fast as aligned ones and pay for odd ones with a kernel that copies, as
# engine builds show. A profile of the device (bench/gpu_padding.py) takes their place.
_AMPERE = CostModel(
    flops={"float16": 312e12, "bfloat16": 312e12, "int8": 624e12, "float32": 156e12},
    bandwidth=1.5e12,
    shares={16: 1.0, 8: 0.95, 4: 0.9, 2: 0.5, 1: 0.5},
)

_ALL_FORMS = frozenset({"int8", "fp8", "int4"})

PORTABLE = Target(
    name="portable",
    summary="any runtime: standard ONNX operators only",
    dtypes=_FLOATS | _INTS | _SMALL,
    alignment={"float16": 8, "bfloat16": 8, "int8": 16},
    half_sums=_HALF_SUMS,
    quantized=Quantized(_ALL_FORMS),
)

ORT_CPU = Target(
    name="ort-cpu",
    summary="ONNX Runtime on the processor",
    dtypes=(_FLOATS | _INTS) - {"bfloat16"},
    vendor=_CPU_CONTRIB,
    newest_opset=26,
    fused_at_load=_CONV_ACTIVATIONS,
    provider=CPU,
    quantized=Quantized(frozenset({"int8", "int4"}), unsigned=True, integer_bias=True, results=True),
)

ORT_CUDA = Target(
    name="ort-cuda",
    summary="ONNX Runtime on NVIDIA GPUs",
    dtypes=_FLOATS | _INTS | _SMALL,
    vendor=_CUDA_CONTRIB,
    newest_opset=26,
    fused_at_load=_CONV_ACTIVATIONS,
    alignment={"float16": 8, "bfloat16": 8, "int8": 16, "float32": 4},
    cost=_AMPERE,
    provider=CUDA,
    quantized=Quantized(frozenset({"int8", "int4"})),
)

# Its kernels end with opset 20 (the provider's page at onnxruntime.ai): newer versions of an operator run on the
# processor. It computes in float32 and float16, and fuses all of these activations but Clip into a Conv by itself.
ORT_DML = Target(
    name="ort-dml",
    summary="ONNX Runtime on Windows with DirectML",
    dtypes=frozenset({"float32", "float16"}) | _INTS,
    vendor=_GPU_CONTRIB,
    newest_opset=20,
    fused_at_load=_CONV_ACTIVATIONS - {("Conv", "Clip")},
    half_sums=_HALF_SUMS,
    provider=DML,
)

# Operators that the parser of TensorRT 11 (and TensorRT for RTX 1.7) does not know.
_TENSORRT_LACKS = frozenset({
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd", "DFT", "DeformConv",
    "Det", "DynamicQuantizeLinear", "FlexAttention", "ImageDecoder", "MatMulInteger", "MaxUnpool",
    "MelWeightMatrix", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement",
    "QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss",
    "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
})  # fmt: skip

# What it rejects of operators that it knows.
_TENSORRT_LACKS_FORMS = frozenset({
    "Attention without a fused kernel", "LayerNormalization with statistics", "MatMul of a vector and a stack",
    "MatMul of integers", "MaxPool with gaps", "ReduceMax of bools", "Relu of integers", "Slice without axes",
    "asymmetric quantization", "several results", "unsigned bytes between nodes",
})  # fmt: skip

TENSORRT = Target(
    name="tensorrt",
    summary="TensorRT engines on NVIDIA GPUs",
    dtypes=frozenset({"float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool"}) | _SMALL,
    lacks=_TENSORRT_LACKS,
    lacks_forms=_TENSORRT_LACKS_FORMS,
    fused_at_load=frozenset(pair for pair in _CONV_ACTIVATIONS if pair != ("Conv", "BatchNormalization")),
    alignment={"float16": 8, "bfloat16": 8, "int8": 16, "float32": 4},
    half_sums=_HALF_SUMS,
    cost=_AMPERE,
    gains_by_subsampling=True,
    quantized=Quantized(_ALL_FORMS),
)

# What TensorRT's parser does not take, ONNX Runtime leaves to its CUDA provider: nothing is rejected, but each operator
# of a vendor's would split an engine in two. Conv and BatchNormalization are merged before TensorRT sees them.
ORT_TENSORRT = Target(
    name="ort-tensorrt",
    summary="ONNX Runtime with TensorRT on NVIDIA GPUs",
    dtypes=TENSORRT.dtypes,
    newest_opset=26,
    fused_at_load=_CONV_ACTIVATIONS,
    alignment=TENSORRT.alignment,
    half_sums=_HALF_SUMS,
    cost=_AMPERE,
    gains_by_subsampling=True,
    provider=TENSORRT_PROVIDER,
)

TARGETS: Mapping[str, Target] = {t.name: t for t in (PORTABLE, ORT_CPU, ORT_CUDA, ORT_DML, ORT_TENSORRT, TENSORRT)}


def find_target(name: str) -> Target:
    """The target called `name`; UsageError where there is none."""
    if name not in TARGETS:
        raise UsageError(f"unknown target '{name}'", remedy=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]

"""Why TensorRT rejects a node, in words that help: what its parser says, what that means, and what can be done.

The first row whose operator and text match is taken. `{op}` stands for the operator and `{1}` for the first group of
the pattern; where the meaning is empty, what the parser says is shown as it is. Where `rewritten` is set, the passes of
a preset rewrite such nodes as far as that is exact: that is the remedy for a model that has not been through them.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    operator: str
    """A regular expression for the operator's whole name."""
    says: str
    """A regular expression that is found in what the parser says."""
    meaning: str
    remedy: str
    rewritten: bool = False


_FOLD = "--fold computes constants; -O1 and above run it"
_FIX = "--dim and --shape fix sizes"
_REWRITE = "-O1 and above, with --target tensorrt, rewrite it"
_UNKNOWN = r"^(Assertion failed: )?false$"
"""What the parser says of operators that it knows to lack."""
_SYMMETRIC = "quantize with signed types and zero points of 0"

BUILDER = "(builder)"
"""Stands for an operator where the builder speaks and not the parser."""

ROWS = (
    Row(r"\(builder\)", r"FP32 GEMM is not supported",
        "", "--fp16, or --sm without 75: it has no FP32 matrix products"),
    Row(r"\(builder\)", r"workspace limit", "the workspace is too small for any kernel", "--workspace allows more"),
    Row(r"\(builder\)", r"CUDA_SUCCESS", "what is asked for needs a GPU where the engine is built", "build it there"),
    Row(r"\(builder\)", r"no optimization profile", "an input is dynamic", "--profile gives its sizes"),
    Row(r"\(builder\)", r"Unable to load library: ([\w.]+)", "the library {1} is not installed", "leave the flag out"),
    Row(r"\(builder\)", r"(?i)(bf16|fp8|int4).*not supported", "", "--sm names newer compute capabilities"),
    Row(r"\(builder\)", r"", "", ""),
    Row(r"QLinear\w+|ConvInteger|MatMulInteger|DynamicQuantizeLinear", f"Plugin not found|{_UNKNOWN}",
        "there is no operator {op}", "quantize with QuantizeLinear and DequantizeLinear instead", rewritten=True),
    Row(r"Sequence\w+|ConcatFromSequence|SplitToSequence|Optional\w*", f"Plugin not found|{_UNKNOWN}",
        "there are no sequences and no optionals, which {op} works on", "", rewritten=True),
    Row(r"\w+", f"Plugin not found|{_UNKNOWN}", "there is no operator {op}", "", rewritten=True),
    Row(r".*", f"Plugin not found|{_UNKNOWN}",
        "there is no operator {op}, and no plugin of that name is registered",
        "--strip-op {op} removes one that only passes its input on"),
    Row(r"QuantizeLinear|DequantizeLinear", r"[Nn]on-zero zero point",
        "quantization must be symmetric: a zero point is not 0", _SYMMETRIC, rewritten=True),
    Row(r"DequantizeLinear", r"type Int32 but must have type",
        "an int32 bias cannot be dequantized", _SYMMETRIC, rewritten=True),
    Row(r"QuantizeLinear|DequantizeLinear", r"(?i)uint8",
        "uint8 is no type of quantized values", _SYMMETRIC, rewritten=True),
    Row(r".*", r"UINT8 types for intermediate|first input has type UInt8",
        "uint8 is a type of inputs and outputs only", "", rewritten=True),
    Row(r"Range", r"HALF|FP16|[Hh]alf", "", "--fp16-block Range keeps it in FP32"),
    Row(r".*", r"unsupported input type of (\w+)", "{op} does not take {1}", "", rewritten=True),
    Row(r".*", r"[Uu]nsupported ONNX data type: (\w+)", "there are no values of type {1}", "", rewritten=True),
    Row(r".*", r"toposort", "nodes stand before those whose results they take", "-O1 and above put them in order"),
    Row(r"Resize", r"[Aa]ntialias", "antialiasing is not supported", "export with antialias=False"),
    Row(r".*", r"same (data )?type|types? (do(es)? not|must) match|must have the same type|mixed|different types", "",
        "every operand must have one type: put a Cast before the node"),
    Row(r".*", r"initializer|must be (a )?constant|build-time constant|is_weights\(\)", "", _FOLD),
    Row(r".*", r"dynamic", "", _FIX),
)  # fmt: skip


class Stumble(NamedTuple):
    """What is known of a node at which the builder stops, or crashes."""

    says: str
    """A regular expression that is found in what the builder says, or in how it ended."""
    operator: str
    same: tuple[int, ...]
    """Operands that are one value then."""
    remedy: str


STUMBLES = (
    Stumble(r"crashed", "Attention", (0, 1), "its queries are its keys: multiply one of them by 1, and it builds"),
    Stumble(r"nbdims_bias", "Add", (), "--fast-math=no-signed-zeros takes sums with zeros out"),
)

_ASSERTION = re.compile(r"^Assertion failed: .*?: (?=[A-Z])|^Assertion failed: ", re.DOTALL)
_QUOTED = re.compile(r'&& "([^"]+)"')
_API_ERROR = re.compile(r"Error Code \d+: [\w ]*?\((.*?)(?:\. +In \w+ at \S+\)|\)?$)", re.DOTALL)
_PLACE = re.compile(
    r"""\s*In \w+ at \S+:\d+        # behind a message
    |MyelinCheckException:\s       # before it
    |\[\w+\.cpp:\d+:\s\w+\]\s
    |\[\w+\.(?:cpp|h)[^\]]*\]
    |IBuilder::\w+:\s
    |Error\sCode\s\d+:\s\w+\s""",
    re.VERBOSE,
)


def explain(operator: str, text: str, after_passes: bool = False) -> tuple[str, str | None]:
    """What the parser says of a node of that operator: the reason in words, and a remedy where one is known.

    `after_passes` says that the passes of a preset have been at the model already.
    """
    for row in ROWS:
        found = re.search(row.says, text) if re.fullmatch(row.operator, operator) else None
        if found:
            words = {"op": operator, **{str(i): group for i, group in enumerate(found.groups(), 1)}}
            remedy = _REWRITE if row.rewritten and not after_passes else _fill(row.remedy, words)
            return _fill(row.meaning, words) or plain(text), remedy or None
    return plain(text), None


def plain(text: str) -> str:
    """What the parser says without where in its own code it says it."""
    if quoted := _QUOTED.search(text):
        return quoted[1].rstrip(".")
    if error := _API_ERROR.search(text):
        text = error[1]
    text = _PLACE.sub("", _ASSERTION.sub("", text))
    return " ".join(text.split()).rstrip(".") or "it gives no reason"


def _fill(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace(f"{{{name}}}", word or "")
    return template

"""Why TensorRT rejects a node, in words that help: what its parser says, what that means, and what can be done.

The first row whose operator and text match is taken. `{op}` stands for the operator and `{1}` for the first group of
the pattern; where the meaning is empty, what the parser says is shown as it is.
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


_FOLD = "--fold computes constants; -O2 and above run it"
_FIX = "--dim and --shape fix sizes"
_LEGALIZE = "-O1 and above rewrite it for --target tensorrt where that is exact"

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
    Row(r"QLinear\w+|ConvInteger|MatMulInteger|DynamicQuantizeLinear", r"Plugin not found|^(Assertion failed: )?false$",
        "there is no operator {op}", "quantize with QuantizeLinear and DequantizeLinear pairs instead"),
    Row(r"Sequence\w+|ConcatFromSequence|SplitToSequence|Optional\w*", r"Plugin not found|^(Assertion failed: )?false$",
        "there are no sequences and optionals, {op} works on them", "-O2 removes those of known length"),
    Row(r".*", r"^(Assertion failed: )?false$", "there is no operator {op}", _LEGALIZE),
    Row(r"\w+", r"Plugin not found", "there is no operator {op}", _LEGALIZE),
    Row(r".*", r"Plugin not found",
        "there is no operator {op}, and no plugin of that name is registered",
        "--strip-op {op} removes one that only passes its input on"),
    Row(r"(De)?[qQ]uantizeLinear", r"[Nn]on-zero zero point",
        "quantization must be symmetric: a zero point is not 0", "quantize with signed, symmetric types"),
    Row(r"DequantizeLinear", r"type Int32 but must have type",
        "an int32 bias cannot be dequantized", "-O1 folds it: --fold"),
    Row(r"DequantizeLinear|QuantizeLinear", r"unsupported input type of UINT8|UINT8",
        "uint8 is no type of quantized values", "quantize with int8"),
    Row(r".*", r"unsupported input type of (\w+)", "{op} does not take {1}", _LEGALIZE),
    Row(r".*", r"toposort", "nodes stand before those whose results they take", "-O1 and above put them in order"),
    Row(r"Resize", r"[Aa]ntialias", "antialiasing is not supported", "export with antialias=False"),
    Row(r"Range", r"[Tt]ype|[Dd]ata ?type", "", "keep it in float32: --fp16-block Range"),
    Row(r".*", r"same (data )?type|types? (do(es)? not|must) match|must have the same type|mixed|different types", "",
        "every operand must have one type: put a Cast before the node"),
    Row(r".*", r"initializer|must be (a )?constant|build-time constant|is_weights\(\)", "", _FOLD),
    Row(r".*", r"dynamic", "", _FIX),
    Row(r".*", r"[Uu]nsupported ONNX data type: (\w+)", "there are no values of type {1}", _LEGALIZE),
)  # fmt: skip

# What crashes the builder: the operator, the operands that are one value then, and what can be done.
CRASHES = (("Attention", (0, 1), "its queries are its keys: multiply one of them by 1, and it builds"),)

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


def explain(operator: str, text: str) -> tuple[str, str | None]:
    """What the parser says of a node of that operator: the reason in words, and a remedy where one is known."""
    for row in ROWS:
        found = re.search(row.says, text) if re.fullmatch(row.operator, operator) else None
        if found:
            words = {"op": operator, **{str(i): group for i, group in enumerate(found.groups(), 1)}}
            return _fill(row.meaning, words) or plain(text), _fill(row.remedy, words) or None
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

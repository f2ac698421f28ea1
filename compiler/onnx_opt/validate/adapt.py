"""Models that ONNX Runtime does not run as they are, changed alike in original and candidate so that it does.

- An opset or IR version that it does not know yet is lowered where the operators take the same inputs and attributes.
- An operator that it lacks is taken as an unknown function of its inputs. First by a stand-in: where the candidate
  still has the node, its output is its first input in reverse order (nothing that a rewrite could have taken for
  granted); where the candidate has removed it, its output is its input, which is what removing it means. Where that
  does not run, the model is cut at the node: what it computes becomes an input, what it is given becomes outputs.
- A random operator becomes a fixed sequence of numbers of the same shape (`still`).

What is proven this way holds for the whole model as long as those operators are functions of their inputs; the notes of
the verdict say which they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from onnx_opt.validate.nodes import cut_at, fixed_noise, identity, output_names, reversal
from onnx_opt.validate.run import CannotLoad, Runtime, Session, operator_name
from onnx_opt.validate.source import Source
from onnx_opt.validate.walk import all_nodes, node_lists

if TYPE_CHECKING:
    import onnx

Operator = tuple[str, str]  # (domain, type)

_ATTEMPTS = 24
_UNTYPED_GUESSES = ("FLOAT", "UINT8", "INT64", "FLOAT16")


@dataclass
class Adapted:
    """A pair that ONNX Runtime loads; `notes` say what was changed, one line each."""

    reference: Source
    candidate: Source
    notes: list[str] = field(default_factory=list)


class Unadaptable(Exception):
    """There is no such pair; the text says why."""


@dataclass
class Pair:
    """Original and candidate, and what is to be done to both."""

    reference: Source
    candidate: Source
    runtime: Runtime
    removed_inputs: Mapping[str, int] = field(default_factory=dict)  # 'domain::Op' -> the input that replaces it

    def adapt(self, cut: bool = False) -> Adapted:
        """Changes the pair until ONNX Runtime loads both. Raises `Unadaptable`."""
        unknown: set[Operator] = set()
        limits: dict[str, int] = {}
        guesses = iter(_UNTYPED_GUESSES)
        guess = next(guesses)
        for _ in range(_ATTEMPTS):
            adapted = self._changed(unknown, limits, guess if cut else None)
            error = self._load_error(adapted)
            if error is None:
                return adapted
            if error.limit is not None and limits.get(error.limit[0]) != error.limit[1]:
                limits[error.limit[0]] = error.limit[1]
            elif error.operator is not None and not _is_standard(*error.operator) and error.operator not in unknown:
                unknown.add(error.operator)
            elif cut and unknown and (guess := next(guesses, "")):
                continue  # the type of what the cut nodes make was guessed wrong
            else:
                raise Unadaptable(str(error))
        raise Unadaptable("ONNX Runtime lacks too many of its operators")

    def _changed(self, unknown: set[Operator], limits: Mapping[str, int], guess: str | None) -> Adapted:
        reference, candidate = self.reference.skeleton(), self.candidate.skeleton()
        notes = [note for model in (reference, candidate) for note in lower_versions(model, limits)]
        if unknown:
            notes += self._replace_unknown(reference, candidate, unknown, guess)
        return Adapted(
            self.reference.with_proto(reference), self.candidate.with_proto(candidate), list(dict.fromkeys(notes))
        )

    def _replace_unknown(
        self, reference: onnx.ModelProto, candidate: onnx.ModelProto, unknown: set[Operator], guess: str | None
    ) -> list[str]:
        ours = {n.output[0]: n for n in all_nodes(candidate) if (n.domain, n.op_type) in unknown and n.output}
        theirs = {n.output[0]: n for n in all_nodes(reference) if (n.domain, n.op_type) in unknown and n.output}
        if extra := [name for name in ours if name not in theirs]:
            node = ours[extra[0]]
            raise Unadaptable(f"ONNX Runtime has no operator {_called(node)}, which computes '{extra[0]}'")
        kept, removed = set(ours), set(theirs) - set(ours)
        for model in (reference, candidate):
            _replace(model, lambda node: self._removed(node) if _first_output(node) in removed else None)
            if guess is not None:
                cut_at(model, kept, guess)
            else:
                _replace(model, lambda node: reversal(node) if _first_output(node) in kept else None)
        how = "cut out of both models" if guess is not None else "given the same stand-in in both models"
        notes = [f"{_counted(theirs, kept)} {how}: ONNX Runtime has no such operator"] if kept else []
        return notes + ([f"{_counted(theirs, removed)} taken as the identity, as removing it does"] if removed else [])

    def _removed(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return identity(node, self.removed_inputs.get(_called(node), 0))

    def _load_error(self, adapted: Adapted) -> CannotLoad | None:
        for source in (adapted.reference, adapted.candidate):
            try:
                Session(source, self.runtime).close()
            except CannotLoad as error:
                return error
        return None

    def still(self) -> Adapted:
        """Random operators replaced in both. Raises `Unadaptable` where they cannot be told apart in the candidate."""
        reference, candidate = self.reference.skeleton(), self.candidate.skeleton()
        names = output_names(all_nodes(reference), RANDOM)
        if output_names(all_nodes(candidate), RANDOM) - names:
            raise Unadaptable("the candidate's random operators have other names than the original's")
        for model in (reference, candidate):
            if (version := _opset(model)) < 11:
                raise Unadaptable("its opset is too old to replace random operators")
            _replace(model, partial(_noise_for_random, opset=version))
        note = f"{len(names)} random operators replaced by the same fixed noise in both models"
        return Adapted(self.reference.with_proto(reference), self.candidate.with_proto(candidate), [note])


def _noise_for_random(node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto] | None:
    return fixed_noise(node, opset) if node.op_type in RANDOM else None


def _opset(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")


def lower_versions(model: onnx.ModelProto, limits: Mapping[str, int]) -> list[str]:
    """Lowers IR ('ir') and opset versions in place. Raises `Unadaptable` where an operator changed in between."""
    notes = []
    if "ir" in limits and model.ir_version > limits["ir"]:
        notes.append(f"read as IR version {limits['ir']}")
        model.ir_version = limits["ir"]
    for opset in (*model.opset_import, *(o for function in model.functions for o in function.opset_import)):
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        limit = limits.get(domain, opset.version)
        if opset.version <= limit:
            continue
        called = domain or "ai.onnx"
        for op in sorted({n.op_type for n in all_nodes(model) if n.domain == opset.domain}):
            if _form(op, domain, opset.version) != _form(op, domain, limit):
                what = f"{op} of opset {opset.version} is new"
                raise Unadaptable(f"ONNX Runtime stops at opset {limit} of {called}, and {what}")
        notes.append(f"read as opset {limit} of {called}, where its operators have the same inputs and attributes")
        opset.version = limit
    return notes


def _is_standard(domain: str, op: str) -> bool:
    """Whether ONNX defines the operator: then rewrites may know what it does, and a stand-in would not do that."""
    import onnx.defs

    return bool(onnx.defs.has(op, domain="" if domain == "ai.onnx" else domain))


def _form(op: str, domain: str, version: int) -> object:
    """What an operator of that opset takes and gives; types aside, which ONNX Runtime checks for itself."""
    import onnx.defs

    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return version
    attributes = {name: (a.type, a.required, str(a.default_value)) for name, a in schema.attributes.items()}
    operands = [[(p.name, p.option) for p in group] for group in (schema.inputs, schema.outputs)]
    return attributes, operands


def _replace(model: onnx.ModelProto, by: Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]) -> None:
    """Replaces nodes of a model, of its subgraphs and functions, in place."""
    for nodes in node_lists(model):
        replaced = [(node, by(node)) for node in nodes]
        if all(new is None for _, new in replaced):
            continue
        kept = [part for node, new in replaced for part in ([node] if new is None else new)]
        copies = [type(part).FromString(part.SerializeToString()) for part in kept]
        del nodes[:]
        nodes.extend(copies)


def _first_output(node: onnx.NodeProto) -> str:
    return node.output[0] if node.output else ""


def _called(node: onnx.NodeProto) -> str:
    return operator_name(node.domain, node.op_type)


def _counted(nodes: Mapping[str, onnx.NodeProto], names: set[str]) -> str:
    counts = Counter(_called(nodes[name]) for name in names)
    return ", ".join(name if count == 1 else f"{name} ({count} nodes)" for name, count in sorted(counts.items()))

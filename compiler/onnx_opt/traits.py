"""What is known of the operators: purity, algebra, when one is the identity.

The machinery asks; the answers are data. They come from modules that call `declare`, found through the entry-point
group ``onnx_opt.tables``, so a package that brings custom operators can say what they do:

    from onnx_opt.traits import declare
    declare("my.domain", "Swizzle", pure=True, involution=True)

Of an operator that nobody declared nothing is assumed: it is not pure, not removable, not foldable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any

from onnx_opt.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from onnx_opt.ir import Node

GROUP = "onnx_opt.tables"
VARIADIC = -1
"""The elementwise arity of operators that take any number of operands, such as Sum."""

MEANINGS: dict[str, str] = {
    "pure": "results depend on operands and attributes only, the same in every run (bool, or a predicate of the node)",
    "removable": "may be removed when nobody reads its results (bool; True for every declared operator by default)",
    "foldable": "may be computed ahead of time when it is pure (bool; True by default)",
    "kept": "stays a node even where all that it reads is constant, since runtimes look for it (bool)",
    "admits": "whether an operand may be this constant: onnx.checker looks into some (f(node, index, array))",
    "carries_bodies": "also depends on the subgraphs in its attributes (bool)",
    "commutative": "f(a, b) = f(b, a) (bool)",
    "idempotent": "f(f(x)) = f(x) to the bit (bool)",
    "involution": "f(f(x)) = x to the bit (bool)",
    "selective": "f(x, x) = x to the bit (bool)",
    "elementwise": "the number of operands that broadcast, each element computed from those at its place (int)",
    "identity": "the operand that the first result repeats to the bit (a function of the node: its index or None)",
}
"""The traits and what each says. A package adds its own with `define`."""

_traits: dict[tuple[str, str], dict[str, Any]] = {}
_newest: dict[str, int] = {}
_lock = RLock()
_loaded = _loading = False


# -- what tables say ---------------------------------------------------------------------------------------------------


def define(name: str, meaning: str) -> None:
    """Introduce a trait that `declare` accepts from then on. Defining it again with the same meaning is harmless."""
    if MEANINGS.setdefault(name, meaning) != meaning:
        raise ValueError(f"trait '{name}' is defined already: {MEANINGS[name]}")


def declare(domain: str, *ops: str, **traits: Any) -> None:
    """State traits of operators of `domain` ('' and 'ai.onnx' are the standard one). Each of `ops` is a name, or
    several separated by blanks.

    Several tables may speak of one operator, but each trait is said once: what an operator means must not depend on
    the order in which packages load. Raises ValueError for a contradiction, TypeError for a trait nobody defined.
    """
    unknown = traits.keys() - MEANINGS.keys()
    if unknown:
        raise TypeError(f"no such trait: {', '.join(sorted(unknown))} (there are: {', '.join(MEANINGS)})")
    _foldable_operator.cache_clear()
    for op in " ".join(ops).split():
        known = _traits.setdefault((_normal(domain), op), {})
        for name, answer in traits.items():
            if known.setdefault(name, answer) != answer:
                raise ValueError(f"trait '{name}' of {domain or 'ai.onnx'}::{op} is declared already")


def declare_newest(domain: str, version: int) -> None:
    """State that the tables know the operators of a domain up to this operator set. In a later one, they speak of those
    alone that did not change since. Of several statements the lowest counts."""
    known = _newest.get(_normal(domain), version)
    _newest[_normal(domain)] = min(known, version)


def _normal(domain: str | None) -> str:
    return "" if not domain or domain == "ai.onnx" else domain


def _load() -> None:
    """Import the tables, once. Later questions cost a dict lookup."""
    global _loaded, _loading
    with _lock:
        if _loaded or _loading:  # a table may ask while it loads
            return
        from importlib.metadata import entry_points

        _loading = True
        try:
            for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
                _load_table(entry)
            _loaded = True
        finally:
            _loading = False


def _load_table(entry: EntryPoint) -> None:
    try:
        entry.load()
    except Exception as error:
        raise UsageError(
            f"operator table '{entry.name}' ({entry.value}) can't be loaded: {error}",
            remedy="repair or uninstall the package that brings it",
        ) from error


# -- questions about operators -----------------------------------------------------------------------------------------


def ask(domain: str, op: str, trait: str, default: Any = None) -> Any:
    """What was declared of an operator; `default` where nothing was."""
    if not _loaded:
        _load()
    known = _traits.get((domain, op)) or _traits.get((_normal(domain), op))
    return default if known is None else known.get(trait, default)


def is_commutative(domain: str, op: str) -> bool:
    """Whether the first two operands may be exchanged.

    Numbers only: of two NaNs, or of two zeros that differ in sign, Max and Min may return either.
    """
    return bool(ask(domain, op, "commutative", False))


def is_idempotent(domain: str, op: str) -> bool:
    """Whether applying the operator to its own result changes nothing, to the bit (same attributes, same bounds)."""
    return bool(ask(domain, op, "idempotent", False))


def is_involution(domain: str, op: str) -> bool:
    """Whether applying the operator twice gives the operand back, to the bit."""
    return bool(ask(domain, op, "involution", False))


def is_selective(domain: str, op: str) -> bool:
    """Whether the operator gives x back when both operands are x, to the bit."""
    return bool(ask(domain, op, "selective", False))


def is_elementwise(domain: str, op: str) -> bool:
    """Whether each element of the result is computed from the operands' elements at its place, after broadcasting.

    Operands past the `elementwise_arity` do not broadcast (the bounds of Clip, the type of CastLike). Before operator
    set 7, broadcasting goes by the attributes `axis` and `broadcast`.
    """
    return bool(ask(domain, op, "elementwise", 0))


def elementwise_arity(domain: str, op: str) -> int:
    """How many operands of an elementwise operator broadcast: `VARIADIC` for all, 0 where it is not elementwise."""
    return int(ask(domain, op, "elementwise", 0))


# -- questions about nodes ---------------------------------------------------------------------------------------------


def is_understood(node: Node) -> bool:
    """Whether what is known of the operator holds at the node's operator set: a later one than the tables' may have
    changed it, unless the installed onnx says that it did not."""
    if not _loaded:
        _load()
    newest = _newest.get(node.domain)
    return newest is None or node.version <= newest or _is_unchanged(node.op, node.domain, node.version, newest)


@cache
def _is_unchanged(op: str, domain: str, version: int, newest: int) -> bool:
    from onnx_opt import schemas

    return version <= schemas.newest_version(domain) and 0 < schemas.since(op, domain, version) <= newest


def is_known(node: Node) -> bool:
    """Whether a table speaks of the node's operator. A call of a local function is not the operator of that name."""
    if not _loaded:
        _load()
    return (node.domain, node.op) in _traits and is_understood(node) and not _is_call(node)


def is_pure(node: Node) -> bool:
    """Whether the results are a function of operands and attributes, the same in every run.

    This is the answer for the operator itself: If, Loop and the like are as pure as their bodies, and a call of a
    local function as the function's, which the caller must walk. Dropout and BatchNormalization are pure in inference
    mode only.
    """
    answer = ask(node.domain, node.op, "pure", False)
    if not answer or _is_call(node) or not is_understood(node):
        return False
    return answer is True or bool(answer(node))


def is_removable(node: Node) -> bool:
    """Whether the node may be dropped when nobody reads its results: true of random operators, not of unknown ones."""
    return is_known(node) and bool(ask(node.domain, node.op, "removable", True))


def is_foldable(node: Node) -> bool:
    """Whether the node's results may be computed ahead of time when its operands are constants.

    False for what carries subgraphs: an If with a constant condition is inlined instead, and a Loop has no bound.
    """
    answer = _foldable_operator(node.domain, node.op)
    return (is_pure(node) if answer is None else answer) and not _is_call(node) and is_understood(node)


@cache
def _foldable_operator(domain: str, op: str) -> bool | None:
    """Whether all nodes of an operator are foldable; None where it depends on the node."""
    if not ask(domain, op, "foldable", True) or ask(domain, op, "carries_bodies", False):
        return False
    pure = ask(domain, op, "pure", False)
    return pure if isinstance(pure, bool) else None


def is_kept(node: Node) -> bool:
    """Whether the node says something to the runtime that its result as a constant would not."""
    return bool(ask(node.domain, node.op, "kept", False))


def admits(node: Node, index: int, array: Any) -> bool:
    """Whether operand `index` of the node may be a constant that holds `array`."""
    accepts: Callable[[Node, int, Any], bool] | None = ask(node.domain, node.op, "admits")
    return accepts is None or accepts(node, index, array)


def carries_bodies(node: Node) -> bool:
    """Whether the operator runs subgraphs, so that its purity is theirs."""
    return bool(ask(node.domain, node.op, "carries_bodies", False))


def identity_operand(node: Node) -> int | None:
    """The index of the operand that the node's first result equals to the bit, in every run; None if none is proven.

    The other results must have no readers, and the operand has the result's type and dimensions. Proven from facts of
    the values: the answer may change from None to an index as more is known, never back.
    """
    find: Callable[[Node], int | None] | None = ask(node.domain, node.op, "identity")
    if find is None or node.has_attribute_refs or _is_call(node) or not is_understood(node):
        return None
    if any(value.uses for value in node.outputs[1:]):
        return None
    index = find(node)
    return index if index is not None and node.input(index) is not None else None


def _is_call(node: Node) -> bool:
    graph = node.graph
    return graph is not None and bool(graph.model.functions) and graph.model.function(node) is not None

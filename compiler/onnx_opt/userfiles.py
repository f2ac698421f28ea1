"""Passes from a user's own Python file: ``my_file.py:my_pass`` in pipeline text.

The name may be that of a pass class or instance, a GraphSurgeon function ``f(graph)``, a rule, or a list of rules; the
file alone stands for all rules in it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from onnx_opt.errors import UsageError
from onnx_opt.journal import Key
from onnx_opt.passes import Pass, PassContext, nearest

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.rewrite import Rule

_SPELLING = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w+))?")
_spelled: dict[type, str] = {}


@dataclass(frozen=True)
class FunctionPass(Pass):
    """A function that changes a GraphSurgeon graph in place."""

    stage: ClassVar[str] = "final"
    name: str  # type: ignore[misc]
    function: Callable[..., Any] = field(repr=False)

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.ir.surgeon import watched

        if not context.journal.admit_key(Key(self.name, self.name, "")):
            return
        before = graph.model.revision
        with watched(graph):
            result = self.function(graph)
        if result is not None and result is not graph:
            raise TypeError("it returned another graph: change the given one in place")
        if graph.model.revision != before:
            context.applied(self.name, [])


@dataclass(frozen=True)
class RulesPass(Pass):
    """Rewrite rules, applied together to a fixpoint."""

    stage: ClassVar[str] = "final"
    name: str  # type: ignore[misc]
    rules: tuple[Rule, ...] = field(repr=False)

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.rewrite import apply_rules

        apply_rules(graph, context, self.rules)


def is_user_pass(name: str) -> bool:
    """Does this name of a pipeline text stand for something in a Python file?"""
    return _SPELLING.fullmatch(name) is not None


def load_user_pass(spelling: str) -> Pass | type[Pass]:
    """What ``my_file.py:my_pass`` names; UsageError where it cannot be had."""
    match = _SPELLING.fullmatch(spelling)
    if match is None or "\0" in spelling:
        raise UsageError(f"'{spelling}' names no Python file", remedy="write my_file.py:my_pass")
    module = _module(Path(match["file"]).resolve())
    if match["name"] is None:
        return as_pass(list(vars(module).values()), spelling, among=True)
    if not hasattr(module, match["name"]):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise UsageError(f"no '{match['name']}' in it", path=match["file"], remedy=nearest(match["name"], known))
    return as_pass(getattr(module, match["name"]), spelling)


def load_user_rules(spelling: str) -> tuple[Rule, ...]:
    """The rules that ``my_file.py`` or ``my_file.py:my_rules`` stands for; UsageError where these are none."""
    found = load_user_pass(spelling)
    if not isinstance(found, RulesPass):
        raise UsageError(f"'{spelling}' is no rule", remedy="name a rule, or a list of rules")
    return found.rules


def load_function(spelling: str) -> Callable[..., Any]:
    """The function that ``my_file.py:my_function`` names; UsageError where it cannot be had."""
    match = _SPELLING.fullmatch(spelling)
    if match is None or match["name"] is None:
        raise UsageError(f"'{spelling}' names no function", remedy="write my_file.py:my_function")
    found = getattr(_module(Path(match["file"]).resolve()), match["name"], None)
    if not callable(found):
        raise UsageError(f"no function '{match['name']}' in it", path=match["file"])
    function: Callable[..., Any] = found
    return function


def as_pass(thing: Any, spelling: str, *, among: bool = False) -> Pass | type[Pass]:
    """A pass (or pass class) for whatever a user offers as one; `among`: pick the rules out of a list of anything."""
    from onnx_opt.rewrite import Rule

    if isinstance(thing, Pass):
        return thing
    if isinstance(thing, type) and issubclass(thing, Pass):
        _spelled[thing] = spelling
        return thing
    if isinstance(thing, Rule):
        return RulesPass(spelling, (thing,))
    if isinstance(thing, Iterable) and not isinstance(thing, str):
        return _rules_pass(list(thing), spelling, among)
    if callable(thing):
        return FunctionPass(spelling, thing)
    raise UsageError(f"'{spelling}' is a {type(thing).__name__}", remedy="a pass, a function or a rule is needed")


def spelling_of(thing: Pass) -> str:
    """How pipeline text names this pass."""
    return _spelled.get(type(thing), thing.name)


def spelling_for(function: Callable[..., Any]) -> str:
    """How pipeline text would name a function: by its file, where it is at the top level of one."""
    file = inspect.getsourcefile(function) if inspect.isfunction(function) else None
    name = getattr(function, "__name__", type(function).__name__)
    return f"{file}:{name}" if file and name.isidentifier() and "<locals>" not in function.__qualname__ else name


def _rules_pass(things: list[Any], spelling: str, among: bool) -> RulesPass:
    from onnx_opt.rewrite import Rule

    rules = dict.fromkeys(thing for thing in things if isinstance(thing, Rule))
    if not rules or (len(rules) < len(things) and not among):
        raise UsageError(f"'{spelling}' holds no rules" if not rules else f"'{spelling}' holds more than rules")
    return RulesPass(spelling, tuple(rules))


@cache
def _module(path: Path) -> ModuleType:
    """The module in `path`, run once."""
    spec = spec_from_file_location(f"onnx_opt_user_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError("no such Python file", path=path)
    module = module_from_spec(spec)
    # Dataclasses look their module up by name; siblings of the file import as they would in a script.
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"cannot be imported: {type(error).__name__}: {error}", path=path) from error
    finally:
        sys.path.remove(str(path.parent))
    return module

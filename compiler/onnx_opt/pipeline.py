"""Pipelines: passes in an order, as text, as objects, and running.

fold,repeat(fuse-conv-bn-relu,layout){max=10},pad-channels{multiple=16},fp16{keep-io}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_opt.errors import UsageError
from onnx_opt.options import spell
from onnx_opt.passes import STAGES, Pass, PassContext, find_pass, nearest, registry
from onnx_opt.pipeline_text import ItemText, OptionText, PipelineError, parse, write_item
from onnx_opt.target import PORTABLE, Target
from onnx_opt.userfiles import as_pass, is_user_pass, load_user_pass, spelling_for, spelling_of

if TYPE_CHECKING:
    from onnx_opt.instrument import Instrument
    from onnx_opt.ir import Graph

REPEAT = "repeat"

# What each level runs, by the stage that a pass asked for by name joins: after what the preset has there. The final
# stage runs only behind passes that were added, because before them nothing is left to do for it.
PRESETS: Mapping[int, Mapping[str, str]] = {
    0: {},
    1: {
        "fold": "repeat(fold,cleanup)",
        "final": "repeat(fold,cleanup)",
    },
    2: {
        "fold": "repeat(fold,cleanup)",
        "fuse": "repeat(fuse-conv-bn-relu,layout,fold,cleanup)",
        "final": "repeat(fold,cleanup)",
    },
    3: {
        "fold": "repeat(fold,cleanup){max=50}",
        "fuse": "repeat(fuse-conv-bn-relu,layout,fold,cleanup){max=50}",
        "final": "repeat(fold,cleanup){max=50}",
    },
}
DEFAULT_LEVEL = 2


@dataclass(frozen=True)
class Repeat:
    """Passes that run in turn until a whole round changes nothing, or `max` rounds are over."""

    items: tuple[Item, ...]
    max: int = 10

    def __str__(self) -> str:
        options: dict[str, object] = {} if self.max == 10 else {"max": self.max}
        return write_item(REPEAT, options, group=",".join(map(spell_item, self.items)))


Item = Pass | Repeat


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order in which they run. ``str(pipeline)`` is its text, and `parse` reads it back."""

    items: tuple[Item, ...] = ()

    @staticmethod
    def parse(text: str) -> Pipeline:
        """The pipeline that `text` describes. Raises PipelineError, which says where the text is wrong."""
        return Pipeline(tuple(_item(item, text) for item in parse(text)))

    @staticmethod
    def preset(level: int) -> Pipeline:
        """What ``-O{level}`` runs."""
        return compose(level)

    @staticmethod
    def of(what: Pipeline | str | Any) -> Pipeline:
        """A pipeline from its text, a pass, a rule, a GraphSurgeon function, or a list of any of these."""
        if isinstance(what, Pipeline):
            return what
        if isinstance(what, str):
            return Pipeline.parse(what)
        things = what if isinstance(what, Iterable) else [what]
        return Pipeline(tuple(item for thing in things for item in _as_items(thing)))

    def __str__(self) -> str:
        return ",".join(map(spell_item, self.items))

    def passes(self) -> Iterator[Pass]:
        """Every pass, in order, those in repeated groups once."""
        stack: list[Item] = list(reversed(self.items))
        while stack:
            item = stack.pop()
            if isinstance(item, Repeat):
                stack.extend(reversed(item.items))
            else:
                yield item

    @property
    def exact(self) -> bool:
        """Does every pass leave every result as it was to the bit?"""
        return all(p.exact for p in self.passes())

    @property
    def finite_only(self) -> bool:
        """Whether results are only promised for values that are finite."""
        return any(p.finite_only for p in self.passes())

    @property
    def lowers_to(self) -> str:
        """The coarsest type that a pass lowers FP32 to; '' where none does."""
        found = {p.lowers_to for p in self.passes()}
        return next((name for name in ("bfloat16", "float16") if name in found), "")

    def run(self, graph: Graph, context: PassContext, instruments: Sequence[Instrument] = ()) -> None:
        """Run every pass on `graph` in place. Raises PassError where one fails, and takes back what that one did."""
        from onnx_opt.ir import gc_paused
        from onnx_opt.ir.scopes import keep_names_apart
        from onnx_opt.running import Run

        revision = graph.model.revision
        with gc_paused():
            Run(graph, context, instruments).run(self.items)
            if graph.model.revision != revision:
                keep_names_apart(graph.model)


def for_level(level: int, liberties: Collection[str] = (), target: Target = PORTABLE) -> Pipeline:
    """What ``-O{level}`` runs where these liberties are granted: passes that want some join it, and those that the
    target needs."""
    return compose(level, joining_passes(liberties, target) if level else ())


def joining_passes(liberties: Collection[str], target: Target = PORTABLE) -> list[Pass]:
    """The installed passes that join a preset: those that have rules for liberties, where some are granted, and those
    that make of a model what the target can run, where it can't run everything."""
    needed = [cls for cls in registry().passes.values() if cls.legalizes and target.is_restricted]
    return [cls() for cls in registry().passes.values() if cls.wants_liberties and liberties] + [c() for c in needed]


def compose(
    level: int,
    added: Sequence[Pass] = (),
    removed: Collection[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Pipeline:
    """The preset `level` with passes added, each in its proper place, and others taken out.

    At level 0 the result is `added` in the order given.  `settings` are option values by pass name, for every pass of
    that name in the result.
    """
    if level not in PRESETS:
        raise UsageError(f"unknown level -O{level}", remedy=f"-O0 to -O{max(PRESETS)}")
    items = list(added) if level == 0 else _with_preset(level, added)
    kept = [item for item in (_without(item, removed) for item in items) if item is not None]
    return Pipeline(tuple(_with_settings(item, settings or {}) for item in kept))


def _with_preset(level: int, added: Sequence[Pass]) -> list[Item]:
    stages = {stage: list(Pipeline.parse(PRESETS[level].get(stage, "")).items) for stage in STAGES}
    closing = stages.pop("final")
    present = {p.name for items in stages.values() for p in Pipeline(tuple(items)).passes()}
    new = [p for p in added if p.name not in present]
    for pass_ in new:
        stages.setdefault(pass_.stage, []).append(pass_)
    items: list[Item] = [item for stage in STAGES for item in stages.get(stage, ())]
    behind = STAGES.index(max(PRESETS[level].keys() - {"final"}, key=STAGES.index))
    return [*items, *closing] if any(STAGES.index(p.stage) >= behind for p in new) else items


def _without(item: Item, names: Collection[str]) -> Item | None:
    if not isinstance(item, Repeat):
        return None if item.name in names else item
    kept = tuple(i for i in (_without(inner, names) for inner in item.items) if i is not None)
    return dataclasses.replace(item, items=kept) if kept else None


def _with_settings(item: Item, settings: Mapping[str, Mapping[str, Any]]) -> Item:
    if isinstance(item, Repeat):
        return dataclasses.replace(item, items=tuple(_with_settings(inner, settings) for inner in item.items))
    return dataclasses.replace(item, **settings[item.name]) if item.name in settings else item


# -- objects -> text ------------------------------------------------------------------------------------------------


def spell_item(item: Item) -> str:
    """An item as pipeline text; options that have their default are left out."""
    if isinstance(item, Repeat):
        return str(item)
    options = {o.name: getattr(item, o.field) for o in item.declared_options()}
    defaults = {o.name: o.default for o in item.declared_options()}
    return write_item(spelling_of(item), {k: v for k, v in options.items() if spell(v) != spell(defaults[k])})


def _as_items(thing: Any) -> tuple[Item, ...]:
    if isinstance(thing, Pass | Repeat):
        return (thing,)
    if isinstance(thing, str | Pipeline):
        return Pipeline.of(thing).items
    if isinstance(thing, type) and issubclass(thing, Pass):
        return (thing(),)
    found = as_pass(thing, getattr(thing, "name", None) or spelling_for(thing))
    assert isinstance(found, Pass)
    return (found,)


# -- text -> objects ------------------------------------------------------------------------------------------------


def _item(item: ItemText, text: str) -> Item:
    if item.name == REPEAT:
        return _repeat(item, text)
    if item.group is not None:
        raise PipelineError(f"'{item.name}' takes no group: only {REPEAT}(...) does", text, item.column)
    try:
        found = load_user_pass(item.name) if is_user_pass(item.name) else find_pass(item.name)
    except UsageError as error:
        raise PipelineError(_in_file(error), text, item.column, error.remedy) from error
    return _configured(found, item, text)


def _in_file(error: UsageError) -> str:
    return f"{error.path}: {error.message}" if error.path else error.message


def _configured(found: Pass | type[Pass], item: ItemText, text: str) -> Pass:
    options = {o.name: o for o in found.declared_options()}
    values = {}
    for given in item.options:
        if given.name not in options:
            remedy = nearest(given.name, options, f"it has {', '.join(options) or 'none'}")
            raise PipelineError(f"'{item.name}' has no option '{given.name}'", text, given.column, remedy)
        values[options[given.name].field] = _value(options[given.name].read, item, given, text)
    try:
        return found(**values) if isinstance(found, type) else dataclasses.replace(found, **values)
    except ValueError as error:
        raise PipelineError(f"{item.name}: {error}", text, item.column) from error


def _repeat(item: ItemText, text: str) -> Repeat:
    if not item.group:
        raise PipelineError(f"{REPEAT} needs passes: {REPEAT}(fold,cleanup)", text, item.column)
    rounds = 10
    for given in item.options:
        if given.name != "max":
            raise PipelineError(f"'{REPEAT}' has no option '{given.name}'", text, given.column, "it has max")
        rounds = _value(_read_rounds, item, given, text)
    return Repeat(tuple(_item(inner, text) for inner in item.group), rounds)


def _read_rounds(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number of at least 1 is needed")
    return value


def _value(read: Callable[[Any], Any], item: ItemText, given: OptionText, text: str) -> Any:
    try:
        return read(given.value)
    except ValueError as error:
        raise PipelineError(f"{given.name} of '{item.name}': {error}", text, given.value_column) from error

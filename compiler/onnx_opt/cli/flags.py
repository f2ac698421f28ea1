"""Command-line flags of the passes, generated from their classes, and the pipeline that the given ones ask for.

--fold / --no-fold          adds or removes pass fold
--pad-channels 16           adds pass pad-channels and sets its primary option
--strip-op devtech::FooOp   a primary option with a flag of its own adds its pass as well
--max-fold-growth 1MiB      any other option of a pass in the pipeline
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from onnx_opt.errors import UsageError
from onnx_opt.options import Option
from onnx_opt.passes import Pass, registry
from onnx_opt.pipeline import Pipeline, compose, joining_passes
from onnx_opt.target import PORTABLE, Target

# What click gives where a flag whose value is optional stands without one.
NO_VALUE = "\0"


class PassFlag(click.Option):
    """A flag that belongs to a pass: `option` is what it sets, None where it adds or removes the pass."""

    section = "Passes"

    def __init__(self, pass_: type[Pass], option: Option | None, declarations: Sequence[str], **settings: Any) -> None:
        super().__init__(declarations, **settings)
        self.pass_ = pass_
        self.option = option

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """A flag and its opposite in one word: --[no-]fold."""
        record = super().get_help_record(ctx)
        if record is None or not self.secondary_opts:
            return record
        return f"--[no-]{self.opts[0].removeprefix('--')}", record[1]


@dataclass
class Request:
    """What the flags ask for: passes in the order of the command line, passes to leave out, option values by pass."""

    added: list[str] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def pipeline(self, level: int, liberties: Collection[str] = (), target: Target = PORTABLE) -> Pipeline:
        """The preset `level`, changed as asked; passes that want liberties join where some are granted, and those that
        the target needs.

        Raises UsageError for an option of a pass that does not run.
        """
        passes = registry().passes
        added = [_create(passes[name], self.settings.get(name, {})) for name in self.added]
        if level:
            joining = joining_passes(liberties, target)
            added += [pass_ for pass_ in joining if pass_.name not in {*self.added, *self.removed}]
        try:
            result = compose(level, added, self.removed, self.settings)
        except ValueError as error:  # a pass refused a combination of its options
            raise UsageError(str(error)) from error
        running = {p.name for p in result.passes()}
        for name, values in self.settings.items():
            if name not in running:
                flag = next(o.flag for o in passes[name].declared_options() if o.field in values)
                raise UsageError(f"{flag} has no effect: the pipeline has no pass '{name}'", remedy=f"add --{name}")
        return result


def pass_flags(taken: Iterable[str]) -> tuple[list[PassFlag], list[str]]:
    """The flags of all installed passes, and a line on each that had to be left out because its name is `taken`."""
    used = set(taken)
    flags: list[PassFlag] = []
    problems: list[str] = []
    for pass_ in registry().passes.values():
        for flag in _flags_of(pass_):
            names = {*flag.opts, *flag.secondary_opts}
            if names & used:
                problems.append(f"pass '{pass_.name}': flag {min(names & used)} is taken; use --passes to set it")
                continue
            used |= names
            flags.append(flag)
    return flags, problems


def read_request(order: Sequence[click.Parameter], values: Mapping[str, Any]) -> Request:
    """What the pass flags ask for; `order` has a parameter each time it was given, `values` what click made of it."""
    request = Request()
    for flag in order:
        if not isinstance(flag, PassFlag):
            continue
        value = values[flag.name or ""]
        name = flag.pass_.name
        request.flags.append(flag.opts[0])
        if value is False and flag.option is None:
            request.removed.add(name)
            request.added = [other for other in request.added if other != name]
            continue
        if flag.option is not None and value != (NO_VALUE,):
            request.settings.setdefault(name, {})[flag.option.field] = _read(flag, flag.option, value)
        repeated = request.added[-1:] == [name] or (flag.option is not None and name in request.added)
        if (flag.option is None or flag.option.primary) and not repeated:
            request.added.append(name)
            request.removed.discard(name)
    return request


def _flags_of(pass_: type[Pass]) -> list[PassFlag]:
    options = pass_.declared_options()
    primary = next((o for o in options if o.primary and not o.own_flag), None)
    flags = [_valued_toggle(pass_, primary), _removal(pass_)] if primary else [_toggle(pass_)]
    return flags + [_setting(pass_, option) for option in options if option is not primary]


def _dest(*parts: str) -> str:
    return "_".join(("pass", *parts)).replace("-", "_")


def _toggle(pass_: type[Pass]) -> PassFlag:
    name = pass_.name
    return PassFlag(pass_, None, [_dest(name), f"--{name}/--no-{name}"], default=None, help=pass_.summary())


def _valued_toggle(pass_: type[Pass], primary: Option) -> PassFlag:
    return PassFlag(
        pass_,
        primary,
        [_dest(pass_.name), f"--{pass_.name}"],
        is_flag=False,
        flag_value=NO_VALUE,
        multiple=True,
        metavar=f"[{primary.metavar}]",
        help=pass_.summary(),
    )


def _removal(pass_: type[Pass]) -> PassFlag:
    declarations = [_dest("no", pass_.name), f"--no-{pass_.name}"]
    return PassFlag(
        pass_, None, declarations, flag_value=False, is_flag=True, default=None, hidden=True, type=click.BOOL
    )


def _setting(pass_: type[Pass], option: Option) -> PassFlag:
    name, help_ = _dest(pass_.name, option.name), _with_default(option)
    if option.is_bool:
        off = f"--no-{option.flag.removeprefix('--')}"
        return PassFlag(pass_, option, [name, f"{option.flag}/{off}"], default=None, help=help_)
    return PassFlag(pass_, option, [name, option.flag], multiple=True, metavar=option.metavar, help=help_)


def _with_default(option: Option) -> str:
    shown = None if option.default in (None, (), "", False) else str(option.default)
    return f"{option.help}  [{shown}]" if shown else option.help


def _read(flag: PassFlag, option: Option, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    try:
        return option.read_text(tuple(text for text in value if text != NO_VALUE))
    except ValueError as error:
        raise UsageError(f"{flag.opts[0]} {' '.join(value)}: {error}") from error


def _create(pass_: type[Pass], settings: Mapping[str, Any]) -> Pass:
    try:
        return pass_(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--{pass_.name}: {error}") from error


def words_of(
    order: Sequence[click.Parameter], values: Mapping[str, Any], wanted: Callable[[click.Parameter], bool]
) -> list[str]:
    """The given options again as words of a command line: those of `order`, in which `values` have been read."""
    words: list[str] = []
    for param in dict.fromkeys(order):
        if not isinstance(param, click.Option) or not param.expose_value or not wanted(param):
            continue
        value = values[param.name or ""]
        name = param.opts[-1]
        if isinstance(value, bool):
            off = param.secondary_opts[:1] or (
                [name] if isinstance(param, PassFlag) and param.flag_value is False else []
            )
            words += [name] if value else off
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words.append(name if each == NO_VALUE else f"{name}={each}" if name.startswith("--") else f"{name}{each}")
    return words

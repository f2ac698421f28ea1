"""The rules that there are: every `Rule` in the modules of the packages that bring operator tables or passes."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module, metadata
from types import ModuleType

from onnx_opt.errors import UsageError
from onnx_opt.passes import ENTRY_POINTS as PASSES
from onnx_opt.rewrite.rule import Rule
from onnx_opt.traits import GROUP as TABLES


def installed_packages() -> list[str]:
    """The top-level packages that the entry points for operator tables and passes lead to."""
    points = [*metadata.entry_points(group=TABLES), *metadata.entry_points(group=PASSES)]
    return sorted({point.module.partition(".")[0] for point in points})


def find_rules(packages: Iterable[str | ModuleType] | None = None) -> dict[str, Rule]:
    """The rules in all modules of `packages` (the installed ones by default), by name.

    Raises `UsageError` for a module that can't be imported, and for two rules of one name.
    """
    found: dict[str, tuple[Rule, str]] = {}
    for package in installed_packages() if packages is None else packages:
        for module in _modules(_import(package) if isinstance(package, str) else package):
            for rule in _rules_in(module):
                known, home = found.setdefault(rule.name, (rule, module.__name__))
                if known is not rule:
                    raise UsageError(f"two rules are called '{rule.name}', in {home} and in {module.__name__}")
    return {name: found[name][0] for name in sorted(found)}


def load_rules(spelling: str) -> dict[str, Rule]:
    """The rules of a user's own: ``my_rules.py``, ``my_rules.py:one_of_them``, or the name of a module or package.

    Samplers that the file declares count from then on. Raises `UsageError` where there is no rule to be had.
    """
    from onnx_opt.userfiles import is_user_pass, load_user_rules

    if is_user_pass(spelling):
        rules: Iterable[Rule] = load_user_rules(spelling)
        return _by_name(rules, spelling)
    found = find_rules([spelling])
    if not found:
        raise UsageError(f"module '{spelling}' holds no rules")
    return found


def _by_name(rules: Iterable[Rule], home: str) -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for rule in rules:
        if found.setdefault(rule.name, rule) is not rule:
            raise UsageError(f"two rules are called '{rule.name}'", path=home)
    return {name: found[name] for name in sorted(found)}


def _rules_in(module: ModuleType) -> list[Rule]:
    """Rules that a module names, in lists and tuples too."""
    rules: dict[int, Rule] = {}
    for item in vars(module).values():
        for inner in item if isinstance(item, list | tuple) else (item,):
            if isinstance(inner, Rule):
                rules[id(inner)] = inner
    return list(rules.values())


def _modules(package: ModuleType) -> list[ModuleType]:
    path = getattr(package, "__path__", None)
    if path is None:
        return [package]
    listed = pkgutil.walk_packages(path, f"{package.__name__}.")
    return [package, *(_import(info.name) for info in listed if not info.name.endswith("__main__"))]


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # a third party's module may fail in any way
        raise UsageError(f"cannot load the rules of {name}: {type(error).__name__}: {error}") from error

"""The outputs that a project file asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from onnx_opt.builds.config.project import OF_MODEL, Project
from onnx_opt.builds.config.settings import Flags, Layer, Setting, stack
from onnx_opt.builds.steps import Compiler, Step
from onnx_opt.errors import OnnxOptError, UsageError
from onnx_opt.passes import nearest


@dataclass(frozen=True)
class Variant:
    """One of the outputs of a model: with one of its profiles, for one of its targets."""

    model: str
    profile: str = ""
    target: str = ""

    @property
    def name(self) -> str:
        return ":".join(part for part in (self.model, self.profile, self.target) if part)

    def fill(self, text: str, path: str) -> str:
        """`text` with the names in braces replaced."""
        found = {"name": self.model, "stem": Path(path).stem, "profile": self.profile, "target": self.target}
        for key, value in found.items():
            text = text.replace("{" + key + "}", value)
        return text

    def default_output(self, path: str) -> str:
        parts = [Path(path).stem, *(part for part in (self.profile, self.target) if part), "opt", "onnx"]
        return str(Path(path).with_name(".".join(parts)))


@dataclass(frozen=True)
class Plan:
    """`over` are the settings of the command line, which hold above those of the file."""

    project: Project
    compiler: Compiler
    over: Layer

    def steps(self, names: Sequence[str] = ()) -> list[Step]:
        """The outputs to be made: all of them, or those of the models, or variants, that are named. Raises UsageError
        where the file is wrong in any place."""
        steps = list(self._all())
        self._check_outputs(steps)
        chosen = [step for step in steps if not names or step.name in names or step.name.partition(":")[0] in names]
        for name in names:
            if not any(name in (step.name, step.name.partition(":")[0]) for step in steps):
                remedy = nearest(name, [step.name for step in steps])
                raise UsageError(f"no model '{name}'", path=self.project.path, remedy=remedy)
        return chosen

    def _all(self) -> Iterator[Step]:
        flags = Flags(self.compiler.command.params)
        project = self.project
        base = self._layer(flags, "defaults")
        profiles = {name: self._layer(flags, "profiles", name) for name in project.table("profiles")}
        for model in project.table("models"):
            own = self._layer(flags, "models", model)
            for variant in self._variants(model):
                layers = [base]
                if variant.profile:
                    project.check_key(variant.profile, profiles, "models", model, "profiles")
                    layers.append(profiles[variant.profile])
                layers.append(own)
                if variant.target:
                    where = project.where("models", model, "targets")
                    layers.append({"target": Setting(variant.target, where)})
                yield self._step(variant, stack([*layers, self.over], flags), flags)

    def _variants(self, model: str) -> Iterator[Variant]:
        for profile in self.project.names("models", model, "profiles") or [""]:
            for target in self.project.names("models", model, "targets") or [""]:
                yield Variant(model, profile, target)

    def _layer(self, flags: Flags, *table: str) -> dict[str, Setting]:
        """The settings of a table."""
        project, found = self.project, {}
        of_model = OF_MODEL if table[0] == "models" else ()
        for key, value in project.table(*table).items():
            if key in of_model:
                continue
            if key not in flags:
                project.check_key(key, (*flags.keys(), *of_model), *table)
            where = project.where(*table, key)
            try:
                list(flags.words(key, value))
            except ValueError as error:
                raise UsageError(f"{key}: {error}", path=where) from error
            found[key] = Setting(value, where)
        return found

    def _step(self, variant: Variant, settings: Mapping[str, Setting], flags: Flags) -> Step:
        table = ("models", variant.model)
        model = self.project.text(*table, "model")
        words: list[str] = []
        for key, setting in settings.items():
            words += self._words(flags, key, setting.value, variant, model)
        given = self.project.table(*table).get("output")
        output = self.project.text(*table, "output") if given is not None else variant.default_output(model)
        step = Step(variant.name, model, Path(variant.fill(output, model)), tuple(words), self.compiler)
        self._check(step, settings, flags, variant)
        return step

    def _words(self, flags: Flags, key: str, value: Any, variant: Variant, model: str) -> list[str]:
        if key == "passes" and isinstance(value, str):
            value = self.project.table("pipelines").get(value, value)
        words = list(flags.words(key, value))
        return [variant.fill(word, model) for word in words] if flags.is_path(key) else words

    def _check(self, step: Step, settings: Mapping[str, Setting], flags: Flags, variant: Variant) -> None:
        """Raise UsageError where the words say nothing sensible, and name the line that is to blame."""
        whole = self._problem(step)
        if whole is None:
            return
        for key, setting in settings.items():
            alone = self._words(flags, key, setting.value, variant, step.model)
            found = self._problem(Step(step.name, step.model, step.output, tuple(alone), self.compiler))
            if found is not None and str(found) == str(whole):
                raise UsageError(f"{key}: {found}", path=setting.where)
        raise UsageError(str(whole), path=self.project.where("models", variant.model))

    def _problem(self, step: Step) -> str | None:
        try:
            _ = step.request
        except click.UsageError as error:
            return error.format_message()
        except OnnxOptError as error:
            return str(error)
        return None

    def _check_outputs(self, steps: Sequence[Step]) -> None:
        made: dict[Path, Step] = {}
        for step in steps:
            other = made.setdefault(step.output.absolute(), step)
            if other is not step:
                remedy = "write {name}, {profile} or {target} into 'output'"
                raise self._at(step, f"'{other.name}' and '{step.name}' both write {step.output}", remedy)
        for step in steps:
            source = made.get(Path(step.model).absolute())
            if source is not None:
                remedy = "write one pipeline for both"
                raise self._at(step, f"the model of '{step.name}' is the output of '{source.name}'", remedy)

    def _at(self, step: Step, message: str, remedy: str) -> UsageError:
        return self.project.error(message, "models", step.name.partition(":")[0], remedy=remedy)

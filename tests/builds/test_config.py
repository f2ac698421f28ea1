"""The project file: what it means, and what is said where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import Outcome, run
from onnx_opt.builds.config.plan import Plan
from onnx_opt.builds.config.project import Project
from onnx_opt.builds.config.settings import Setting
from onnx_opt.builds.steps import Step
from onnx_opt.cli import many
from onnx_opt.errors import UsageError


def steps(folder: Path, text: str, **over: object) -> dict[str, Step]:
    """The outputs that a project file asks for, by name."""
    (folder / "onnx-opt.toml").write_text(text)
    layer = {key.replace("_", "-"): Setting(value, f"--{key}") for key, value in over.items()}
    found = Plan(Project.find(None, folder), many.compiler(), layer).steps()
    return {step.name: step for step in found}


def words(folder: Path, text: str, **over: object) -> list[str]:
    """The flags for model `m`, whose settings are `text`."""
    return list(steps(folder, f'[models.m]\nmodel = "m.onnx"\n{text}', **over)["m"].words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fp16 = true", ["--fp16"]),
        ("fold = false", ["--no-fold"]),
        ("no-validate = true", ["--no-validate"]),
        ("no-validate = false", []),
        ("level = 3", ["-O3"]),
        ("pad-channels = 8", ["--pad-channels=8"]),
        ("pad-channels = true", ["--pad-channels"]),
        ("pad-channels = false", ["--no-pad-channels"]),
        ('strip-op = ["a::B", "c::D"]', ["--strip-op=a::B", "--strip-op=c::D"]),
        ("dim = {batch = 1, seq = [1, 64]}", ["--dim=batch=1", "--dim=seq=1:64"]),
        ('dim = "n=1:"', ["--dim=n=1:"]),
        ("shape = {x = [1, 3, 224, 224]}", ["--shape=x=1x3x224x224"]),
        ("tolerance = 1e-3", ["--tolerance=0.001"]),
        ("tolerance = {float32 = 1e-4, float16 = 0.01}", ["--tolerance=float32=0.0001,float16=0.01"]),
        ("fast-math = true", ["--fast-math"]),
        ('fast-math = ["no-nans", "no-infs"]', ["--fast-math=no-nans,no-infs"]),
        ("seed = -1", ["--seed=-1"]),
        ('report-json = "{name}.json"', ["--report-json=m.json"]),
        ('passes = "fold"', ["--passes=fold"]),
    ],
)
def test_a_key_is_a_flag(text: str, expected: list[str], tmp_path: Path) -> None:
    assert words(tmp_path, text) == expected


def test_defaults_profiles_models_and_the_command_line_lie_upon_each_other(tmp_path: Path) -> None:
    text = """
        [defaults]
        samples = 2
        seed = 1
        fold = false
        [profiles.edge]
        seed = 2
        target = "ort-cpu"
        [models.a]
        model = "in/a.onnx"
        profiles = ["edge"]
        seed = 3
        [models.b]
        model = "in/b.onnx"
    """
    found = steps(tmp_path, text, samples=4)
    assert found["a:edge"].words == ("--samples=4", "--seed=3", "--no-fold", "--target=ort-cpu")
    assert found["b"].words == ("--samples=4", "--seed=1", "--no-fold")
    assert steps(tmp_path, text, fold=True)["b"].words == ("--samples=2", "--seed=1", "--fold")


def test_a_pipeline_replaces_presets_and_passes_below_it_and_a_preset_a_pipeline(tmp_path: Path) -> None:
    named = '[pipelines]\nmine = "fold,cleanup"\n[defaults]\nlevel = 3\nfold = false\n'
    found = steps(tmp_path, f'{named}[models.m]\nmodel = "m.onnx"\npasses = "mine"')
    assert found["m"].words == ("--passes=fold,cleanup",)
    assert words(tmp_path, 'passes = "fold"\nseed = 1', level=1) == ["--seed=1", "-O1"]
    assert words(tmp_path, "pad-channels = 8", **{"no-pad-channels": True}) == ["--no-pad-channels"]


def test_an_output_for_each_profile_and_target(tmp_path: Path) -> None:
    text = """
        [profiles.half]
        fp16 = true
        [profiles.full]
        [models.m]
        model = "in/m.onnx"
        profiles = ["half", "full"]
        targets = ["portable", "tensorrt"]
    """
    found = {name: str(step.output) for name, step in steps(tmp_path, text).items()}
    assert found == {
        "m:half:portable": "in/m.half.portable.opt.onnx",
        "m:half:tensorrt": "in/m.half.tensorrt.opt.onnx",
        "m:full:portable": "in/m.full.portable.opt.onnx",
        "m:full:tensorrt": "in/m.full.tensorrt.opt.onnx",
    }
    named = text + '\noutput = "out/{target}/{profile}-{stem}-{name}.onnx"'
    assert str(steps(tmp_path, named)["m:full:tensorrt"].output) == "out/tensorrt/full-m-m.onnx"
    with pytest.raises(UsageError, match=r"onnx-opt.toml:5: 'm:half:portable' and 'm:half:tensorrt' both write m.onnx"):
        steps(tmp_path, text + '\noutput = "m.onnx"')


def test_a_table_of_pyproject_in_a_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\n[tool.onnx-opt.models.m]\nmodel = "m.onnx"\nsede = 1\n'
    )
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    run("build", "--list").fails(2, "pyproject.toml:5: unknown key 'sede' in [tool.onnx-opt.models.m]", "'seed'")


def wrong(folder: Path, text: str) -> Outcome:
    (folder / "onnx-opt.toml").write_text(text)
    return run("build", "--config", folder / "onnx-opt.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model.m]\n", "onnx-opt.toml:1: unknown key 'model' (did you mean 'models'?)"),
        ("jobs = 1\n[models.m]\nmodel = 'm.onnx'\ntagret = 'x'", ":4: unknown key 'tagret' in [models.m] (did you mean 'target'"),
        ("[defaults]\nmodel = 'm.onnx'", ":2: unknown key 'model' in [defaults]"),
        ("[profiles.p]\n'fp_16' = true", ":2: unknown key 'fp_16' in [profiles.p] (did you mean 'fp16'"),
        ("[defaults]\noutput = 'x'", ":2: unknown key 'output'"),
        ("[models.m]\nmodel = 'm.onnx'\nprofiles = ['egde']\n[profiles.edge]", ":3: unknown key 'egde'"),
        ("[models.m]\nmodel = 'm.onnx'\n\ntarget = 'gpu'", ":4: target: Invalid value for '--target'"),
        ("[models.m]\nmodel = 'm.onnx'\nsamples = 0", ":3: samples: Invalid value"),
        ("[models.m]\nmodel = 'm.onnx'\nfp16 = 1", ":3: fp16: true or false is needed"),
        ("[models.m]\nmodel = 'm.onnx'\nseed = true", ":3: seed: it needs a value"),
        ("[models.m]\nmodel = 'm.onnx'\ndim = {n = [true]}", ":3: dim: text or a number is needed"),
        ("[models.m]\nmodel = 'm.onnx'\ndim = {n = 'x'}", ":3: dim: --dim n=x: not a dim"),
        ("[models.m]\nmodel = 'm.onnx'\npasses = 'fold,foldd'", ":3: passes: "),
        ("[models.m]\nmodel = 'm.onnx'\npasses = 'fold'\nlevel = 1", ":1: --passes replaces -O1"),
        ("[models.m]\nseed = 1", ":1: 'model' needs text"),
        ("[models.m]\nmodel = 'm.onnx'\ntargets = 'tensorrt'", ":3: 'targets' needs a list of names"),
        ("[models]\nm = 'm.onnx'", ":2: 'm' is a table (write [models.m])"),
        ("[models.a]\nmodel = 'a.onnx'\n[models.b]\nmodel = 'a.opt.onnx'", ":3: the model of 'b' is the output of 'a'"),
        ("jobs = 'all'", ":1: 'jobs' needs a whole number"),
        ("[models.m\n", "it is no TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    wrong(tmp_path, text).fails(2, message)


def test_no_file_and_no_such_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("build").fails(2, "there is no onnx-opt.toml here or above")
    (tmp_path / "onnx-opt.toml").write_text('[models.detector]\nmodel = "m.onnx"\n')
    run("build", "detecter").fails(2, "no model 'detecter'", "did you mean 'detector'")

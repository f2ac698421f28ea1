"""Results that are kept: when one is taken, when not, and that it is the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from command import Outcome, run, start
from onnx_opt.builds.cache import Cache

from .conftest import CONVOLUTION, write, write_external


def make(model: Path, output: Path, *flags: object) -> tuple[Outcome, bool]:
    """Run with the cache; whether the result came from it."""
    outcome = run(model, "-o", output, "--json", "--cache", *flags)
    assert outcome.code == 0, outcome.err
    return outcome, json.loads(outcome.out)["cached"]


def is_hit(model: Path, output: Path, *flags: object) -> bool:
    return make(model, output, *flags)[1]


def files(cache: Path, name: str) -> list[Path]:
    return list(cache.glob(f"v1/??/*/{name}"))


def test_the_second_run_takes_the_first_ones_result(model: Path, tmp_path: Path) -> None:
    first, was_hit = make(model, tmp_path / "a.onnx")
    second, is_now = make(model, tmp_path / "b.onnx")
    assert (was_hit, is_now) == (False, True)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    run(model, "-o", tmp_path / "c.onnx", "-q")
    assert (tmp_path / "c.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()
    one, other = (json.loads(outcome.out) for outcome in (first, second))
    assert {**one, "output": "", "cached": True} == {**other, "output": ""}


def test_a_hit_shows_the_tables_of_the_run(model: Path, tmp_path: Path) -> None:
    shown = [run(model, "-o", tmp_path / "a.onnx", "--cache").out for _ in range(2)]
    assert "BatchNormalization" in shown[0]
    assert shown[1] == shown[0].replace("a.onnx\n", "a.onnx (from the cache)\n")


def test_nothing_is_kept_unless_asked(model: Path, cache: Path) -> None:
    run(model, "-q")
    assert not cache.exists()


def test_a_copy_of_the_model_elsewhere_is_the_same_model(model: Path, tmp_path: Path) -> None:
    make(model, tmp_path / "a.onnx")
    (tmp_path / "other").mkdir()
    copy = shutil.copy(model, tmp_path / "other" / "name.onnx")
    assert is_hit(Path(copy), tmp_path / "other" / "b.onnx", "--jobs", 1)


@pytest.mark.parametrize(
    "flags",
    [["-O1"], ["--seed", "1"], ["--tolerance", "1e-3"], ["--fast-math"], ["--metadata"], ["--target", "ort-cpu"],
     ["--samples", "2"], ["--no-validate"], ["--shape", "x=1x2x5x5"], ["--passes", "fold"], ["--strict"]],
    ids=" ".join,
)  # fmt: skip
def test_every_flag_that_can_change_the_result_counts(flags: list[str], model: Path, tmp_path: Path) -> None:
    make(model, tmp_path / "a.onnx")
    assert not is_hit(model, tmp_path / "a.onnx", *flags)
    assert is_hit(model, tmp_path / "a.onnx", *flags)


def test_another_model_is_another_result(model: Path, tmp_path: Path) -> None:
    make(model, tmp_path / "a.onnx")
    write(model, CONVOLUTION.replace("-2.0", "-3.0"))
    assert not is_hit(model, tmp_path / "a.onnx")


def test_external_data_is_part_of_the_model(external: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "a.onnx"
    assert not is_hit(external, output)
    made = output.read_bytes(), output.with_name("a.onnx.data").read_bytes()
    assert is_hit(external, output), "replaces model and data"
    assert (output.read_bytes(), output.with_name("a.onnx.data").read_bytes()) == made
    shutil.rmtree(output.parent)
    output.parent.mkdir()
    assert is_hit(external, output), "where nothing is there yet"
    assert (output.read_bytes(), output.with_name("a.onnx.data").read_bytes()) == made
    write_external(external, "weights.bin", 3.0)
    assert not is_hit(external, output)
    assert output.with_name("a.onnx.data").read_bytes() != made[1]
    write_external(external, "weights.bin", 2.0)
    assert is_hit(external, output), "replaces other data"
    assert (output.read_bytes(), output.with_name("a.onnx.data").read_bytes()) == made
    assert not is_hit(external, output.with_name("b.onnx")), "its data is named after the output"


def test_a_hit_does_not_overwrite_the_inputs_data(external: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make(external, tmp_path / "out" / "weights.bin")
    run(external, "-o", tmp_path / "weights.bin", "--cache").fails(2, "external data of the input")


def test_the_users_own_code_counts_with_what_it_imports(model: Path, tmp_path: Path) -> None:
    rules = tmp_path / "cached_rules.py"
    rules.write_text("import cached_helper\ndef nothing(graph):\n    pass\n")
    (tmp_path / "cached_helper.py").write_text("")
    flags = ("--passes", f"fold,{rules}:nothing")
    assert not is_hit(model, tmp_path / "a.onnx", *flags)
    assert is_hit(model, tmp_path / "a.onnx", *flags)
    (tmp_path / "cached_helper.py").write_text("# changed\n")
    assert not is_hit(model, tmp_path / "a.onnx", *flags)
    rules.write_text(rules.read_text() + "# changed\n")
    assert not is_hit(model, tmp_path / "a.onnx", *flags)


def test_the_data_to_compare_on_counts(model: Path, tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "data").mkdir()
    for value in (1, 2):
        np.save(tmp_path / "data" / "x.npy", np.full((1, 2, 5, 5), value, np.float32))
        assert not is_hit(model, tmp_path / "a.onnx", "--data", tmp_path / "data")
        assert is_hit(model, tmp_path / "a.onnx", "--data", tmp_path / "data")


def test_other_versions_are_another_result(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_opt.builds import key
    from onnx_opt.builds.tools import tools

    make(model, tmp_path / "a.onnx")
    assert {"onnx", "numpy", "onnx-opt", "python", "onnx_opt_passes (source)"} <= tools().keys()
    assert any(name.startswith("onnxruntime") for name in tools())
    monkeypatch.setattr(key, "tools", lambda: {**tools(), "onnx": "99"})
    assert not is_hit(model, tmp_path / "a.onnx")


def test_what_only_a_run_can_show_is_run(model: Path, tmp_path: Path) -> None:
    make(model, tmp_path / "a.onnx")
    assert not is_hit(model, tmp_path / "a.onnx", "--explain", "norm")
    assert not is_hit(model, tmp_path / "a.onnx", "--reproducer", tmp_path / "wrong")


def test_a_failure_is_not_kept(model: Path, tmp_path: Path, cache: Path) -> None:
    model.write_bytes(model.read_bytes()[:-10])
    assert run(model, "-o", tmp_path / "a.onnx", "--cache").code == 2
    assert run(tmp_path / "none.onnx", "-o", tmp_path / "a.onnx", "--cache").code == 2
    assert not files(cache, "entry.json")


@pytest.mark.parametrize("damage", ["flipped", "shortened", "removed", "record", "record cut"])
def test_a_damaged_entry_is_noticed_and_made_again(damage: str, model: Path, tmp_path: Path, cache: Path) -> None:
    make(model, tmp_path / "a.onnx")
    good = (tmp_path / "a.onnx").read_bytes()
    (entry,) = files(cache, "entry.json")
    kept = entry.with_name("a.onnx")
    if damage == "flipped":
        kept.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "shortened":
        kept.write_bytes(good[:-1])
    elif damage == "removed":
        kept.unlink()
    elif damage == "record":
        entry.write_text(entry.read_text().replace("proven", "broken"))
    else:
        entry.write_text(entry.read_text()[:-20])
    assert not is_hit(model, tmp_path / "b.onnx")
    assert (tmp_path / "b.onnx").read_bytes() == good
    assert is_hit(model, tmp_path / "c.onnx")
    assert (tmp_path / "c.onnx").read_bytes() == good


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    kept = Cache(cache, limit=3900)
    for index, key in enumerate(("aa", "ab", "ba")):
        kept.add(key, [tmp_path / "file"], {})
        os.utime(cache / "v1" / key[:2] / key / "entry.json", (index, index))
    assert kept.find("aa") is not None
    kept.add("bb", [tmp_path / "file"], {})
    assert [key for key in ("aa", "ab", "ba", "bb") if kept.find(key)] == ["aa", "ba", "bb"]
    assert kept.stats().size <= 3900
    kept.add("cc", [tmp_path / "file"] * 4, {})
    assert kept.find("cc") is None, "larger than all that is kept"


def test_stats_and_clear(model: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0 results" in run("cache", "stats").out
    make(model, tmp_path / "a.onnx")
    stats = json.loads(run("cache", "stats", "--json").out)
    assert stats["folder"] == str(cache)
    assert stats["entries"] == 1
    assert stats["size"] > (tmp_path / "a.onnx").stat().st_size
    assert "removed 1 results" in run("cache", "clear").out
    assert not is_hit(model, tmp_path / "a.onnx")
    monkeypatch.setenv("ONNX_OPT_CACHE_SIZE", "many")
    run("cache", "stats").fails(2, "ONNX_OPT_CACHE_SIZE")


def test_a_cache_that_cannot_be_written_is_no_failure(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("ONNX_OPT_CACHE", str(tmp_path / "no folder"))
    outcome = run(model, "-o", tmp_path / "a.onnx", "--cache", "-q")
    assert outcome.code == 0
    assert "could not be kept" in outcome.err
    assert (tmp_path / "a.onnx").exists()


def test_two_processes_at_once_on_one_cache_and_one_output(model: Path, tmp_path: Path, cache: Path) -> None:
    run(model, "-o", tmp_path / "alone.onnx", "-q")
    other = write(tmp_path / "other.onnx", CONVOLUTION.replace("-2.0", "-3.0"))
    output = tmp_path / "a.onnx"
    flags = ("-o", output, "--cache", "--json")
    both = [start(each, *flags) for each in (model, model, other)]
    reports = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0]
    assert [report["status"] for report in reports] == ["proven"] * 3
    assert sorted(report["cached"] for report in reports[:2]) == [False, True], "one of the two waits for the other"
    for each, expected in ((model, tmp_path / "alone.onnx"), (other, None)):
        assert is_hit(each, output)
        assert expected is None or output.read_bytes() == expected.read_bytes()
    assert len(files(cache, "entry.json")) == 2
    assert not list((cache / "locks").glob("*"))

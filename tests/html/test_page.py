"""The page: it holds everything, loads nothing, says the same each time, and no name in a model is code in it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import onnx_opt
from command import run
from hostile_names import HOSTILE, MODEL, hostile_model
from onnx_opt.html import collect, render
from onnx_text import parse


def embedded(page: str) -> dict[str, Any]:
    """The data in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_hostile_names_stay_data() -> None:
    result = onnx_opt.optimize(hostile_model(), "cleanup,layout,cleanup", validate=False)
    data = collect(result, command=f"onnx-opt {HOSTILE[0]}")
    page = render(data)
    assert embedded(page) == json.loads(json.dumps(data)), "what was embedded is what was collected"
    assert HOSTILE[0] in data["texts"]
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "<img" not in page and "\u2028" not in page
    assert page.count("{{script}}") == page.count('{{script}}"'), "a name is no place of the template"


def test_the_policy_lets_the_page_load_nothing_and_run_nothing_else() -> None:
    page = render(collect(onnx_opt.optimize(parse(MODEL), validate=False)))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert links == ["data:,"]


def test_the_command_writes_it_with_what_is_needed_to_do_it_again(tmp_path: Path) -> None:
    model, output, report = tmp_path / "m.onnx", tmp_path / "o.onnx", tmp_path / "r.html"
    onnx.save(parse(MODEL), model)
    done = run(model, "-o", output, "--report", report, "-q")
    assert done.code == 0, done.err
    data = embedded(report.read_text())
    again = data["reproduce"]
    assert again["command"] == f"onnx-opt {model} -o {output} --report {report} -q"
    assert [(role, name) for role, name, _, _ in again["hashes"]] == [("input", str(model)), ("output", str(output))]
    assert again["hashes"][1][3] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert again["versions"]["onnx"] == onnx.__version__
    assert data["report"]["status"] == "proven"
    assert data["sizes"]["n"] > 1, "figures are given at the sizes of the proof"


def test_it_is_the_same_each_time_but_for_the_times() -> None:
    def page() -> str:
        data = collect(onnx_opt.optimize(parse(MODEL), validate=False), "onnx-opt m.onnx")
        data["report"]["seconds"] = {}
        for each in data["report"]["passes"]:
            each["seconds"] = 0
        return render(data)

    assert page() == page()


def test_external_data_is_hashed_as_well(tmp_path: Path) -> None:
    model = parse("g (float[4] x) => (float[4] y) {y = Add(x, w)}")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    data = collect(onnx_opt.optimize(tmp_path / "m.onnx", validate=False))
    assert [Path(name).name for _, name, _, _ in data["reproduce"]["hashes"]] == ["m.onnx", "m.data"]


def test_an_output_that_is_no_model_is_hashed_by_itself(tmp_path: Path) -> None:
    (tmp_path / "m.engine").write_bytes(b"\x00engine")
    data = collect(onnx_opt.optimize(parse(MODEL), validate=False), output=tmp_path / "m.engine")
    assert [(role, size) for role, _, size, _ in data["reproduce"]["hashes"]][1] == ("output", 7)


def test_what_passes_report_and_measure_is_in_it_without_anything_made_for_it() -> None:
    from onnx_opt.journal import Table

    result = onnx_opt.optimize(parse(MODEL), validate=False)
    result.report.tables["new table"] = Table(["layer", "engine"], [["conv", "7"]])
    result.report.measured["new-pass"] = {"samples": 3, "layers": [{"node": "a", "error": float("inf")}]}
    data = embedded(render(collect(result)))
    assert data["report"]["tables"]["new table"]["rows"] == [["conv", "7"]]
    assert data["report"]["measured"]["new-pass"]["layers"] == [{"node": "a", "error": "inf"}]


def test_what_was_left_alone_is_told_with_the_reason() -> None:
    text = "g (float[2,3] x) => (float[3,2] y, float[3,2] z) {y = Transpose <perm = [1, 0]> (x)\n z = Exp(y)}"
    data = collect(onnx_opt.optimize(parse(text), "layout", validate=False))
    assert data["declines"], "the Transpose has to stay, and the layout pass says why"
    reason, _, pass_name, times = data["declines"][0]
    assert reason and (pass_name, times) == ("layout", 1)


def test_each_rewrite_leads_to_its_region() -> None:
    data = collect(onnx_opt.optimize(parse(MODEL), "layout,cleanup", validate=False))
    texts = data["texts"]
    (region,) = data["regions"]
    assert (texts[region[0]], region[1], region[2]) == ("2 Transpose → nothing", [0, 1], [])
    assert {row[6] for row in data["rewrites"] if texts[row[2]] in "ab"} == {0}


def test_a_place_where_nothing_can_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    onnx.save(parse(MODEL), tmp_path / "m.onnx")
    run(tmp_path / "m.onnx", "--report", tmp_path / "no" / "r.html").fails(2, "r.html", "no folder")
    run(tmp_path / "m.onnx", "--report-json", tmp_path).fails(2, "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_report_takes_no_other_files_place(tmp_path: Path) -> None:
    model, output, report = tmp_path / "m.onnx", tmp_path / "o.onnx", tmp_path / "r.html"
    onnx.save(parse(MODEL), model)
    source = model.read_bytes()
    for place in (model, output):
        run(model, "-o", output, "--report", place).fails(2, str(place), "overwrite")
    run(model, "-o", output, "--report", report, "--report-json", report).fails(2, "r.html", "overwrite")
    assert model.read_bytes() == source and [path.name for path in tmp_path.iterdir()] == ["m.onnx"]

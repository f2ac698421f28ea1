"""External data that is not the model's to name, is not there, or is not what the model says."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, numpy_helper

import onnx_opt
from command import run
from onnx_opt.errors import ModelError

from .conftest import Trial, bounded, model_of

SECRET = b"secret" * 100


def external(location: str | bytes, **entries: str | int) -> onnx.ModelProto:
    """y = x + w, where w is four numbers in `location`."""
    model = model_of("g (float[4] x) => (float[4] y) { y = Add(x, w) }")
    tensor = model.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value if isinstance(value, str) else str(value))
    return model


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A folder within one that holds what is none of the model's business."""
    (tmp_path / "secret.bin").write_bytes(SECRET)
    folder = tmp_path / "folder"
    folder.mkdir()
    return Trial(folder)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ", "..", ".", ""],
)  # fmt: skip
def test_outside_of_the_folder(trial: Trial, location: str) -> None:
    for flags in ([], ["-O0"]):
        trial.write(external(location)).is_refused(
            f"external data '{location}'", flags=tuple(flags)
        ) if location not in (".", "..") else trial.write(external(location)).is_refused("external data")
    bounded(lambda: run("inspect", trial.model)).fails(2, "external data")
    with pytest.raises(ModelError, match="external data"):
        _ = [constant.values for constant in onnx_opt.load(trial.model).constants]


def to_outside(place: Path) -> None:
    place.symlink_to("../secret.bin")


def to_folder_outside(place: Path) -> None:
    place.symlink_to("..")


def to_device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def to_link(place: Path) -> None:
    place.with_name("next").symlink_to("../secret.bin")
    place.symlink_to("next")


def in_a_circle(place: Path) -> None:
    place.with_name("next").symlink_to(place.name)
    place.symlink_to("next")


def to_nothing(place: Path) -> None:
    place.symlink_to("nothing")


def pipe(place: Path) -> None:
    os.mkfifo(place)


def folder(place: Path) -> None:
    place.mkdir()


def device(place: Path) -> None:
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except OSError:
        pytest.skip("may not make devices")


def empty(place: Path) -> None:
    place.touch()


@pytest.mark.parametrize(
    "make", [to_outside, to_folder_outside, to_device, to_link, in_a_circle, to_nothing, pipe, folder, device, empty]
)
def test_what_is_no_file_of_the_folder(trial: Trial, make: Callable[[Path], None]) -> None:
    """None of them is waited for, followed or read."""
    make(trial.folder / "weights.bin")
    trial.write(external("weights.bin")).is_refused("external data", "weights.bin")


def test_links_within_the_folder_are_followed(trial: Trial) -> None:
    (trial.folder / "sub").mkdir()
    (trial.folder / "sub" / "weights.bin").write_bytes(b"\0" * 16)
    (trial.folder / "weights.bin").symlink_to("sub/weights.bin")
    trial.write(external("weights.bin")).passes("-O1")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": 60}, "too short for 16 bytes at offset 60"),
        ({"offset": 1 << 62}, "too short"),
        ({"offset": -8}, "too short"),
        ({"offset": -(1 << 63), "length": 1 << 63}, "too short"),
        ({"offset": (1 << 64) - 8, "length": 16}, "too short"),
        ({"length": -1}, "too short"),
        ({"length": 65}, "too short"),
        ({"length": 1 << 64}, "too short"),
        ({"length": 8}, "has 8 bytes of data in 'weights.bin'"),
        ({"offset": "eight"}, "is no number"),
        ({"length": "1e1"}, "is no number"),
        ({"length": ""}, "is no number"),
        ({"offset": "9" * 10_000}, "is no number"),
    ],
)
def test_offsets_and_lengths(trial: Trial, entries: dict[str, str | int], words: str) -> None:
    (trial.folder / "weights.bin").write_bytes(b"\0" * 64)
    trial.write(external("weights.bin", **entries)).is_refused("'w'", words)


def test_names_of_files(trial: Trial) -> None:
    trial.write(external("a\0b")).is_refused("null")
    trial.write(external("a" * 5_000)).is_refused("name too long")
    data = external("location").SerializeToString()
    trial.write(data.replace(b"\x12\x08location", b"\x12\x08\xff\xfe\xffation")).is_refused("not UTF-8")
    trial.write(external("\x1b[31m")).is_refused("\\x1b[31m")


def test_more_than_a_machine_holds(trial: Trial) -> None:
    """A sparse file of 64 GiB: it is mapped, not read."""
    with (trial.folder / "weights.bin").open("wb") as file:
        file.truncate(64 << 30)
    trial.write(external("weights.bin", offset=(64 << 30) - 16, length=16))
    outcome = bounded(lambda: run(trial.model, "-o", trial.output, "--no-validate", "-O1"), 80 << 30)
    assert outcome.code == 0, outcome.err
    assert trial.output.stat().st_size < 1000


def test_a_file_for_each_tensor(trial: Trial) -> None:
    """More files than a process may have open at once, as some exporters write them."""
    resource = pytest.importorskip("resource")
    model = model_of("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    count = resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 100
    if count > 5_000:
        count = 1_500
    for i in range(count):
        tensor = model.graph.initializer.add(name=f"w{i}", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=f"w{i}")
        (trial.folder / f"w{i}").write_bytes(b"\0" * 4)
    trial.write(model)

    def limited() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return run("inspect", trial.model)

    outcome = bounded(limited)
    assert outcome.code == 0, outcome.err  # type: ignore[attr-defined]


@pytest.mark.parametrize("location", ["../secret.bin", "/dev/zero"])
def test_attributes(trial: Trial, location: str) -> None:
    """A Constant node may hold external data, too."""
    model = model_of("g (float[4] x) => (float[4] y) { w = Constant <value = float[4] {1, 2, 3, 4}> () y = Add(x, w) }")
    tensor = model.graph.node[0].attribute[0].t
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    trial.write(model).is_refused("external data", location)


def test_sparse_tensors_hold_no_external_data(trial: Trial) -> None:
    (trial.folder / "weights.bin").write_bytes(b"\0" * 64)
    model = model_of("g (float[4] x) => (float[4] y) { n = Neg(w) y = Add(x, n) }")
    sparse = model.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(external("weights.bin").graph.initializer[0])
    sparse.indices.CopyFrom(numpy_helper.from_array(__import__("numpy").arange(4)))
    trial.write(model).is_refused("sparse initializer 'w' is external data")


def test_bytes_have_no_folder(trial: Trial) -> None:
    """A model in memory can't name files, of the current folder least of all."""
    with pytest.raises(ModelError, match="has no folder"):
        onnx_opt.optimize(external("secret.bin").SerializeToString(), validate=False)

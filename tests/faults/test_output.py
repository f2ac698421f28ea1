"""Where the output can't be written, or where writing it would destroy something else."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from command import run, start
from onnx_opt import files, ir
from onnx_opt.errors import UsageError

from .conftest import dies_at, litter, make, weight

EARLIER, NEW = 1.0, 2.0


# -- no room, no permission --------------------------------------------------------------------------------------------


class Full(io.FileIO):
    """A file on a disk without room."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_file(handle: int, mode: str) -> io.BufferedWriter:
    return io.BufferedWriter(Full(handle, mode), 16)


@pytest.mark.parametrize("external", [None, "weights.bin"])
def test_disk_full(tmp_path: Path, folder: Path, external: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW, external=external)
    output = make(folder / "out.onnx", EARLIER, external=external and "out.onnx.data")
    before = sorted(folder.iterdir())
    with monkeypatch.context() as full:
        full.setattr(files.os, "fdopen", full_file)
        run(model, "-o", output).fails(2, "no space left on the disk")
    assert weight(output) == EARLIER
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("external", [None, "weights.bin"])
@pytest.mark.parametrize("limit", [0, 5000])
def test_files_may_not_grow(tmp_path: Path, folder: Path, external: str | None, limit: int) -> None:
    resource = pytest.importorskip("resource")
    model = make(tmp_path / "in" / "model.onnx", NEW, external=external)
    output = make(folder / "out.onnx", EARLIER)

    def save() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(OSError, match="too large"):
            ir.save(ir.load(model), output)

    assert not dies_at(1000, save)
    assert weight(output) == EARLIER
    assert [p.name for p in folder.iterdir()] == ["out.onnx"]


def test_a_small_disk(tmp_path: Path) -> None:
    """A real file system without room, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        model = make(tmp_path / "in" / "model.onnx", NEW, size=100_000)
        output = make(disk / "out.onnx", EARLIER)
        run(model, "-o", output, "--no-validate").fails(2, "no space left on the disk")
        assert weight(output) == EARLIER
        assert [p.name for p in disk.iterdir()] == ["out.onnx"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, folder: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW)

    def refuse(suffix: str, prefix: str, dir: Path) -> Any:
        raise OSError(number, os.strerror(number), str(dir))

    for maker in ("mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, maker, refuse)
    run(model, "-o", folder / "out.onnx").fails(2, str(folder), os.strerror(number).lower())
    assert not list(folder.iterdir())


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    model = make(tmp_path / "model.onnx", NEW)
    run(model, "-o", model / "out.onnx").fails(2, "there is no folder")
    run(model, "-o", tmp_path).fails(2, "it is a folder")
    assert weight(model) == NEW


def test_the_folder_goes_while_it_works(tmp_path: Path, folder: Path) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW)
    (tmp_path / "rude.py").write_text(f"import shutil\ndef remove(graph):\n    shutil.rmtree({str(folder)!r})\n")
    run(model, "-o", folder / "out.onnx", "--passes", f"{tmp_path}/rude.py:remove").fails(
        2, "no such file or directory"
    )


# -- what is no file ---------------------------------------------------------------------------------------------------


def test_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    model = make(tmp_path / "model.onnx", NEW)
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.open("wb").close()
    except OSError:
        null = Path(os.devnull)
    assert run(model, "-o", null, "-q", "--no-validate").code == 0
    assert stat.S_ISCHR(null.stat().st_mode)


def test_a_pipe(tmp_path: Path) -> None:
    model = make(tmp_path / "model.onnx", NEW)
    os.mkfifo(tmp_path / "pipe")
    process = start(model, "-o", tmp_path / "pipe", "-q", "--no-validate")
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "pipe").read_bytes())
    assert process.wait(timeout=60) == 0
    assert weight(tmp_path / "copy.onnx") == NEW


def test_external_data_needs_a_file(tmp_path: Path) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW, external="weights.bin")
    os.mkfifo(tmp_path / "pipe")
    run(model, "-o", tmp_path / "pipe", "--no-validate").fails(2, "write to a file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "pipe"]


def test_a_full_standard_output(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    model = make(tmp_path / "model.onnx", NEW)
    with open("/dev/full", "w") as full:
        process = start("inspect", model, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1


# -- output and input are one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("external", [None, "model.onnx.data", "weights.bin"])
def test_the_output_is_the_input(tmp_path: Path, external: str | None) -> None:
    model = make(tmp_path / "model.onnx", NEW, external=external)
    assert run(model, "-o", model).code == 0
    assert weight(model) == NEW
    assert run(model, "-o", model).code == 0
    assert weight(model) == NEW
    assert not litter(tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_output_is_a_link_to_the_input(tmp_path: Path, link: Any) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW)
    before = model.read_bytes()
    output = tmp_path / "out.onnx"
    link(model, output)
    assert run(model, "-o", output).code == 0
    assert model.read_bytes() == before
    assert not output.is_symlink()
    assert weight(output) == NEW


def test_the_output_would_overwrite_data_of_the_input(tmp_path: Path) -> None:
    model = make(tmp_path / "model.onnx", NEW, external="out.onnx.data")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    run(model, "-o", tmp_path / "out.onnx").fails(2, "out.onnx.data", "choose another name")
    run(model, "-o", tmp_path / "out.onnx.data").fails(2, "external data of the input", "choose another name")
    run(model, "-o", tmp_path / "out.onnx.data", "-O0").fails(2, "external data of the input")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_data_of_the_input_by_another_way(tmp_path: Path) -> None:
    model = make(tmp_path / "in" / "model.onnx", NEW, external="out.onnx.data")
    (tmp_path / "link").symlink_to("in")
    run(model, "-o", tmp_path / "link" / "out.onnx").fails(2, "choose another name")
    assert weight(model) == NEW


def test_no_file_is_written_that_only_the_model_names(tmp_path: Path, folder: Path) -> None:
    """A model names its data file; that name must not decide what is written beside the output."""
    model = make(tmp_path / "in" / "model.onnx", NEW, external=".profile")
    (folder / ".profile").write_text("mine")
    for level in ("-O0", "-O1"):
        assert run(model, "-o", folder / "out.onnx", level).code == 0
        assert weight(folder / "out.onnx") == NEW
        assert (folder / ".profile").read_text() == "mine"
        assert sorted(p.name for p in folder.iterdir()) == [".profile", "out.onnx", "out.onnx.data"]


def test_the_library_refuses_too(tmp_path: Path) -> None:
    graph = ir.load(make(tmp_path / "model.onnx", NEW, external="weights.bin"))
    _ = [constant.values for constant in graph.constants]
    with pytest.raises(UsageError, match="external data of the input"):
        ir.save(graph, tmp_path / "weights.bin")


# -- several at once ---------------------------------------------------------------------------------------------------

SAVE = """
import sys
from onnx_opt import ir
for _ in range(25):
    graph = ir.load(sys.argv[1])
    graph.set_op(next(iter(graph)), "Mul")
    ir.save(graph, sys.argv[2])
"""


@pytest.mark.parametrize("external", [None, "weights.bin"])
def test_several_processes_write_one_output(tmp_path: Path, folder: Path, external: str | None) -> None:
    models = [make(tmp_path / str(fill) / "model.onnx", fill, external=external) for fill in (1.0, 2.0, 3.0)]
    output = folder / "out.onnx"
    processes = [subprocess.Popen([sys.executable, "-c", SAVE, str(model), str(output)]) for model in models]
    assert [process.wait(timeout=100) for process in processes] == [0] * len(models)
    assert weight(output) in (1.0, 2.0, 3.0)
    assert sorted(p.name for p in folder.iterdir()) == ["out.onnx", "out.onnx.data"][: 2 if external else 1]

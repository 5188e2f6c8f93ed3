import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.storage import files
from mimik.storage.files import atomic_path, clear_unfinished, digest, file_sha256, read_json, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_under_its_name_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on the way" / "array.npy"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent  # a rename across file systems would not be atomic
        assert temporary.suffix == ".npy"  # numpy and others append an ending that is missing
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["array.npy"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_is_for_whom_the_system_says(tmp_path: Path, mask: int, mode: int) -> None:
    target = tmp_path / "generator.safetensors"
    before = os.umask(mask)
    try:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"weights")
            temporary.chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == mode


def test_fault_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half of the new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    program = f"""
import os
from mimik.storage.files import atomic_path
with atomic_path({str(target)!r}) as temporary:
    temporary.write_text("half of the new")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert target.read_text() == "old"


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_a_user_error_that_names_the_file(tmp_path: Path, number: int) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(UserError, match="disk is full") as caught, atomic_path(target) as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_faults_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_text_is_utf8_and_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\n–")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n\xe2\x80\x93"


def test_json_keeps_the_order_of_keys_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1, None]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    0.1,\n    null\n  ]\n}\n'
    assert list(read_json(path)) == ["b", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"b": 1, "a": [0.1, None]}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe{}"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="expected JSON") as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)


def test_absent_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file") as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digest_depends_on_values_only() -> None:
    assert digest({"b": [1, 2], "a": "é"}) == hashlib.sha256(b'{"a":"\\u00e9","b":[1,2]}').hexdigest()
    assert digest({"a": "é", "b": [1, 2]}) == digest({"b": [1, 2], "a": "é"})
    assert digest({"b": [2, 1], "a": "é"}) != digest({"b": [1, 2], "a": "é"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("inf"))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}", b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": -Infinity}'],
    ids=["deep", "digits", "twice", "nan", "infinite"],
)
def test_json_that_python_would_take_or_choke_on_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: expected JSON") as caught:
        read_json(tmp_path / "a.json", "Run `mimik train a b`.")
    assert str(caught.value).endswith("Run `mimik train a b`.")


def test_a_folder_in_place_of_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a readable file"):
        read_json(tmp_path)


def temporary_of(path: Path, process: int) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text("")
    return temporary.with_name(temporary.name.replace(f"-{os.getpid()}.", f"-{process}."))


def test_what_a_killed_process_left_goes_with_the_next_file_of_its_folder(tmp_path: Path) -> None:
    program = f"""
import os, signal
from mimik.storage.files import atomic_path
with atomic_path({str(tmp_path / "images.npy")!r}) as temporary:
    temporary.write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert len(names(tmp_path)) == 1
    write_text(tmp_path / "other.txt", "")
    assert names(tmp_path) == ["other.txt"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        others, elsewhere = temporary_of(tmp_path / "a.npy", alive.pid), temporary_of(tmp_path / "b.npy", 1)
        elsewhere = elsewhere.with_name(f".b.npy.{'0' * 8}-1.tmp.npy")
        for path in (others, elsewhere):
            path.write_text("")
        with atomic_path(tmp_path / "c.npy") as own:
            own.write_text("")
            clear_unfinished(tmp_path)
            assert own.exists() and others.exists() and elsewhere.exists()
        long_ago = others.stat().st_mtime - 7200
        for path in (others, elsewhere):
            os.utime(path, (long_ago, long_ago))
        clear_unfinished(tmp_path)
        # The process began after the file was last written: another one of the same number left it.
        assert not others.exists() and not elsewhere.exists()
    finally:
        alive.communicate(b"\n")


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".txt")
    write_text(path, "text")
    assert path.read_text() == "text" and names(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [RuntimeError("unexpected pos 64 vs 0"), OSError("encoder error -2")])
def test_a_full_disk_is_told_whatever_a_library_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for full in (False, True):
        monkeypatch.setattr(files, "_is_full", lambda _, full=full: full)
        with pytest.raises(UserError if full else type(error)), atomic_path(tmp_path / "a"):
            raise error

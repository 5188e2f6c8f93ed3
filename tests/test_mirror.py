import errno
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.mirror import VARIABLE, extract, find, locate

CONTENT = b"weights of a network" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_mirror_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    """Serves /good (CONTENT), /short (announces more bytes than it sends); anything else is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in ("/good", "/short")
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(CONTENT) + (7 if self.path == "/short" else 0)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, format: str, *args: object) -> None:
            pass

    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{instance.server_port}"
    instance.shutdown()
    thread.join()
    instance.server_close()


def put(folder: Path, name: str, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_file_of_the_mirror_is_used_where_it_lies(tmp_path: Path) -> None:
    there = put(tmp_path / "mirror", "net.pth")
    found = locate(
        "net.pth",
        url="http://127.0.0.1:9/never",
        sha256=SHA256,
        mirror=tmp_path / "mirror",
        destination=tmp_path / "d",
    )
    assert found == there
    assert not (tmp_path / "d").exists()


def test_destination_comes_before_mirror_and_mirror_before_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_variable = put(tmp_path / "variable", "net.pth")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    (tmp_path / "mirror").mkdir()
    assert find("net.pth", tmp_path / "mirror", tmp_path / "d") == by_variable
    by_mirror = put(tmp_path / "mirror", "net.pth")
    assert find("net.pth", tmp_path / "mirror", tmp_path / "d") == by_mirror
    by_destination = put(tmp_path / "d", "net.pth")
    assert find("net.pth", tmp_path / "mirror", tmp_path / "d") == by_destination
    assert find("other.pth", tmp_path / "mirror", tmp_path / "d") is None


def test_mirror_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: not a folder"):
        find("net.pth", tmp_path / "nowhere", tmp_path)


def test_wrong_file_in_the_mirror_is_an_error_even_though_a_download_would_work(tmp_path: Path, server: str) -> None:
    wrong = put(tmp_path / "mirror", "net.pth", b"another version")
    with pytest.raises(UserError, match="SHA-256") as caught:
        locate(
            "net.pth",
            url=f"{server}/good",
            sha256=SHA256,
            mirror=tmp_path / "mirror",
            destination=tmp_path / "d",
        )
    assert str(wrong) in str(caught.value)
    assert SHA256 in str(caught.value)


def test_download_lands_verified_at_the_destination(tmp_path: Path, server: str) -> None:
    path = locate("net.pth", url=f"{server}/good", sha256=SHA256, mirror=None, destination=tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "net.pth"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("page", "sha256", "told"),
    [
        ("good", "0" * 64, "The file at this address has changed"),
        ("short", None, "IncompleteRead"),
        ("absent", None, "404"),
    ],
)
def test_failed_download_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, server: str, page: str, sha256: str | None, told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        locate("net.pth", url=f"{server}/{page}", sha256=sha256, mirror=None, destination=tmp_path / "d")
    assert f"{server}/{page}" in str(caught.value)
    assert f"Put net.pth into {tmp_path / 'd'}" in str(caught.value)
    assert not list((tmp_path).rglob("*net.pth*"))


def test_unreachable_server_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the download from http://127\.0\.0\.1:9/net\.pth failed"):
        locate("net.pth", url="http://127.0.0.1:9/net.pth", sha256=None, mirror=None, destination=tmp_path)


def test_file_without_address_says_where_to_put_it(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    with pytest.raises(UserError, match="there is no public download") as caught:
        locate("net.pth", url=None, sha256=None, mirror=tmp_path / "mirror", destination=tmp_path / "d")
    assert str(tmp_path / "mirror") in str(caught.value)
    assert str(tmp_path / "d") in str(caught.value)


def archive(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0
            opened.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            opened.addfile(member)
    return path


def nothing_left(folder: Path, *besides: str) -> bool:
    return {path.name for path in folder.iterdir()} == {*besides, ".out.lock"}


def test_extract_writes_every_file_and_drops_the_top_folder(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar.gz", {"top/x.txt": b"1", "top/deep/er/y.txt": b"22"})
    extract(source, tmp_path / "out", top="top")
    files = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert files == {"x.txt": b"1", "deep/er/y.txt": b"22"}
    assert (tmp_path / "out" / "x.txt").stat().st_mode & 0o600 == 0o600
    assert nothing_left(tmp_path, "a.tar.gz", "out")


def test_extract_leaves_a_filled_destination_alone(tmp_path: Path) -> None:
    extract(archive(tmp_path / "a.tar.gz", {"x": b"1"}), tmp_path / "out")
    extract(archive(tmp_path / "b.tar.gz", {"y": b"1"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]


def test_extract_fills_an_empty_destination_and_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    put(tmp_path / ".out.partial", "half")
    extract(archive(tmp_path / "a.tar.gz", {"x": b"1"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
    assert nothing_left(tmp_path, "a.tar.gz", "out")


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/tmp/evil", "..\\evil"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="refused"):
        extract(archive(tmp_path / "a.tar.gz", {"top/x": b"1", name: b"2"}), tmp_path / "out")
    assert nothing_left(tmp_path, "a.tar.gz")


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="refused: its entry 'way'"):
        extract(archive(tmp_path / "a.tar.gz", {"x": b"1"}, {"way": "/etc"}), tmp_path / "out")
    assert nothing_left(tmp_path, "a.tar.gz")


def test_entry_twice_and_file_used_as_folder_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as opened:
        for _ in range(2):
            opened.addfile(tarfile.TarInfo("x"), io.BytesIO())
    with pytest.raises(UserError, match="x twice"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")
    with pytest.raises(UserError, match="cannot be unpacked"):
        extract(archive(tmp_path / "b.tar.gz", {"x": b"1", "x/y": b"1"}), tmp_path / "out")


def test_limits_on_bytes_and_files(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar.gz", {"x": b"12345", "y": b"12345"})
    with pytest.raises(UserError, match="more than 9 bytes"):
        extract(source, tmp_path / "out", max_bytes=9)
    with pytest.raises(UserError, match="or 1 files"):
        extract(source, tmp_path / "out", max_files=1)
    extract(source, tmp_path / "out", max_bytes=10, max_files=2)


def test_other_top_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected everything in the folder top/, but found 'other/x'"):
        extract(archive(tmp_path / "a.tar.gz", {"other/x": b"1"}), tmp_path / "out", top="top")


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.99, 0.99996])
def test_truncated_archive_is_named_and_leaves_nothing(tmp_path: Path, kept: float) -> None:
    whole = archive(tmp_path / "a.tar.gz", {f"{n}.bin": os.urandom(3000) for n in range(20)}).read_bytes()
    broken = put(tmp_path, "a.tar.gz", whole[: int(len(whole) * kept)])
    with pytest.raises(UserError, match="truncated") as caught:
        extract(broken, tmp_path / "out")
    assert str(broken) in str(caught.value)
    assert nothing_left(tmp_path, "a.tar.gz")


def test_plain_tar_that_ends_inside_a_file_is_named(tmp_path: Path) -> None:
    whole = gzip.decompress(archive(tmp_path / "a.tar.gz", {"x": b"x" * 5000, "y": b"y" * 5000}).read_bytes())
    broken = put(tmp_path, "a.tar", whole[:8000])
    with pytest.raises(UserError, match="truncated"):
        extract(broken, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", gzip.compress(b"no tar", mtime=0)])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="not a tar archive"):
        extract(put(tmp_path, "a.tar.gz", content), tmp_path / "out")


def test_flipped_bytes_are_named(tmp_path: Path) -> None:
    whole = bytearray(archive(tmp_path / "a.tar.gz", {"x": os.urandom(4000)}).read_bytes())
    whole[2000] ^= 0xFF
    with pytest.raises(UserError, match="damaged"):
        extract(put(tmp_path, "a.tar.gz", bytes(whole)), tmp_path / "out")


def test_full_disk_is_a_user_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = archive(tmp_path / "a.tar.gz", {"x": b"1"})
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match="disk is full"):
        extract(source, tmp_path / "out")
    assert nothing_left(tmp_path, "a.tar.gz")


def archive_of(folder: Path, *members: tuple[str, bytes, dict[str, object]]) -> Path:
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as opened:
        for name, content, more in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in more.items():
                setattr(info, key, value)
            opened.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (("n" * 300, b"x", {}), "one of its names cannot be the name of a file"),
        (("d/" * 3000 + "f", b"x", {}), "one of its names cannot be the name of a file"),
        ((".", b"x", {}), "refused"),
        (("f", b"", {"type": tarfile.GNUTYPE_SPARSE}), "a.tar.gz: "),
        (("f", b"", {"type": tarfile.FIFOTYPE}), "refused"),
    ],
)
def test_members_that_no_archive_needs_are_one_sentence(
    tmp_path: Path, member: tuple[str, bytes, dict[str, object]], told: str
) -> None:
    path = archive_of(tmp_path, ("good.txt", b"x", {}), member)
    with pytest.raises(UserError, match="get it again") as caught:
        extract(path, tmp_path / "out")
    assert str(path) in str(caught.value) and told in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_broken_headers_of_sparse_files_are_one_sentence(tmp_path: Path) -> None:
    made = bytearray(gzip.decompress(archive_of(tmp_path, ("f", b"x" * 600, {})).read_bytes()))
    made[156:157] = tarfile.GNUTYPE_SPARSE
    made[386:410] = b"x" * 24  # where offset and length of the first piece stand
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made[:512])
    (tmp_path / "a.tar").write_bytes(made)
    with pytest.raises(UserError, match=r"a\.tar: "):
        extract(tmp_path / "a.tar", tmp_path / "out")


def test_folders_count_and_so_does_what_follows_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [(f"d{number}", b"", {"type": tarfile.DIRTYPE}) for number in range(9)]
    with pytest.raises(UserError, match="refused: it unpacks to more than"):
        extract(archive_of(tmp_path, ("f", b"x", {}), *folders), tmp_path / "out", max_files=5)
    path = archive_of(tmp_path, ("f", b"x", {}))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(5 << 20)))
    extract(path, tmp_path / "sound")
    monkeypatch.setattr("mimik.mirror.BEHIND_THE_END", 1 << 20)
    with pytest.raises(UserError, match="no end marker after its last file"):
        extract(path, tmp_path / "endless")

"""Decoding of target paths, containment in the root, and looking again at files that are kept."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evio_http.files import resolve
from evio_http.files.paths import (
    BadPath,
    OpenedDirectory,
    OpenedFile,
    PermissionDenied,
    Root,
    decode_target_path,
    encode_path,
)
from evio_http.files.version import _TICK_NS, identity, is_current, is_settled
from tests.extent import examples
from tests.tables import each_row

from .serving import wait_until_settled

SECRET = b"outside"


@each_row(
    "raw, names",
    [
        (b"/", []),
        (b"//", []),
        (b"/a", ["a"]),
        (b"/a/", ["a"]),
        (b"/a//b", ["a", "b"]),
        (b"/a/./b/.", ["a", "b"]),
        (b"/a/../b", ["b"]),
        (b"/a/b/../..", []),
        (b"/%61", ["a"]),
        (b"/a/%2e%2E/b", ["b"]),
        (b"/a/%2e/b", ["a", "b"]),
        (b"/a/.%2e/b", ["b"]),
        (b"/...", ["..."]),
        (b"/.hidden", [".hidden"]),
        (b"/%252e%252e/x", ["%2e%2e", "x"]),
        (b"/a%20b", ["a b"]),
        (b"/a%3fb%23", ["a?b#"]),
        (b"/a+b", ["a+b"]),
        (b"/a;v=1/b", ["a;v=1", "b"]),
        (b"/caf%C3%A9", ["café"]),
        (b"/caf\xc3\xa9", ["café"]),
        (b"/%F0%9F%98%80", ["\U0001f600"]),
        (b"/a:b", ["a:b"]),
        (b"/%0d%0a", ["\r\n"]),
    ],
)
def test_decode(raw: bytes, names: list[str]) -> None:
    assert decode_target_path(raw) == names


@each_row(
    "raw",
    [
        b"",
        b"a",
        b"*",
        b"http://host/",
        b"/..",
        b"/../etc/passwd",
        b"/a/../../b",
        b"/%2e%2e/etc/passwd",
        b"/a/%2e%2e/.%2e/b",
        b"/.%2E/",
        b"/a%2fb",
        b"/..%2fetc",
        b"/%2F",
        b"/a\\b",
        b"/a%5cb",
        b"/..%5c..%5cetc",
        b"/a%00",
        b"/a\x00b",
        b"/a b",
        b"/a\tb",
        b"/a\rb",
        b"/a\nb",
        b"/a\x7f",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%2g",
        b"/%-1",
        b"/% 41",
        b"/%u0041",
        b"/a?b",
        b"/a#b",
        b"/%c0%ae%c0%ae/",  # overlong "."
        b"/%c0%af",  # overlong "/"
        b"/%e0%80%af",
        b"/%f0%80%80%af",
        b"/%ed%a0%80",  # a surrogate
        b"/%f4%90%80%80",  # above U+10FFFF
        b"/%ff",
        b"/%c3",
        b"/%80",
        b"/\xff",
    ],
)
def test_decode_refuses(raw: bytes) -> None:
    with pytest.raises(BadPath):
        decode_target_path(raw)


PIECES = st.one_of(
    st.sampled_from(
        [b"..", b".", b"", b"%2e", b"%2e.", b"%2f", b"%5c", b"%00", b"a", b"d", b"in", b"out", b"%25", b"%C0"]
    ),
    st.binary(max_size=6),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(PIECES, max_size=8).map(lambda pieces: b"/" + b"/".join(pieces)))
def test_what_is_decoded_is_safe_and_survives_encoding(raw: bytes) -> None:
    try:
        names = decode_target_path(raw)
    except BadPath:
        return
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0")
    assert decode_target_path(encode_path(names).encode()) == names
    assert decode_target_path(encode_path(names, directory=True).encode()) == names


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_decoding_undoes_encoding(names: list[str]) -> None:
    if any(name in (".", "..") or set(name) & set("/\\\0") or not _is_unicode(name) for name in names):
        return
    assert decode_target_path(encode_path(names).encode()) == names


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def test_an_encoded_path_never_names_a_host() -> None:
    assert encode_path(decode_target_path(b"//evil.example/.."), directory=True) == "/"
    assert encode_path(decode_target_path(b"//evil.example"), directory=True) == "/evil.example/"
    assert encode_path(['a"b', "c d\n"]) == "/a%22b/c%20d%0A"


# Root: every way of resolving has to give the same answers.


@pytest.fixture(params=["openat2", "walk", "portable"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The abilities of the platform: the kernel's own resolution, O_PATH alone, neither."""
    name: str = request.param
    if name == "openat2" and resolve._openat2 is None:
        pytest.skip("no openat2 here")
    if name != "openat2":
        monkeypatch.setattr(resolve, "_openat2", None)
    if name == "portable":
        monkeypatch.setattr(resolve, "_HOLDS", False)
    elif not resolve._HOLDS:
        pytest.skip("no O_PATH or no /proc here")
    return name


def make_site(top: Path) -> Path:
    """A root with links of every kind beside a directory that nobody may reach."""
    outside, root = top / "outside", top / "root"
    for directory in (outside, root / "in" / "deep", root / ".well-known", root / ".git", root / "in" / ".well-known"):
        directory.mkdir(parents=True)
    (outside / "secret").write_bytes(SECRET)
    (top / "rootsibling").mkdir()
    (top / "rootsibling" / "secret").write_bytes(SECRET)
    for name in ("a.txt", "in/b.txt", "in/deep/c.txt", ".well-known/x", ".git/config", ".env", "in/.well-known/y"):
        (root / name).write_bytes(name.encode())
    (root / "empty").write_bytes(b"")
    for name, target in {
        "link-file": "a.txt",
        "link-dir": "in",
        "in/up": "../a.txt",
        "in/deep/upup": "../../in/b.txt",
        "link-twice": "link-dir/b.txt",
        "link-dot": ".",
        "link-slashes": "in//./deep//c.txt",
        "link-trailing": "in/",
        "link-hidden": ".git/config",
        "abs-inside": str(root / "in" / "b.txt"),
        "abs-root": str(root),
        "abs-root-file": str(root) + "//in/../a.txt",
        "out-file": "../outside/secret",
        "out-dir": "../outside",
        "in/out": "../../outside/secret",
        "out-back": "../root/a.txt",
        "out-dotdot": "..",
        "in/deep/out-chain": "../../out-dir/secret",
        "abs-out": str(outside / "secret"),
        "abs-out-dir": str(outside),
        "abs-sibling": str(top / "rootsibling" / "secret"),
        "abs-inside-out": str(root) + "/../outside/secret",
        "abs-etc": "/etc",
        "dangling": "nowhere",
        "self": "self",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "file-slash": "a.txt/",
        "file-dot": "a.txt/.",
        "file-dotdot": "a.txt/../a.txt",
        "proc": "/proc/self/root/etc/passwd",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    (root / "link-fifo").symlink_to("fifo")
    (root / "link-null").symlink_to("/dev/null")
    return root


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path)


def read(root: Root, path: str) -> bytes | str | None:
    """Return what the root gives for a path: content, "directory" or None. No descriptor may be left open."""
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    opened = root.open(decode_target_path(path.encode()))
    try:
        if isinstance(opened, OpenedFile):
            return os.pread(opened.fd, 1000, 0)
        return "directory" if opened is not None else None
    finally:
        if opened is not None:
            opened.close()
            opened.close()
        if sys.platform == "linux":
            assert set(os.listdir("/proc/self/fd")) <= set(before)


INSIDE = {
    "/": "directory",
    "/a.txt": b"a.txt",
    "/empty": b"",
    "/in": "directory",
    "/in/": "directory",
    "/in/b.txt": b"in/b.txt",
    "/in/deep/c.txt": b"in/deep/c.txt",
    "/.well-known/x": b".well-known/x",
    "/link-file": b"a.txt",
    "/link-dir": "directory",
    "/link-dir/b.txt": b"in/b.txt",
    "/link-dir/deep/c.txt": b"in/deep/c.txt",
    "/in/up": b"a.txt",
    "/in/deep/upup": b"in/b.txt",
    "/link-dir/deep/upup": b"in/b.txt",
    "/link-twice": b"in/b.txt",
    "/link-dot": "directory",
    "/link-dot/link-dot/a.txt": b"a.txt",
    "/link-slashes": b"in/deep/c.txt",
    "/link-trailing": "directory",
    "/link-hidden": b".git/config",
    "/abs-inside": b"in/b.txt",
    "/abs-root": "directory",
    "/abs-root/in/b.txt": b"in/b.txt",
    "/in/../abs-root/abs-inside": b"in/b.txt",
    "/abs-root-file": b"a.txt",
}
OUTSIDE = {
    "/out-file": SECRET,
    "/out-dir": "directory",
    "/out-dir/secret": SECRET,
    "/in/out": SECRET,
    "/out-back": b"a.txt",
    "/out-dotdot": "directory",
    "/out-dotdot/outside/secret": SECRET,
    "/in/deep/out-chain": SECRET,
    "/abs-out": SECRET,
    "/abs-out-dir/secret": SECRET,
    "/abs-sibling": SECRET,
    "/abs-inside-out": SECRET,
    "/abs-etc": "directory",
}
ABSENT = [
    "/nothing",
    "/a.txt/x",
    "/in/nothing/x",
    "/.git",
    "/.git/config",
    "/.env",
    "/in/.well-known/y",
    "/.well-known/.x",
    "/dangling",
    "/self",
    "/loop-a",
    "/file-slash",
    "/file-dot",
    "/file-dotdot",
    "/fifo",
    "/fifo/x",
    "/link-fifo",
    "/link-null",
    "/" + "x" * 256,
    "/" + "x/" * 3000,
]


def test_what_is_inside_is_given(way: str, site: Path) -> None:
    root = Root(str(site))
    assert {path: read(root, path) for path in INSIDE} == INSIDE


def test_what_is_outside_is_not_given(way: str, site: Path) -> None:
    (site / "ibling").mkdir()  # what is left of rootsibling when as many characters go as the root's path has
    (site / "ibling" / "secret").write_bytes(b"decoy")
    root = Root(str(site))
    assert {path: read(root, path) for path in [*OUTSIDE, "/proc"]} == dict.fromkeys([*OUTSIDE, "/proc"])


def test_what_is_outside_is_given_when_links_are_followed(way: str, site: Path) -> None:
    root = Root(str(site), follow_symlinks=True)
    assert {path: read(root, path) for path in OUTSIDE | INSIDE} == OUTSIDE | INSIDE


@pytest.mark.parametrize("follow_symlinks", [False, True])
def test_what_is_not_there(way: str, site: Path, follow_symlinks: bool) -> None:
    root = Root(str(site), follow_symlinks=follow_symlinks)
    assert {path: read(root, path) for path in ABSENT} == dict.fromkeys(ABSENT)


@pytest.mark.timeout(10)  # it would wait for a writer
def test_a_fifo_that_takes_the_place_of_a_file_is_not_waited_for(
    way: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, measure = Root(str(site)), os.stat

    def swap(path: Any, **options: Any) -> os.stat_result:
        status = measure(path, **options)
        if path == b"a.txt":
            (site / "a.txt").unlink()
            os.mkfifo(site / "a.txt")
        return status

    monkeypatch.setattr(os, "stat", swap)
    # Only where there is no O_PATH is a file looked at by name; whose place is taken by then is not there.
    assert read(root, "/a.txt") == (None if way == "portable" else b"a.txt")


def test_dotfiles_are_given_on_demand(way: str, site: Path) -> None:
    root = Root(str(site), dotfiles=True)
    assert read(root, "/.env") == b".env"
    assert read(root, "/.git/config") == b".git/config"
    assert read(root, "/in/.well-known/y") == b"in/.well-known/y"


def test_a_root_that_is_itself_a_link(way: str, site: Path) -> None:
    link = site.parent / "current"
    link.symlink_to("root")
    (site / "via-link").symlink_to(link / "a.txt")
    root = Root(str(link))
    assert read(root, "/a.txt") == b"a.txt"
    assert read(root, "/via-link") == b"a.txt"
    assert read(root, "/abs-inside") == b"in/b.txt"
    assert read(root, "/out-file") is None


def test_a_swapped_root_takes_effect_at_once(way: str, site: Path) -> None:
    link, release = site.parent / "current", site.parent / "release"
    link.symlink_to("root")
    root = Root(str(link))
    release.mkdir()
    (release / "a.txt").write_bytes(b"new")
    version = identity(os.stat(root.locate(["a.txt"])))
    (site.parent / "next").symlink_to("release")
    os.replace(site.parent / "next", link)
    assert read(root, "/a.txt") == b"new"
    assert not is_current(root.locate(["a.txt"]), version)
    link.unlink()
    assert read(root, "/a.txt") is None


def test_links_of_a_mounted_config_map(way: str, tmp_path: Path) -> None:
    # Kubernetes mounts "file -> ..data/file" with "..data -> ..2024_01_01" and swaps the second.
    (tmp_path / "..2024_01_01").mkdir()
    (tmp_path / "..2024_01_01" / "page").write_bytes(b"mounted")
    (tmp_path / "..data").symlink_to("..2024_01_01")
    (tmp_path / "page").symlink_to("..data/page")
    assert read(Root(str(tmp_path)), "/page") == b"mounted"


def test_a_chain_of_links_is_bounded(way: str, tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"end")
    for number in range(1, 60):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    root = Root(str(tmp_path))
    assert read(root, "/39") == b"end"
    assert read(root, "/59") is None


@pytest.mark.parametrize("names", [[""], ["."], [".."], ["a/b"], ["/etc"], ["a\0"]])
def test_names_that_are_none_are_errors(tmp_path: Path, names: list[str]) -> None:
    root = Root(str(tmp_path), dotfiles=True)
    with pytest.raises(ValueError):
        root.open(names)
    with pytest.raises(ValueError):
        root.locate(names)


def test_a_root_must_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        Root(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        Root(str(tmp_path / "nothing"))


def test_a_fifo_is_not_opened(way: str, site: Path) -> None:
    # A writer that does not block would fail with ENXIO if there is no reader, and succeed while there is one.
    opened = threading.Event()

    def write() -> None:
        os.close(os.open(site / "fifo", os.O_WRONLY))
        opened.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    root = Root(str(site))
    for _ in range(100):
        assert root.open(["fifo"]) is None
        assert root.open(["link-fifo"]) is None
    assert not opened.is_set()
    os.close(os.open(site / "fifo", os.O_RDONLY))
    assert opened.wait(10)
    writer.join(10)


def test_a_socket_is_not_given(way: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as short:
        listener.bind(os.path.join(short, "s"))
        assert read(Root(short), "/s") is None


def test_a_swap_between_the_steps_does_not_lead_out(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "_openat2", None)
    hold = resolve._hold

    def swapping(name: bytes, directory: int, nofollow: int = resolve._NOFOLLOW) -> resolve.Held:
        held = hold(name, directory, nofollow)
        if name == b"in" and not (site / "in").is_symlink():
            (site / "in").rename(site / "moved")
            (site / "in").symlink_to("../outside")
        return held

    (site / "in" / "secret").write_bytes(b"inside")

    monkeypatch.setattr(resolve, "_hold", swapping)
    assert read(Root(str(site)), "/in/secret") == b"inside"
    assert read(Root(str(site)), "/in/secret") is None


def test_a_file_swapped_for_a_link_at_the_last_moment(way: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reopen = resolve.reopen

    def swapping(fd: int) -> int:
        (site / "a.txt").unlink()
        (site / "a.txt").symlink_to("../outside/secret")
        return reopen(fd)

    monkeypatch.setattr(resolve, "reopen", swapping)
    assert read(Root(str(site)), "/a.txt") == b"a.txt"


@pytest.mark.parametrize("other", ["link", "fifo", "directory"])
def test_a_file_that_is_something_else_once_it_is_opened(
    way: str, site: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Between the look by name and the opening; neither leads out, and neither waits."""
    read_beneath, count = resolve.read_beneath, 0

    def swapping(root: int, path: bytes) -> resolve.Held | None:
        nonlocal count
        count += 1
        (site / "a.txt").unlink()
        if other == "link":
            (site / "a.txt").symlink_to("../outside/secret")
        elif other == "fifo":
            os.mkfifo(site / "a.txt")
        else:
            (site / "a.txt").mkdir()
        return read_beneath(root, path)

    monkeypatch.setattr(resolve, "read_beneath", swapping)
    opened = Root(str(site)).open(["a.txt"])
    assert count == 1
    if other == "directory":
        assert isinstance(opened, OpenedDirectory)
        opened.close()
    else:
        assert opened is None


def test_moving_out_while_climbing_stays_inside(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # "deep/upup" is "../../in/b.txt"; the directory is moved out of the root before the ".." are walked.
    monkeypatch.setattr(resolve, "_openat2", None)
    target = resolve._target

    def moving(fd: int, name: bytes, directory: int) -> bytes:
        (site / "in" / "deep").rename(site.parent / "outside" / "deep")
        return target(fd, name, directory)

    monkeypatch.setattr(resolve, "_target", moving)
    assert read(Root(str(site)), "/in/deep/upup") == b"in/b.txt"


def test_swapping_all_the_time_never_leads_out(way: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "d", outside):
        directory.mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"inside")
    (outside / "f").write_bytes(SECRET)
    (root / "link").symlink_to("../outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "d", root / "spare")
            os.rename(root / "link", root / "d")
            os.rename(root / "d", root / "link")
            os.rename(root / "spare", root / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        answers = {read_quietly(Root(str(root)), ["d", "f"]) for _ in range(300)}
    finally:
        stop.set()
        swapper.join(10)
    assert answers <= {b"inside", None}


def read_quietly(root: Root, names: list[str]) -> bytes | None:
    opened = root.open(names)
    if not isinstance(opened, OpenedFile):
        return None
    try:
        return os.pread(opened.fd, 100, 0)
    finally:
        opened.close()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("paths"))


NAMES = st.sampled_from([path.rpartition("/")[2] for path in [*INSIDE, *OUTSIDE, *ABSENT[:-2]] if path[-1] != "/"])


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=5))
def test_containment(shared_site: Path, names: list[str]) -> None:
    """Whatever is given is inside: the kernel's and our own resolution agree, and realpath says so too."""
    if ".." in names:
        return
    root = Root(str(shared_site))
    opened = root.open(names)
    first = identity(opened.stat) if opened is not None else None
    if opened is not None:
        opened.close()
        real = os.path.realpath(shared_site.joinpath(*names))
        assert real == str(shared_site) or real.startswith(str(shared_site) + "/")
        assert identity(os.stat(real)) == first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolve, "_openat2", None)
        again = root.open(names)
        assert (identity(again.stat) if again is not None else None) == first
        if again is not None:
            again.close()


AS_NOBODY = """
import os, sys
from evio_http.files import resolve
from evio_http.files.paths import PermissionDenied, Root
root = Root(sys.argv[1])
if sys.argv[2] != "openat2":
    resolve._openat2 = None
if sys.argv[2] == "portable":
    resolve._HOLDS = False
os.setegid(65534); os.seteuid(65534)
for names in (["unreadable"], ["closed", "x"], ["nolist"], ["nolist", "x"], ["open"]):
    try:
        opened = root.open(names)
        if hasattr(opened, "entries"):
            opened.entries()
        print(type(opened).__name__)
    except PermissionDenied as error:
        print("denied", error.errno)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="has to give up its rights to lack some")
def test_permissions(way: str) -> None:
    directory = tempfile.mkdtemp()
    try:
        os.chmod(directory, 0o755)
        for name in ("unreadable", "open"):
            Path(directory, name).write_bytes(b"x")
        for name in ("closed", "nolist"):
            Path(directory, name).mkdir()
            Path(directory, name, "x").write_bytes(b"x")
        os.chmod(os.path.join(directory, "unreadable"), 0)
        os.chmod(os.path.join(directory, "closed"), 0o600)
        os.chmod(os.path.join(directory, "nolist"), 0o711)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, directory, way], capture_output=True, text=True, timeout=30, check=False
        )
    finally:
        shutil.rmtree(directory)
    # Without O_PATH a directory has to be read to be walked through.
    through = "denied 13" if way == "portable" else "OpenedFile"
    assert done.stdout.splitlines() == ["denied 13", "denied 13", "denied 13", through, "OpenedFile"], done.stderr


def test_running_out_of_descriptors_is_not_an_absence(way: str, site: Path) -> None:
    resource = pytest.importorskip("resource")
    root = Root(str(site))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with pytest.raises(OSError) as caught:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        assert caught.value.errno == 24
        os.close(taken.pop())
        with pytest.raises(OSError) as caught:
            root.open(["in", "b.txt"])
        assert caught.value.errno == 24
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(root, "/in/b.txt") == b"in/b.txt"


# Directories


def test_entries_are_what_can_be_requested(way: str, site: Path) -> None:
    (site / "back\\slash").write_bytes(b"")
    with open(os.fsencode(site) + b"/not-utf8-\xff", "wb"):
        pass
    root = Root(str(site))
    opened = root.open([])
    assert isinstance(opened, OpenedDirectory)
    entries = {entry.name: entry for entry in opened.entries()}
    opened.close()
    assert {name for name in entries if entries[name].is_directory} == {
        ".well-known", "in", "link-dir", "link-dot", "link-trailing", "abs-root",
    }  # fmt: skip
    assert set(entries) == {path[1:] for path in INSIDE if path.count("/") == 1 and path != "/"} | {".well-known"}
    assert entries["a.txt"].size == 5
    assert entries["a.txt"].mtime == (site / "a.txt").stat().st_mtime
    assert entries["abs-inside"].size == len("in/b.txt")
    assert entries["in"].size == 0


def test_entries_twice(way: str, site: Path) -> None:
    opened = Root(str(site)).open(["in"])
    assert isinstance(opened, OpenedDirectory)
    assert {entry.name for entry in opened.entries()} == {"b.txt", "deep", "up"}
    assert len(opened.entries()) == 3
    opened.close()


# Looking again


def test_a_file_is_current_until_something_happens_to_it(tmp_path: Path) -> None:
    root = Root(str(tmp_path))
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "f"
    where = root.locate(["d", "f"])

    def overwrite() -> None:
        with path.open("r+b") as file:
            file.write(b"two")

    def overwrite_and_set_back() -> None:
        before = os.stat(path)
        overwrite()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def replace() -> None:
        (tmp_path / "new").write_bytes(b"two")
        os.replace(tmp_path / "new", path)

    def swap_directory() -> None:
        (tmp_path / "d").rename(tmp_path / "old")
        (tmp_path / "d").mkdir()
        path.write_bytes(b"one")

    def remove_directory() -> None:
        (tmp_path / "d").rename(tmp_path / "gone")

    for change in (
        overwrite,
        overwrite_and_set_back,
        replace,
        swap_directory,
        path.unlink,
        lambda: path.chmod(0o600),
        lambda: os.truncate(path, 1),
        lambda: os.utime(path),
        remove_directory,
    ):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"one")
        wait_until_settled(path)
        version = identity(os.stat(path))
        assert is_current(where, version)
        change()
        assert not is_current(where, version), change


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    wait_until_settled(path)
    version = identity(os.stat(path))
    path.read_bytes()
    assert is_current(bytes(path), version)


def test_settled() -> None:
    def at(ctime_ns: int) -> os.stat_result:
        return os.stat_result([0] * 10, {"st_ctime_ns": ctime_ns, "st_mtime_ns": 0})

    second = 1_000_000_000
    assert not is_settled(at(5 * second + 1), 5 * second + 1)
    assert not is_settled(at(5 * second + 1), 5 * second + 1 + _TICK_NS - 1)
    assert is_settled(at(5 * second + 1), 5 * second + 1 + _TICK_NS)
    # Whole seconds: the next write may be stamped the same for as long as FAT's granularity.
    assert not is_settled(at(5 * second), 5 * second + _TICK_NS)
    assert is_settled(at(5 * second), 7 * second)
    # The clock was set back.
    assert not is_settled(at(50 * second + 1), 5 * second)


def test_a_snapshot_is_of_the_version_that_was_found(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100_000)
    root = Root(str(tmp_path))
    opened = root.open(["f"])
    assert isinstance(opened, OpenedFile)
    assert (opened.snapshot() is None) is not opened.settled
    opened.close()
    wait_until_settled(path)
    opened = root.open(["f"])
    assert isinstance(opened, OpenedFile)
    assert opened.snapshot() == b"x" * 100_000
    with path.open("ab") as file:
        file.write(b"y")
    assert opened.snapshot() is None
    opened.close()
    wait_until_settled(path)
    same_size = root.open(["f"])
    assert isinstance(same_size, OpenedFile)
    with path.open("r+b") as file:
        file.write(b"z")
    assert same_size.snapshot() is None
    same_size.close()
    wait_until_settled(path)
    again = root.open(["f"])
    assert isinstance(again, OpenedFile)
    os.truncate(path, 10)
    assert again.snapshot() is None
    again.close()


def test_what_is_dropped_is_closed(site: Path) -> None:
    root = Root(str(site))
    for names in (["a.txt"], ["in"]):
        opened = root.open(names)
        assert opened is not None
        fd = opened.fd
        os.fstat(fd)
        del opened
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_snapshot_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    wait_until_settled(tmp_path / "f")
    opened = Root(str(tmp_path)).open(["f"])
    assert isinstance(opened, OpenedFile)
    assert opened.snapshot() == b""
    opened.close()


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    yield
    if sys.platform == "linux":
        # Fewer, if garbage of an earlier test was collected meanwhile.
        assert len(os.listdir("/proc/self/fd")) <= before


def test_permission_denied_is_a_permission_error() -> None:
    assert issubclass(PermissionDenied, PermissionError)
    assert stat.S_ISDIR(os.stat("/").st_mode)

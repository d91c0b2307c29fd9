"""The access log: its formats as other programs read them, and what happens when it cannot be written."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.logs import access_log
from evio_http.logs.access_log import AccessLog
from tests.extent import examples
from tests.tables import each_row

COMMON = re.compile(
    r'(?P<address>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+|-)'
)
COMBINED = re.compile(COMMON.pattern + r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"')
NOW = 1_700_000_000.25


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    monkeypatch.setattr("time.time", lambda: NOW)


def entry(log: AccessLog, **fields: Any) -> None:
    values: dict[str, Any] = {
        "address": "192.0.2.1",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 200,
        "sent": 1234,
        "seconds": 0.00125,
    } | fields
    positional = [values.pop(name) for name in ("address", "method", "target", "version", "status", "sent", "seconds")]
    log.log(*positional, **values)


def written(path: Path, format: str, **fields: Any) -> str:  # noqa: A002
    log = AccessLog(str(path), format)
    entry(log, **fields)
    log.close()
    return path.read_text(encoding="ascii")


def test_common(tmp_path: Path, clock: None) -> None:
    line = written(tmp_path / "log", "common", user="frank", referer="http://x/", user_agent="curl")
    assert line == '192.0.2.1 - frank [14/Nov/2023:17:13:20 -0500] "GET /a?b=c HTTP/1.1" 200 1234\n'
    assert COMMON.fullmatch(line.rstrip("\n"))


def test_combined(tmp_path: Path, clock: None) -> None:
    line = written(tmp_path / "log", "combined", address="2001:db8::1", referer="http://x/", user_agent="curl/8.0")
    assert line == (
        '2001:db8::1 - - [14/Nov/2023:17:13:20 -0500] "GET /a?b=c HTTP/1.1" 200 1234 "http://x/" "curl/8.0"\n'
    )


def test_json(tmp_path: Path, clock: None) -> None:
    line = written(tmp_path / "log", "json", user="frank", host="h", referer="r", user_agent="ua", tls="TLSv1.3")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "address": "192.0.2.1",
        "user": "frank",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 1234,
        "seconds": 0.00125,
        "host": "h",
        "referer": "r",
        "user_agent": "ua",
        "tls": "TLSv1.3",
    }


def test_an_address_that_is_not_known(tmp_path: Path, clock: None) -> None:
    assert written(tmp_path / "log", "common", address="").startswith("- - - [14/Nov")


def test_what_is_absent(tmp_path: Path, clock: None) -> None:
    line = written(tmp_path / "log", "combined", address="", method="", target="", version="", status=400, sent=0)
    assert line == '- - - [14/Nov/2023:17:13:20 -0500] "-" 400 - "-" "-"\n'


def test_the_time_moves_on(tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog(str(tmp_path / "log"), "common")
    for now in (NOW, NOW + 0.5, NOW + 1):
        monkeypatch.setattr("time.time", lambda now=now: now)
        entry(log)
    log.close()
    times = re.findall(r"2023:(\S+)", (tmp_path / "log").read_text())
    assert times == ["17:13:20", "17:13:20", "17:13:21"]


@pytest.mark.parametrize(
    "zone, shown", [("UTC", "+0000"), ("Asia/Kolkata", "+0530"), ("America/St_Johns", "-0330"), ("Asia/Tokyo", "+0900")]
)
def test_time_zones(tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch, zone: str, shown: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert f" {shown}]" in written(tmp_path / "log", "common")


INJECTIONS = [
    'a" 200 0 "-" "x',
    'a\\" 200 0',
    "a\nb",
    "a\r\n192.0.2.9 - - [x] y",
    "a\x00\x1b[31m\x7f",
    "caf\u00e9 \u202e",
    '","status":999,"x":"',
    "a b",
    "] [",
    "\\",
]


def check_injection(path: Path, text: str) -> None:
    for number, format in enumerate(("common", "combined", "json")):  # noqa: A001
        line = written(
            path / str(number), format, address=text, method=text, target=text, version=text, user=text, referer=text,
            user_agent=text, host=text, tls=text,
        )  # fmt: skip
        (path / str(number)).unlink()
        assert line.endswith("\n")
        line = line[:-1]
        assert line.isascii()
        assert line.isprintable(), line
        if format == "json":
            assert json.loads(line)["status"] == 200
        else:
            found = (COMMON if format == "common" else COMBINED).fullmatch(line)
            assert found, line
            assert found["status"] == "200"


@each_row("text", INJECTIONS)
def test_no_text_makes_a_second_line_or_field(tmp_path: Path, text: str) -> None:
    check_injection(tmp_path, text)


@settings(max_examples=examples(50), deadline=None)
@given(st.text(max_size=12))
def test_nor_does_any_other(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    check_injection(tmp_path_factory.getbasetemp(), text)


def test_bytes_are_shown_as_received(tmp_path: Path) -> None:
    target = "/caf\u00e9".encode().decode("latin-1")
    assert "/caf\\xC3\\xA9 " in written(tmp_path / "a", "common", target=target)
    assert json.loads(written(tmp_path / "b", "json", target=target))["target"] == "/caf\u00e9"
    assert json.loads(written(tmp_path / "c", "json", target="\xff"))["target"] == "\xff"


def test_lines_are_collected(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    entry(log)
    assert path.read_text() == ""
    log.flush()
    assert path.read_text().count("\n") == 1
    while path.read_text().count("\n") == 1:
        entry(log)
    assert len(path.read_text()) >= access_log.FLUSH_BYTES
    log.close()
    log.close()


def test_it_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    assert written(path, "common").startswith("before\n192.0.2.1 ")


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="common, combined, json"):
        AccessLog(str(tmp_path / "log"), "xml")


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(str(tmp_path / "nothing" / "log"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        AccessLog(str(tmp_path / "fifo"))


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    entry(log, target="/one")
    path.rename(tmp_path / "log.1")
    entry(log, target="/two")
    log.reopen()
    entry(log, target="/three")
    log.close()
    assert re.findall("/one|/two|/three", (tmp_path / "log.1").read_text()) == ["/one", "/two"]
    assert re.findall("/one|/two|/three", path.read_text()) == ["/three"]


def test_a_rotation_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    log = AccessLog(str(tmp_path / "d" / "log"))
    (tmp_path / "d").rename(tmp_path / "e")
    with pytest.raises(FileNotFoundError):
        log.reopen()
    entry(log)
    log.close()
    assert (tmp_path / "e" / "log").read_text().count("\n") == 1


@pytest.mark.parametrize("removed", [False, True])
def test_a_file_that_is_moved_away_or_removed_is_followed(tmp_path: Path, removed: bool) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    log = AccessLog(str(path))
    entry(log, target="/one")
    log.flush()
    log.follow()
    if removed:
        path.unlink()
    else:
        path.rename(moved)
        path.write_text("")  # as logrotate's "create" does
    log.follow()
    entry(log, target="/two")
    log.close()
    assert re.findall("/one|/two", path.read_text()) == ["/two"]
    assert removed or re.findall("/one|/two", moved.read_text()) == ["/one"]


def test_a_file_that_cannot_be_followed_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "d").mkdir()
    log = AccessLog(str(tmp_path / "d" / "log"))
    (tmp_path / "d").rename(tmp_path / "e")
    log.follow()
    log.follow()
    entry(log)
    log.close()
    assert len(caplog.messages) == 1
    assert "was moved and cannot be opened anew: No such file or directory" in caplog.text
    assert (tmp_path / "e" / "log").read_text().count("\n") == 1


@pytest.mark.parametrize("path", ["-", os.devnull])
def test_what_is_no_file_is_not_followed(path: str) -> None:
    log = AccessLog(path)
    log.follow()
    log.close()


def test_what_could_not_be_written_is_in_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog(str(tmp_path / "log"))
    full, write = (tmp_path / "log").stat().st_ino, os.write

    def write_elsewhere(fd: int, data: bytes) -> int:
        if os.fstat(fd).st_ino == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(access_log.os, "write", write_elsewhere)  # type: ignore[attr-defined]
    entry(log, target="/one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.reopen()
    assert "/one" in (tmp_path / "log").read_text()
    log.close()


class Disk:
    """A disk that has room for so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 60
        self._write: Callable[[int, bytes], int] = os.write
        monkeypatch.setattr(access_log.os, "write", self.write)  # type: ignore[attr-defined]

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(fd, data[: self.room])
        self.room -= count
        return count


def test_a_full_disk_is_told_once_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    log = AccessLog(str(tmp_path / "log"))
    disk.room = 30  # in the middle of a line
    for number in range(10):
        entry(log, target=f"/{number}")
        log.flush()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert os.strerror(errno.ENOSPC) in caplog.text
    disk.room = 1 << 60
    log.flush()
    log.flush()
    assert len(caplog.records) == 2
    assert "0 lines were lost" in caplog.text
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [re.findall(r"GET /(\d+)", line) for line in lines] == [[str(number)] for number in range(10)]


def test_a_disk_that_stays_full_costs_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(access_log, "MAX_HELD", 10_000)
    log = AccessLog(str(tmp_path / "log"), "common")
    disk.room = 0
    for _ in range(1000):
        entry(log)
        log.flush()
        assert len(log._held) < 10_200
    disk.room = 1 << 60
    log.flush()
    lost = int(re.findall(r"(\d+) lines were lost", caplog.text)[0])
    entry(log)
    log.close()
    assert (tmp_path / "log").read_text().count("\n") == 1001 - lost
    assert lost > 800
    assert len(caplog.records) == 2


def test_lines_lost_at_the_end_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    log = AccessLog(str(tmp_path / "log"), "common")
    disk.room = 0
    entry(log)
    entry(log)
    log.close()
    assert "2 lines" in caplog.text


def test_threads_share_it(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"), "common")

    def use(name: str) -> None:
        for number in range(500):
            entry(log, target=f"/{name}/{number}")

    threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log.close()
    text = (tmp_path / "log").read_text()
    assert all(COMMON.fullmatch(line) for line in text.splitlines())
    for name in "abcd":
        assert re.findall(rf"/{name}/(\d+)", text) == [str(number) for number in range(500)]


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("-", "common")
    entry(log)
    log.reopen()
    log.close()
    os.fstat(1)
    assert COMMON.fullmatch(capfd.readouterr().out.rstrip("\n"))

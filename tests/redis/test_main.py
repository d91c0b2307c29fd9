"""The command line and the configuration."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_redis
from evio_redis.__main__ import main, parse_arguments
from evio_redis.errors import ConfigError
from evio_redis.persistence.aof.encode import encode
from tests.core.harness import eventually, needs
from tests.popen import Popen
from tests.tables import each_row

from .conftest import execute
from .wire import Wire, redis_server

WRONG = [
    (["--porrt", "1"], "unknown directive 'porrt'; did you mean 'port'?"),
    (["--hep"], "unknown directive 'hep'; did you mean 'help'?"),
    (["--x"], "unknown directive 'x'; evio-redis --help has all of them"),
    (["--port"], "--port needs a value"),
    (["--port", "x"], "argument couldn't be parsed into an integer"),
    (["--port", "70000"], "argument must be between 0 and 65535 inclusive"),
    (["--appendfsync", "sometimes"], "must be one of the following: everysec, always, no"),
    (["--maxmemory", "lots"], "argument must be a memory value"),
    (["--tls-port", "1"], "tls-port needs tls-cert-file and tls-key-file"),
    (["--save", "60 x"], "Invalid save parameters"),
    (["--save", "60"], "Invalid save parameters (given '60'; it takes SECONDS CHANGES)"),
    (["--port", "0", "--tls-port", "1", "--tls-cert-file", "no", "--tls-key-file", "no"], "cannot load certificate no"),
    (["--replicaof", "localhost"], "a host and a port are expected"),
    (["--replicaof", "localhost 0"], "Invalid master port"),
    (["--replicaof", "localhost \u00b2"], "Invalid master port"),
    (["--replicaof", "localhost " + "9" * 5000], "Invalid master port"),
    (["--maxmemory", "9" * 5000], "argument must be a memory value"),
    (["--shutdown-on-sigterm", "nosave force save"], "SAVE and NOSAVE can't be used simultaneously"),
    (["--cluster-enabled", "yes"], "cluster-enabled needs a map"),
    (["--port", "0", "--aclfile", "/no/users.acl"], "opening file '/no/users.acl': No such file or directory"),
    (["--port", "0", "--user", "alice", "nonsense"], "Error loading ACL rule 'nonsense'"),
    (["--tls-protocols", "TLSv1.3"], "no choice among them"),
    (["--port", "1", "file.conf"], "argument couldn't be parsed"),
    (["--bind", "tcp://127.0.0.1:1"], "bind takes hosts, systemd://NAME and fd://NUMBER, not tcp://127.0.0.1:1"),
    (["--bind", "sytemd://"], "unknown scheme 'sytemd'; did you mean systemd?"),
    (["--bind", "fd://x"], "'x' is not a descriptor number, as in fd://3"),
    (["--supervised", "yes"], "must be one of the following: no, upstart, systemd, auto"),
    (["--proxy-protocol-networks", "10.0.0.0/8 here"], "'here' is no network, as 10.0.0.0/8 is"),
    (["--rename-command", "NOSUCH", "X"], "there is no command NOSUCH"),
]


@each_row("arguments, text", WRONG)
def test_what_is_wrong_is_one_line_and_status_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("evio-redis: ")
    assert text in error
    assert error.count("\n") == 1


SPLIT: list[tuple[list[str], dict[str, str]]] = [
    (["--maxmemory 700mb", "--loglevel verbose"], {"maxmemory": "734003200", "loglevel": "verbose"}),
    (["loglevel", "verbose", "--maxmemory '700mb'"], {"maxmemory": "734003200", "loglevel": "verbose"}),
    (["--proc-title-template", "--my--title", "--hz", "20"], {"proc-title-template": "--my--title", "hz": "20"}),
    (["--proc-title-template --my--title", "--hz", "20"], {"proc-title-template": "--my--title", "hz": "20"}),
    (["--save", "--hz", "20"], {"save": "", "hz": "20"}),
    (["--hz", "20", "--save"], {"save": "", "hz": "20"}),
    (["--save", "", "--hz=20"], {"save": "", "hz": "20"}),
    (["--proc-title-template", "--save", "--save", "60 1", "--hz", "20"], {"save": "60 1", "hz": "20"}),
    (["--save", "3600", "1", "300", "100"], {"save": "3600 1 300 100"}),
    (["--SAVE", "--HZ", "20"], {"save": "", "hz": "20"}),
    (["--requirepass", "a=b", "--hz=20"], {"requirepass": "a=b", "hz": "20"}),
]


@pytest.mark.parametrize("program", ["evio-redis", "redis-server"])
@pytest.mark.parametrize(("arguments", "expected"), SPLIT, ids=[" ".join(arguments) for arguments, _ in SPLIT])
def test_arguments_are_split_as_redis_server_does(
    program: str, arguments: list[str], expected: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("timeout 7\n")
    if program == "evio-redis":
        shown = parse_arguments([str(path), *arguments]).shown()
        assert {name: shown[name] for name in expected} == expected
    elif "--hz=20" not in arguments and "loglevel" not in arguments:  # what it does not know; what has to come first
        password = expected.get("requirepass")
        with redis_server(*arguments, config=str(path)) as port, redis.Redis(port=port, password=password) as client:
            assert {name: client.config_get(name)[name] for name in expected} == expected


def test_a_port_in_use_is_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1]), "--loglevel", "warning"]) == 1
    shown = capfd.readouterr()
    assert "Address already in use" in shown.out + shown.err
    assert (shown.out + shown.err).count("\n") == 1


def test_help_names_every_directive(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capfd.readouterr().out
    assert "--appendonly yes|no" in shown
    assert all(f"--{name}" in shown for name in ("port", "loops", "balance", "maxclients"))


def test_a_file_and_what_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    path.write_text('# a comment\nport 7000\nbind 127.0.0.1 ::1\nrequirepass "two words"\nmaxmemory 1gb\n')
    config = parse_arguments([str(path), "--port", "7001", "--notify-keyspace-events", "KEA"])
    assert config.port == 7001
    assert config.bind == ("127.0.0.1", "::1")
    assert config.requirepass == "two words"
    assert config.maxmemory == 1 << 30
    assert config.shown()["notify-keyspace-events"] == "AKE"


def test_a_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("port 7000\n\nmaxclients none\n")
    assert main([str(path)]) == 2
    assert f"{path}, line 3: maxclients: argument couldn't be parsed" in capsys.readouterr().err


def test_files_include_others_by_name_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "1.conf").write_text("port 7001\nmaxclients 11\n")
    (tmp_path / "conf.d" / "2.conf").write_text("port 7002\n")
    path = tmp_path / "redis.conf"
    path.write_text(f"port 7000\ninclude {tmp_path}/conf.d/*.conf\ntimeout 3\n")
    config = parse_arguments([str(path)])
    assert (config.port, config.maxclients, config.timeout) == (7002, 11, 3)


def test_a_file_that_includes_itself_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "1.conf", tmp_path / "2.conf"
    first.write_text(f"port 7000\ninclude {second}\n")
    second.write_text(f"include {first}\n")
    assert main([str(first)]) == 2
    error = capsys.readouterr().err
    assert f"{first} includes itself" in error
    assert error.count("\n") == 1


def test_directives_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("port 7000\nmaxclients 11\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"port 7001\ntimeout 3\n")))
    config = parse_arguments([str(path), "--timeout", "4", "-"])
    assert (config.port, config.maxclients, config.timeout) == (7001, 11, 4)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"port none\n")))
    with pytest.raises(ConfigError, match="standard input, line 1: port: argument couldn't be parsed"):
        parse_arguments(["-"])


def test_rewrite_keeps_comments_and_changes_values(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("# mine\nport 7000\nmaxclients 5\n")
    config = parse_arguments([str(path)])
    config.set([("maxclients", "77"), ("timeout", "9"), ("save", ""), ("bind", "")])
    config.rewrite()
    assert path.read_text() == '# mine\nport 7000\nmaxclients 77\nbind ""\ntimeout 9\nsave ""\n'


def test_config_set_is_all_or_nothing(client: redis.Redis) -> None:
    error = execute(client, "CONFIG", "SET", "timeout", "5", "maxclients", "0")
    assert "possibly related to argument 'maxclients'" in str(error)
    assert client.config_get("timeout") == {"timeout": "0"}
    assert client.config_set("timeout", 5)
    assert client.config_get("timeout") == {"timeout": "5"}


def test_a_password_is_asked_for() -> None:
    with evio_redis.Server(port=0, requirepass="secret") as server:
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=server.port, password="secret") as known:
            assert known.ping()


def test_a_unix_socket_alone(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, unixsocket=str(tmp_path / "r.sock")) as server:
        assert server.port == 0
        with redis.Redis(unix_socket_path=str(tmp_path / "r.sock")) as client:
            assert client.ping()


def test_several_loops_share_the_keys() -> None:
    with evio_redis.Server(port=0, loops=3) as server:
        clients = [redis.Redis(port=server.port) for _ in range(6)]
        for client in clients:
            for _ in range(50):
                client.incr("n")
        assert clients[0].get("n") == b"300"
        for client in clients:
            client.close()


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of its own and its port, once it listens."""
    command = [sys.executable, "-m", "evio_redis", "--port", "0", *arguments]
    with Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            while "Ready to accept connections on tcp://127.0.0.1:" not in (line := running.stdout.readline()):
                assert line
            yield running, int(line.rsplit(":", 1)[1])
        finally:
            running.kill()


def wait_for(address: Path, running: subprocess.Popen[Any]) -> None:
    """Until the server accepts connections on its unix socket."""
    deadline = time.monotonic() + 20
    while running.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as peer, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            peer.connect(str(address))
            return
        time.sleep(0.01)
    raise AssertionError("the server does not start")


def rest(running: subprocess.Popen[str]) -> list[str]:
    """Return the rest of its log, up to its end, without the time."""
    assert running.stdout is not None
    return [line.partition(" * ")[2] or line.partition(" # ")[2] for line in running.stdout.read().splitlines()]


def test_names_of_files_are_relative_to_the_directory(tmp_path: Path) -> None:
    """As redis-server has it, which goes there."""
    (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\nuser alice on >p ~* +@all\n")
    config = tmp_path / "redis.conf"
    config.write_text(f"dir {tmp_path}\naclfile users.acl\npidfile server.pid\nunixsocket server.sock\nport 0\n")
    with Popen([sys.executable, "-m", "evio_redis", str(config)], stdout=subprocess.DEVNULL) as running:
        try:
            wait_for(tmp_path / "server.sock", running)
            with redis.Redis(unix_socket_path=str(tmp_path / "server.sock")) as client:
                assert client.acl_users() == ["alice", "default"]
                assert client.config_get("dir") == {"dir": str(tmp_path)}
            assert (tmp_path / "server.pid").read_text() == f"{running.pid}\n"
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_listens_and_ends_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    with process("--pidfile", str(path)) as (running, port), redis.Redis(port=port) as client:
        assert client.ping()
        assert path.read_text() == f"{running.pid}\n"
        running.send_signal(number)
        assert running.wait(20) == 0
        assert rest(running) == [
            f"Received {number.name} scheduling shutdown...",
            "User requested shutdown...",
            "Removing the pid file.",
            "evio-redis is now ready to exit, bye bye...",
        ]
        assert not path.exists()


def test_a_server_that_cannot_write_its_last_snapshot_goes_on(tmp_path: Path) -> None:
    obstacle = tmp_path / "dump.rdb"
    flags = ("--dir", str(tmp_path), "--save", "3600 1", "--rdb-key-save-delay", "10000000")
    with process(*flags) as (running, port), redis.Redis(port=port) as client:
        obstacle.mkdir()  # a file cannot take the place of a directory
        assert client.set("k", "v")
        assert client.bgsave()
        assert eventually(lambda: any(tmp_path.glob("temp-*.rdb")))
        assert not (tmp_path / f"temp-{running.pid}.rdb").exists()  # which is that of SAVE
        client.config_set("rdb-key-save-delay", 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            running.send_signal(number)
            assert running.stdout is not None
            while "can't exit" not in running.stdout.readline():
                pass
            assert client.get("k") == b"v"
        assert list(tmp_path.iterdir()) == [obstacle]
        client.config_set("shutdown-on-sigterm", "nosave")
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_who_insists_leaves_no_half_of_a_snapshot(tmp_path: Path) -> None:
    flags = ("--dir", str(tmp_path), "--shutdown-on-sigint", "save", "--rdb-key-save-delay", "10000000")
    with process(*flags) as (running, port), redis.Redis(port=port) as client:
        assert client.mset({"k": "v", "l": "v"})
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        while "Saving the final RDB snapshot" not in running.stdout.readline():
            pass
        assert eventually(lambda: [each.name for each in tmp_path.iterdir()] == [f"temp-{running.pid}.rdb"])
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 1
        assert list(tmp_path.iterdir()) == []


def test_who_insists_need_not_wait_for_clients_that_do_not_read() -> None:
    with process("--shutdown-timeout", "1000") as (running, port), Wire(port) as wire:
        assert wire.ask(["SET", "k", "x" * 10_000_000]) == b"+OK\r\n"
        wire.send("GET k", "GET k", "GET k")
        assert wire.sock.recv(1, socket.MSG_PEEK) == b"$"
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        while "User requested shutdown..." not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.1)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 1
        assert rest(running) == ["You insist... exiting now."]


def a_long_load(directory: Path) -> list[str]:
    """Write a log that takes longer to load than anybody waits, and return the flags for it."""
    (directory / "appendonlydir").mkdir()
    (directory / "appendonlydir/appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    commands = b"".join(encode([b"SET", b"%d" % number, b"x"]) for number in range(1000))
    (directory / "appendonlydir/appendonly.aof.1.incr.aof").write_bytes(commands)
    return ["--appendonly", "yes", "--dir", str(directory), "--key-load-delay", "100000"]  # microseconds each


def test_a_signal_while_the_log_is_loaded_ends_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evio_redis", "--port", "0", *a_long_load(tmp_path)]
    with Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while "Server initialized" not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        said = ["Received shutdown signal during loading, exiting now.", "evio-redis is now ready to exit, bye bye..."]
        assert rest(running) == said


def test_the_log_file_may_be_moved_away_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    command = [sys.executable, "-m", "evio_redis", "--unixsocket", str(tmp_path / "s"), "--port", "0"]
    with subprocess.Popen([*command, "--logfile", str(path)]) as running:
        try:
            wait_for(tmp_path / "s", running)
            with redis.Redis(unix_socket_path=str(tmp_path / "s")) as client:
                assert client.ping()
            path.rename(tmp_path / "server.log.1")
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
        finally:
            running.kill()
    assert "User requested shutdown..." in path.read_text()
    assert "User requested shutdown..." not in (tmp_path / "server.log.1").read_text()


def test_a_log_file_that_cannot_be_opened_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none" / "server.log"
    assert main(["--port", "0", "--logfile", str(path)]) == 2
    assert capsys.readouterr().err == f"evio-redis: {path}: No such file or directory\n"


def test_a_port_in_the_place_of_a_file_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["7000"]) == 2
    expected = "evio-redis: 7000: No such file or directory; a port is given as --port 7000\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("mode", "told"), [("systemd", True), ("auto", True), ("no", False)])
def test_systemd_is_told_if_it_is_wanted(
    mode: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20 if told else 0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with process("--supervised", mode) as (running, port), redis.Redis(port=port) as client:
            assert client.info("server")["process_supervised"] == ("systemd" if told else "no")
            if told:
                assert manager.recv(100) == b"READY=1"
                running.send_signal(signal.SIGHUP)
                assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert manager.recv(100) == b"READY=1"
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
            if told:
                assert manager.recv(100) == b"STOPPING=1"
            else:
                with pytest.raises(BlockingIOError):
                    manager.recv(100)


def test_systemd_is_told_once_all_is_loaded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evio_redis", "--port", "0", *a_long_load(tmp_path)]
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        command += ["--supervised", "systemd"]
        with Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
            try:
                assert running.stdout is not None
                while "Server initialized" not in running.stdout.readline():
                    pass
                manager.setblocking(False)
                with pytest.raises(BlockingIOError):
                    manager.recv(100)
                running.send_signal(signal.SIGTERM)
                assert running.wait(20) == 0
            finally:
                running.kill()


def test_inherited_sockets(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        command = [sys.executable, "-m", "evio_redis", "--bind", f"fd://{listener.fileno()}", "--port", "0"]
        with Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()]) as running:
            try:
                with redis.Redis(unix_socket_path=str(tmp_path / "s")) as client:
                    assert client.ping()
                    assert client.config_get("bind") == {"bind": f"fd://{listener.fileno()}"}
                running.send_signal(signal.SIGTERM)
                assert running.wait(20) == 0
                assert [line for line in rest(running) if line.startswith("Ready")] == [
                    f"Ready to accept connections on unix://{tmp_path / 's'}"
                ]
            finally:
                running.kill()


def test_socket_activation(tmp_path: Path) -> None:
    tool = needs("systemd-socket-activate")
    command = [tool, "-l", str(tmp_path / "s"), sys.executable, "-m", "evio_redis", "--bind", "systemd://"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            assert running.stderr is not None
            assert b"Listening on" in running.stderr.readline()
            with redis.Redis(unix_socket_path=str(tmp_path / "s")) as client:
                assert client.ping()
            running.send_signal(signal.SIGUSR1)  # for servers that have to reopen their logs
            with redis.Redis(unix_socket_path=str(tmp_path / "s")) as client:
                assert client.ping()
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
        finally:
            running.kill()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("to_file", [False, True])
def test_a_log_that_cannot_be_written_is_told_of_once_and_does_not_stop_the_server(
    to_file: bool, tmp_path: Path
) -> None:
    address = tmp_path / "s"
    command = [sys.executable, "-m", "evio_redis", "--unixsocket", str(address), "--port", "0"]
    command += ["--logfile", "/dev/full"] if to_file else []
    with open("/dev/full", "wb") as full, subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE) as running:
        try:
            wait_for(address, running)
            with redis.Redis(unix_socket_path=str(address)) as client:
                assert client.ping()
            running.send_signal(signal.SIGTERM)
            _, error = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 0
    assert error == b"evio-redis: cannot write the log: [Errno 28] No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_what_is_asked_for_and_cannot_be_printed_is_one_line_and_status_1(asked: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "evio_redis", asked], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"evio-redis: No space left on device\n")


def test_a_pid_file_that_cannot_be_written_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with evio_redis.Server(port=0, pidfile=str(tmp_path / "none" / "server.pid")) as server:
        with redis.Redis(port=server.port) as client:
            assert client.ping()
    assert "Failed to write PID file: No such file or directory" in caplog.text


def test_the_plugin_has_a_server(evio_redis_server: evio_redis.Server) -> None:
    with redis.Redis(port=evio_redis_server.port) as client:
        assert client.dbsize() == 0

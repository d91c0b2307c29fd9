"""The files for those who operate the servers: each is looked at by the tools that will read it, and the commands in it
are run."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import evio_core
import evio_http.cli.arguments
import evio_redis.__main__
from tests.core.harness import TIMEOUT, needs

CONTRIB = Path(__file__).parents[2] / "contrib"
SERVERS = ("evio-redis", "evio-http", "evio-echo")
QUESTIONS = {
    "evio-redis": (b"PING\r\n", b"+PONG\r\n"),
    "evio-http": (b"GET /page.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
    "evio-echo": (b"hello", b"hello"),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with the programs where they are here."""
    for path in (CONTRIB / "systemd").iterdir():
        text = path.read_text().replace("/opt/evio/bin", f"{sys.prefix}/bin")
        (tmp_path / path.name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("server", SERVERS)
def test_units_are_understood_and_hardened(server: str, units: Path) -> None:
    tool = needs("systemd-analyze")
    for kind in ("service", "socket"):
        done = subprocess.run(
            [tool, "verify", "--man=no", units / f"{server}.{kind}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    exposure = [tool, "security", "--offline=true", "--threshold=20", str(units / f"{server}.service")]
    subprocess.run(exposure, check=True, timeout=60, stdout=subprocess.DEVNULL)  # 2.0 of 10 at most


@contextlib.contextmanager
def activated(
    server: str, units: Path, directory: Path
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, Path]]:
    """The service as its unit starts it, on a socket that is passed to it, with a service manager that listens."""
    tool = needs("systemd-socket-activate")
    unit = (units / f"{server}.service").read_text()
    for what, where in (("${STATE_DIRECTORY}", directory), ("${LOGS_DIRECTORY}", directory), ("/srv/www", directory)):
        unit = unit.replace(what, str(where))
    found = re.search("^ExecStart=(.*)$", unit, re.MULTILINE)
    assert found is not None
    path = directory / "socket"
    command = [tool, "-l", str(path), "-E", f"NOTIFY_SOCKET={directory / 'notify'}", *shlex.split(found[1])]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(TIMEOUT)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                assert process.stderr is not None
                assert b"Listening on" in process.stderr.readline()
                yield process, manager, path
            finally:
                process.kill()


@pytest.mark.parametrize("server", SERVERS)
def test_a_service_is_started_by_its_first_client(server: str, units: Path, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("hello")
    with activated(server, units, tmp_path) as (process, manager, path), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        question, answer = QUESTIONS[server]
        client.sendall(question)
        assert client.recv(len(answer), socket.MSG_WAITALL) == answer
        assert manager.recv(1000) == b"READY=1"
        process.send_signal(signal.SIGUSR1)
        if server != "evio-echo":
            process.send_signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"RELOADING=1\n")
            assert manager.recv(1000) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert manager.recv(1000) == b"STOPPING=1"
        assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("server", SERVERS)
def test_containerfiles(server: str) -> None:
    path = CONTRIB / "container" / f"{server}.Containerfile"
    installed = Path(sys.prefix) / "bin/hadolint"
    tool = str(installed) if installed.exists() else needs("hadolint")
    done = subprocess.run([tool, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert f"=={evio_core.__version__}'" in path.read_text()


@pytest.mark.parametrize("path", sorted((CONTRIB / "logrotate").iterdir()), ids=lambda path: path.name)
def test_logrotate(path: Path, tmp_path: Path) -> None:
    """A rotation with the log in another place."""
    tool = needs("logrotate")
    log, config = tmp_path / "server.log", tmp_path / "rotate"
    log.write_text("one line\n")
    config.write_text(re.sub(r"^/var/log/.* \{$", f"{log} {{", path.read_text(), flags=re.MULTILINE))
    config.chmod(0o644)
    command = [tool, "--force", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not log.exists()
    assert len(list(tmp_path.glob("server.log.1*"))) == 1


# -- sets of containers


COMPOSE = sorted((CONTRIB / "compose").glob("*.yaml"))


def compose(path: Path) -> dict[str, Any]:
    """The file as compose reads it, with the anchors resolved."""
    return dict(YAML(typ="safe").load(path))


def test_compose_files_are_of_the_specification_s_schema() -> None:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, COMPOSE)]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        for path in COMPOSE:
            subprocess.run([docker, "compose", "-f", path, "config", "--quiet"], check=True, timeout=60)


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.stem)
def test_compose_files_fit_together_and_what_they_run_understands_its_flags(path: Path) -> None:
    found = compose(path)
    services, volumes, configs = found["services"], found.get("volumes", {}), found["configs"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert {each["source"] for each in service.get("configs", ())} <= set(configs)
        named = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        assert {volume for volume in named if volume.isidentifier() or "-" in volume} - set(volumes) <= {"${SITE"}
        build = service.get("build", {})
        if "dockerfile" in build:
            containerfile = path.parent / build["context"] / build["dockerfile"]
            entry = re.search(r"^ENTRYPOINT (\[.*\])$", containerfile.read_text(), re.MULTILINE)
            assert entry is not None
            words: list[str] = [*json.loads(entry[1]), *service["command"]]
            program, given = words[0], words[1:]
            if program == "evio-redis":
                settings = evio_redis.__main__.parse_arguments(given)
                assert not settings.protected_mode  # there are no passwords, and clients come from other containers
            else:
                evio_http.cli.arguments.parse_arguments(given)
            assert service["image"] == program
    text = "\n".join(each["content"] for each in configs.values())
    asked = set(re.findall(r"\b([a-z-]+):(?:6380|8080)\b", text)) | set(re.findall(r"monitor \w+ (\w+)", text))
    assert asked == {name for name, service in services.items() if service.get("image", "").startswith("evio-")}


@pytest.mark.parametrize("name", ["haproxy", "nginx", "nutcracker"])
def test_the_engines_understand_the_configurations_in_compose_files(name: str, tmp_path: Path) -> None:
    tool = needs(name)
    contents = [compose(path)["configs"].get(name) for path in COMPOSE]
    (content,) = (each["content"].replace("$$", "$") for each in contents if each is not None)
    path = tmp_path / "config"
    if name == "haproxy":
        command = [tool, "-c", "-f", str(path)]
    elif name == "nutcracker":
        command = [tool, "--test-conf", "--conf-file", str(path)]
    else:
        command = [tool, "-t", "-p", str(tmp_path), "-c", str(path)]
        content = content.replace("/var/cache/site", str(tmp_path / "cache")).replace("listen 80;", "listen 8080;")
        content = re.sub(r"server (one|two):", "server 127.0.0.1:", content)  # which only its network knows
        folders = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        body = f"client_body_temp_path {tmp_path}/body;"
        content = f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ {body} {folders}\n{content} }}\n"
    path.write_text(content)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

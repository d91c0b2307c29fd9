"""TLS: clients of several kinds, client certificates, and certificates that are replaced while the server runs."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from tests.popen import Popen, run
from tests.ports import free_port


class Files:
    """An authority, a server's pair of files and a client's."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = (str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        self.client = str(directory / "client.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(self.client)
        self.issue()

    def issue(self) -> None:
        """A new pair for the server."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.cert)

    def arguments(self, *more: str) -> list[str]:
        return ["--tls-cert-file", self.cert, "--tls-key-file", self.key, "--tls-auth-clients", "no", *more]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Process:
    """evio-redis in a process of its own, with a port for TLS only."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "evio_redis", "--port", "0", "--tls-port", str(self.port), *arguments]
        self.process: subprocess.Popen[str] = Popen(command, stdout=subprocess.PIPE, text=True)
        self.wait_for("Ready to accept connections on tls")

    def wait_for(self, text: str) -> str:
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line, "the server has ended"
        return line

    def serial(self, trusted: str) -> int:
        """The serial number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=trusted)
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            with context.wrap_socket(sock, server_hostname="localhost") as secure:
                secure.sendall(b"PING\r\n")
                assert secure.recv(100) == b"+PONG\r\n"
                shown = secure.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


@pytest.fixture
def server(files: Files) -> Iterator[Process]:
    running = Process(*files.arguments())
    yield running
    running.process.terminate()
    running.process.communicate(timeout=20)


def test_redis_py_and_redis_cli_speak_tls(server: Process, files: Files) -> None:
    with redis.Redis(port=server.port, ssl=True, ssl_ca_certs=files.ca) as client:
        value = "x" * 300_000
        assert client.set("k", value)
        assert client.get("k") == value.encode()
    command = ["redis-cli", "-p", str(server.port), "--tls", "--cacert", files.ca, "STRLEN", "k"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout == "300000\n"


def test_a_pair_that_is_replaced_is_used_after_sighup_and_a_bad_one_is_not(server: Process, files: Files) -> None:
    with redis.Redis(port=server.port, ssl=True, ssl_ca_certs=files.ca) as before:
        before.set("k", "v")
        first = server.serial(files.ca)
        files.issue()
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("certificates reloaded")
        second = server.serial(files.ca)
        assert second != first
        Path(files.cert).write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        assert "cannot load certificate" in server.wait_for("the certificates in use stay")
        assert server.serial(files.ca) == second
        assert before.get("k") == b"v"  # those who are connected notice nothing


@pytest.mark.parametrize("auth", ["yes", "optional", "no"])
def test_client_certificates(files: Files, auth: str) -> None:
    running = Process(*files.arguments("--tls-ca-cert-file", files.ca, "--tls-auth-clients", auth))
    try:
        context = ssl.create_default_context(cafile=files.ca)
        if auth == "yes":
            with pytest.raises((ssl.SSLError, ConnectionError)):
                running.serial(files.ca)
        else:
            assert running.serial(files.ca)
        context.load_cert_chain(files.client)
        with redis.Redis(
            port=running.port, ssl=True, ssl_ca_certs=files.ca, ssl_certfile=files.client, ssl_keyfile=files.client
        ) as client:
            assert client.ping()
    finally:
        running.process.terminate()
        running.process.communicate(timeout=20)


def test_what_is_wrong_with_the_files_is_one_line(files: Files, tmp_path: Path) -> None:
    missing = str(tmp_path / "nosuch.pem")
    command = [sys.executable, "-m", "evio_redis", "--port", "0", "--tls-port", "1", "--tls-cert-file", missing]
    command += ["--tls-key-file", files.key]
    done = run(command, timeout=20)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nosuch.pem" in done.stderr
    assert "No such file or directory" in done.stderr

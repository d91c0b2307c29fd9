"""Socket options of addresses and of connections: the kernel has what was asked for, and where it has no such thing,
that is said."""

from __future__ import annotations

import dataclasses
import queue
import socket
import ssl
import struct
from contextlib import ExitStack
from typing import Any

import pytest

from evio_core import Address, AddressError, Conn, Events, ListenError, Options, TLSError
from evio_core.addresses.bind import bind_all
from tests.ports import free_port
from tests.tables import each_row

from .conftest import POLLERS, Certificates, use_poller
from .harness import TIMEOUT, Recorder, connect, running

IP, IP6, TCP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_TCP


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


def bound(text: str, options: Options | None = None) -> list[socket.socket]:
    """The sockets of an address."""
    (made,) = bind_all([Address.parse(text)], options or Options(), 1)
    return made.sets[0]


def option_of(sock: socket.socket, level: int, name: int) -> int:
    with sock:
        return sock.getsockopt(level, name)


# -- of connections

PROBES = Options(tcp_keepalive=100, tcp_keepalive_interval=7, tcp_keepalive_count=4, tcp_user_timeout=12.5, tos=0x48)


def probes(fd: int) -> tuple[int, ...]:
    """The values of these options that the kernel has."""
    sock = socket.socket(fileno=fd)
    try:
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        tos = sock.getsockopt(IP6, socket.IPV6_TCLASS) if sock.family == socket.AF_INET6 else sock.getsockopt(IP, 1)
        return (*(sock.getsockopt(TCP, name) for name in names), tos)
    finally:
        sock.detach()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_options_are_those_of_accepted_and_dialled_connections(poller: str, host: str) -> None:
    record = Recorder()

    def opened(conn: Any) -> None:
        record.add("opened", conn.addr_index, probes(conn.fd))

    def data(conn: Any, chunk: bytes) -> None:
        conn.configure(tcp_keepalive_interval=0.0, tcp_keepalive_count=9, tcp_user_timeout=0.0, tos=0)
        record.add("changed", probes(conn.fd))

    with running(Events(opened=opened, data=data, options=PROBES), f"tcp://{host}:0") as run:
        dialled = run.server.dial(f"tcp://{host}:{run.addr[1]}")
        opened_ones = {index: values for _, index, values in record.wait_for("opened", 2)}
        dialled.write(b"x")
        assert record.wait_for("changed") == [("changed", (100, 100, 9, 0, 0))]
    assert opened_ones == {0: (100, 7, 4, 12500, 0x48), -1: (100, 7, 4, 12500, 0x48)}


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_have_the_traffic_class(poller: str, version: int) -> None:
    family, host, address = (
        (socket.AF_INET, "127.0.0.1", "udp4://127.0.0.1:0")
        if version == 4
        else (socket.AF_INET6, "::1", "udp6://[::1]:0")
    )
    with running(Events(data=lambda peer, chunk: chunk, options=Options(tos=0xB8)), address) as run:
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.bind((host, 0))
            if version == 4:
                peer.setsockopt(IP, socket.IP_RECVTOS, 1)
            else:
                peer.setsockopt(IP6, socket.IPV6_RECVTCLASS, 1)
            peer.sendto(b"x", run.addr)
            _, ancillary, _, _ = peer.recvmsg(100, 100)
    assert ancillary[0][2][0] == 0xB8


@each_row(
    ("wrong", "message"),
    [
        ({"tos": 256}, "tos must be 255 at most"),
        ({"tos": 1.5}, "tos must be a whole number"),
        ({"tcp_keepalive_count": 128, "tcp_keepalive": 1}, "tcp_keepalive_count must be 127 at most"),
        ({"tcp_keepalive_interval": 40000, "tcp_keepalive": 1}, "tcp_keepalive_interval must be 32767 at most"),
        ({"tcp_keepalive_interval": 5}, "need a tcp_keepalive to follow"),
        ({"tcp_keepalive_count": 5}, "need a tcp_keepalive to follow"),
        ({"tcp_user_timeout": 3e6}, "tcp_user_timeout must be 2147483 at most"),
        ({"tcp_user_timeout": -1}, "tcp_user_timeout must be 0 or more"),
    ],
)
def test_what_no_kernel_takes_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Options(**wrong)


@pytest.mark.parametrize(
    ("name", "needed"),
    [("tcp_user_timeout", "TCP_USER_TIMEOUT"), ("tcp_keepalive_count", "TCP_KEEPCNT"), ("tos", "IP_TOS")],
)
def test_options_that_the_system_has_not_are_refused(name: str, needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, needed)
    with pytest.raises(ValueError, match=f"{name} cannot be set: this system has no {needed}"):
        changed: dict[str, Any] = {name: 5}
        dataclasses.replace(Options(tcp_keepalive=5.0), **changed)
    Options(tcp_keepalive=5.0)


# -- of addresses


def test_options_of_listening_sockets() -> None:
    text = "tcp4://127.0.0.1:0?fast_open=16&defer_accept=3&bind_to_device=lo"
    (sock,) = bound(text)
    with sock:
        assert sock.getsockopt(TCP, socket.TCP_FASTOPEN) == 16
        assert sock.getsockopt(TCP, socket.TCP_DEFER_ACCEPT) >= 3  # the kernel counts in retransmissions
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"


def test_a_connection_without_data_is_not_accepted_yet(poller: str) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), data=lambda conn, chunk: record.add("data", chunk))
    with running(events, "tcp://127.0.0.1:0?defer_accept=30", "tcp://127.0.0.1:0") as run:
        with connect(run.addr) as quiet, connect(run.server.addrs[1]):
            record.wait_for("opened")
            assert run.server.stats().total.accepted == 1
            quiet.sendall(b"here I am")
            record.wait_for("data")
    assert record.names() == ["opened", "opened", "data"]


def test_an_interface_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on tcp://127\.0\.0\.1:0: No such device"):
        bound("tcp://127.0.0.1:0?bind_to_device=none0")


def test_a_dual_stack_socket(poller: str) -> None:
    names: queue.Queue[Any] = queue.Queue()
    with running(Events(opened=lambda conn: names.put(conn.remote_addr)), "tcp6://[::]:0?v6only=false") as run:
        with connect(("127.0.0.1", run.addr[1])), connect(("::1", run.addr[1])):
            assert {names.get(timeout=TIMEOUT)[0] for _ in range(2)} == {"::ffff:127.0.0.1", "::1"}


def test_a_dual_stack_datagram_socket_answers_from_the_address_that_was_asked(poller: str) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def data(peer: Conn, chunk: bytes) -> bytes:
        seen.put((peer.remote_addr[0], peer.local_addr[0]))
        return chunk

    with running(Events(data=data), "udp6://[::]:0?v6only=false") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.bind(("127.0.0.1", 0))
            peer.sendto(b"x", ("127.0.0.5", run.addr[1]))
            assert peer.recvfrom(100) == (b"x", ("127.0.0.5", run.addr[1]))
    assert seen.get(timeout=TIMEOUT) == ("::ffff:127.0.0.1", "::ffff:127.0.0.5")


# -- multicast


def multicast_capable(family: int) -> bool:
    """False where not even the loopback interface carries groups, as in some containers."""
    with ExitStack() as stack:
        receiver, sender = (stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
        try:
            receiver.bind(("", 0))
            index = socket.if_nametoindex("lo")
            if family == socket.AF_INET:
                mreq = socket.inet_aton("239.255.77.1") + bytes(4) + struct.pack("@i", index)
                receiver.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, mreq)
                sender.setsockopt(IP, socket.IP_MULTICAST_IF, mreq)
                sender.sendto(b"x", ("239.255.77.1", receiver.getsockname()[1]))
            else:
                mreq = socket.inet_pton(family, "ff12::7701") + struct.pack("@I", index)
                receiver.setsockopt(IP6, socket.IPV6_JOIN_GROUP, mreq)
                sender.setsockopt(IP6, socket.IPV6_MULTICAST_IF, index)
                sender.sendto(b"x", ("ff12::7701", receiver.getsockname()[1]))
            receiver.settimeout(1)
            return receiver.recv(10) == b"x"
        except OSError:
            return False


@pytest.mark.parametrize(
    ("family", "address", "group", "interface"),
    [
        (socket.AF_INET, "udp4://:0", "239.255.77.2", "lo"),
        (socket.AF_INET, "udp://:0", "239.255.77.3", "127.0.0.1"),
        (socket.AF_INET6, "udp6://:0", "ff12::7702", "lo"),
        (socket.AF_INET6, "udp://:0", "ff12::7703", "lo"),
    ],
)
def test_datagrams_to_a_group_arrive(poller: str, family: int, address: str, group: str, interface: str) -> None:
    if not multicast_capable(family):
        pytest.skip("the loopback interface carries no groups of this family")
    chunks: queue.Queue[bytes] = queue.Queue()
    events = Events(data=lambda peer, chunk: chunks.put(chunk))
    with running(events, f"{address}?multicast={group}&multicast_interface={interface}") as run:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            index = socket.if_nametoindex("lo")
            if family == socket.AF_INET:
                sender.setsockopt(IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
            else:
                sender.setsockopt(IP6, socket.IPV6_MULTICAST_IF, index)
            sender.sendto(b"to all", (group, run.addr[1]))
        assert chunks.get(timeout=TIMEOUT) == b"to all"


def test_options_of_what_is_sent_to_a_group() -> None:
    text = "udp://:0?multicast_ttl=7&multicast_loop=false&multicast_interface=lo"
    for sock in bound(text):
        with sock:
            if sock.family == socket.AF_INET:
                assert sock.getsockopt(IP, socket.IP_MULTICAST_TTL) == 7
                assert sock.getsockopt(IP, socket.IP_MULTICAST_LOOP) == 0
            else:
                assert sock.getsockopt(IP6, socket.IPV6_MULTICAST_HOPS) == 7
                assert sock.getsockopt(IP6, socket.IPV6_MULTICAST_LOOP) == 0
                assert sock.getsockopt(IP6, socket.IPV6_MULTICAST_IF) == socket.if_nametoindex("lo")
    (sock,) = bound("udp4://:0?multicast_ttl=0&multicast_interface=127.0.0.1")
    with sock:
        assert sock.getsockopt(IP, socket.IP_MULTICAST_TTL) == 0
        assert sock.getsockopt(IP, socket.IP_MULTICAST_IF, 4) == bytes([127, 0, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp4://:0?multicast=ff12::1", "no socket of the family of the group ff12::1"),
        ("udp6://[::1]:0?multicast=239.255.1.1", "no socket of the family of the group 239.255.1.1"),
        ("udp4://:0?multicast=239.255.1.1&multicast_interface=none0", "no interface with this name"),
        ("udp6://:0?multicast=ff12::1&multicast_interface=127.0.0.1", "no interface with this name"),
    ],
)
def test_groups_that_cannot_be_joined_are_an_error(text: str, message: str) -> None:
    with pytest.raises(ListenError, match=message):
        bound(text)


# -- of what is dialled


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", "127.0.0.77"), ("[::1]", "::1"), ("localhost", "127.0.0.78")])
def test_our_end_of_a_dialled_connection_may_be_chosen(poller: str, host: str, own: str) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        record.add("accepted" if conn.addr_index >= 0 else "dialled", conn.remote_addr, conn.local_addr)

    with running(Events(opened=opened), f"tcp://{host}:0") as run:
        run.server.dial(f"tcp://{host}:{run.addr[1]}?bind={own}")
        ((_, remote, _),) = record.wait_for("accepted")
        ((_, _, local),) = record.wait_for("dialled")
        assert remote[0] == own
        assert local[:2] == remote[:2]
        assert remote[1] > 0


def test_a_port_of_our_end_may_be_chosen_again_and_again(poller: str) -> None:
    record = Recorder()
    port = free_port()

    def opened(conn: Conn) -> None:
        if conn.addr_index < 0:
            record.add("dialled", conn.local_addr)
            conn.close()

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.addr_index < 0:
            record.add("closed", error)

    with running(Events(opened=opened, closed=closed), "tcp://127.0.0.1:0", "tcp://127.0.0.2:0") as run:
        for index, (host, target) in enumerate(run.server.addrs, 1):
            run.server.dial(f"tcp://{host}:{target}?bind=127.0.0.1:{port}")
            assert record.wait_for("dialled", index)[-1][1] == ("127.0.0.1", port)
            assert record.wait_for("closed", index)[-1][1] is None


@pytest.mark.parametrize(
    ("text", "kind"), [("tcp://127.0.0.1:1?bind=::1", OSError), ("tcp://127.0.0.1:1?bind=192.0.2.1", OSError)]
)
def test_an_end_that_cannot_be_ours_is_the_reason_of_the_failure(poller: str, text: str, kind: type) -> None:
    record = Recorder()
    with running(Events(closed=lambda conn, error: record.add("closed", error)), "tcp://127.0.0.1:0") as run:
        run.server.dial(text)
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, kind)
    assert "another family" in str(error) if "::1" in text else "assign" in str(error)


def test_the_interface_of_a_dialled_connection(poller: str) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        if conn.addr_index < 0:
            record.add("opened", conn.socket_option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0"))

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.context == "nowhere":
            record.add("closed", error)

    with running(Events(opened=opened, closed=closed), "tcp://127.0.0.1:0") as run:
        target = f"tcp://127.0.0.1:{run.addr[1]}"
        run.server.dial(f"{target}?bind_to_device=lo")
        assert record.wait_for("opened") == [("opened", b"lo")]
        run.server.dial(f"{target}?bind_to_device=none0", "nowhere")
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, OSError)
    assert "No such device" in str(error)


def test_the_name_to_ask_a_dialled_server_for(poller: str, certificates: Certificates) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        if conn.addr_index < 0:
            record.add("opened")
        else:
            record.add("asked", conn.server_name)

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.addr_index < 0:
            record.add("closed", error)

    address = f"tls://127.0.0.2:0?cert={certificates.cert}&key={certificates.key}"
    with running(Events(opened=opened, closed=closed), address) as run:
        target = f"tls://127.0.0.2:{run.addr[1]}"
        run.server.dial(f"{target}?ca={certificates.ca}&server_name=localhost")
        assert record.wait_for("asked") == [("asked", "localhost")]
        record.wait_for("opened")
        for wrong in (
            f"ca={certificates.ca}",
            f"ca={certificates.ca}&server_name=other.example",
            "server_name=localhost",
        ):
            before = record.names().count("closed")
            run.server.dial(f"{target}?{wrong}")
            error = record.wait_for("closed", before + 1)[-1][1]
            assert isinstance(error, TLSError)
            assert "certificate verify failed" in str(error)
        run.server.dial(f"{target}?verify=false&server_name=other.example")
        assert record.wait_for("asked", 2)[1] == ("asked", "other.example")
        record.wait_for("opened", 2)


def test_protocols_of_a_dialled_server(poller: str, certificates: Certificates) -> None:
    agreed: queue.Queue[tuple[int, str | None]] = queue.Queue()

    def opened(conn: Conn) -> None:
        assert isinstance(conn.tls, ssl.SSLObject)
        agreed.put((conn.addr_index, conn.tls.selected_alpn_protocol()))

    address = f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}&alpn=h2,http/1.1"
    with running(Events(opened=opened), address) as run:
        run.server.dial(f"tls://127.0.0.1:{run.addr[1]}?ca={certificates.ca}&alpn=http/1.1,spdy")
        assert sorted(agreed.get(timeout=TIMEOUT) for _ in range(2)) == [(-1, "http/1.1"), (0, "http/1.1")]


# -- where an option means nothing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://:1?bind=127.0.0.1", "bind is for dialling, not for listening"),
        ("tls://:1?cert=a&server_name=a", "server_name is for dialling, not for listening"),
        ("tls://:1?cert=a&verify=false", "verify is for dialling, not for listening"),
        ("tcp4://:1?v6only=false", "v6only=false needs a host of IPv6"),
        ("tcp://:1?v6only=false", "v6only=false needs a host of IPv6"),
    ],
)
def test_options_that_say_nothing_about_listening(text: str, message: str) -> None:
    with pytest.raises(AddressError, match=message):
        Address.parse(text).check_listen()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://a:1?v6only=false", "v6only is for listening, not for dialling"),
        ("tcp://a:1?fast_open=5", "fast_open is for listening, not for dialling"),
        ("tcp://a:1?defer_accept=5", "defer_accept is for listening, not for dialling"),
        ("tls://a:1?verify=false&ca=x", "with verify=false there is nothing to trust ca for"),
    ],
)
def test_options_that_say_nothing_about_dialling(text: str, message: str) -> None:
    with pytest.raises(AddressError, match=message):
        Address.parse(text).check_dial()


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("tcp://:1?bind_to_device=lo", "SO_BINDTODEVICE"),
        ("tcp://:1?fast_open=5", "TCP_FASTOPEN"),
        ("tls://:1?cert=a&defer_accept=5", "TCP_DEFER_ACCEPT"),
    ],
)
def test_options_of_addresses_that_the_system_has_not_are_refused(
    text: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, needed)
    with pytest.raises(AddressError, match=f"this system has no {needed}"):
        Address.parse(text)

"""HTTP/2: the rules of RFC 9113 and RFC 7541 that a server has to hold, in the order in which h2spec tests them.

Each case sends raw frames over TLS to a server in a thread. What is answered is that of HTTP/1.1, which the last part
holds against each other.
"""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import os
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from hpack import HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_FAIL, HUFFMAN_TABLE, decode_huffman

from evio_http import Deferred, Limits, Request, Response, Site, http_events
from evio_http.cli.arguments import parse_arguments
from evio_http.cli.build import Setup, UsageError
from evio_http.connections import connections
from evio_http.connections.observer import Observer
from evio_http.http2 import connection as module
from evio_http.http2 import decoder, frames
from evio_http.http2.frames import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITISED, Code
from evio_http.site.auth import BasicAuth, hash_password
from tests.core.harness import Running, connect, eventually, needs, running
from tests.extent import FULL

from .http2_peer import Peer, http2_peer, request_fields
from .serving import BLOB, FILES, Served, make_site, serving, wait_until_settled


@dataclass(frozen=True)
class Files:
    site: Path
    cert: str
    key: str
    ca: str

    def address(self, alpn: str = "h2,http/1.1") -> str:
        return f"tls://127.0.0.1:0?cert={self.cert}&key={self.key}&alpn={alpn}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("http2")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (directory / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    site = make_site(directory / "site")
    (site / "many.bin").write_bytes(bytes(range(256)) * 160)  # 40 KiB: not in memory
    wait_until_settled(site)
    return Files(site, str(directory / "cert.pem"), str(directory / "key.pem"), str(directory / "ca.pem"))


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Running]:
    with running(http_events(Site(str(files.site), listing=True)), files.address()) as started:
        yield started


@pytest.fixture
def peer(server: Running, files: Files) -> Iterator[Peer]:
    with http2_peer(server.addr, files.ca) as connected:
        yield connected


def echo(request: Request) -> Response:
    """A program's own handler: it says what it was asked."""
    return Response.json(
        {
            "method": request.method,
            "target": request.target.decode(),
            "version": request.version,
            "host": request.host,
            "scheme": request.scheme,
            "body": request.body.decode("latin-1"),
            "fields": dict(request.headers),
        }
    )


# -- the beginning (RFC 9113 section 3.4)


def test_a_request_is_answered(peer: Peer) -> None:
    peer.ask(1, "/data.json")
    answer = peer.answer(1)
    assert (answer.status, answer.body) == (200, FILES["data.json"])
    assert answer.fields["content-length"] == str(len(FILES["data.json"]))
    assert {"date", "server", "etag", "last-modified", "content-type"} <= set(answer.fields)
    assert "connection" not in answer.fields


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frames.frame(frames.PING, 0, 0, bytes(8))],
    ids=["http/1.1", "broken preface", "no SETTINGS"],
)
def test_a_client_begins_with_the_preface_and_settings(server: Running, files: Files, junk: bytes) -> None:
    with http2_peer(server.addr, files.ca, greeted=False) as peer:
        peer.send(junk)
        assert peer.fault() is Code.PROTOCOL_ERROR


def test_input_may_come_a_byte_at_a_time(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca, greeted=False) as peer:
        block = peer.block(request_fields("/data.json"))
        whole = PREFACE + frames.settings({}) + frames.headers(1, block, end_stream=True)
        for place in range(len(whole)):
            peer.send(whole[place : place + 1])
        assert peer.answer(1).body == FILES["data.json"]


# -- frames that end the connection (sections 4 to 6)

BLOCK = b"\x82\x87\x84\x41\x09localhost"
"""GET, https, "/", localhost, which goes into the table."""

HEADERS_FLAGS = END_HEADERS | END_STREAM


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frames.frame(kind, flags, stream, payload)


FIRST = raw(frames.HEADERS, HEADERS_FLAGS, 1, BLOCK)
OPEN = raw(frames.HEADERS, END_HEADERS, 1, BLOCK)

FAULTS: dict[str, tuple[bytes, Code]] = {
    # 4.1 and 4.2
    "a frame that is too large": (raw(frames.DATA, 0, 1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "large HEADERS": (raw(frames.HEADERS, HEADERS_FLAGS, 1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    # 4.3 and RFC 7541
    "a block that is none": (raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x80"), Code.COMPRESSION_ERROR),
    "an index that is not there": (raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\xff\x00"), Code.COMPRESSION_ERROR),
    "an endless index": (raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\xff" * 20), Code.COMPRESSION_ERROR),
    "a string behind the end": (raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x00\x05ab"), Code.COMPRESSION_ERROR),
    "a literal without value": (raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x00\x01a"), Code.COMPRESSION_ERROR),
    "padding of Huffman that is long": (
        raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x82\x87\x84\x41\x8a\xa0\xe4\x1d\x13\x9d\x09\xb8\xf0\x1e\x07\xff\xff"),
        Code.COMPRESSION_ERROR,
    ),
    "EOS in Huffman": (
        raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x82\x87\x84\x41\x84\xff\xff\xff\xff"),
        Code.COMPRESSION_ERROR,
    ),
    "a table that is too large": (
        raw(frames.HEADERS, HEADERS_FLAGS, 1, b"\x3f\xe2\x1f" + BLOCK),
        Code.COMPRESSION_ERROR,
    ),
    "a late change of the table": (raw(frames.HEADERS, HEADERS_FLAGS, 1, BLOCK + b"\x20"), Code.COMPRESSION_ERROR),
    # 5.1
    "DATA on an idle stream": (raw(frames.DATA, END_STREAM, 1, b"x"), Code.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (raw(frames.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (raw(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\x64"), Code.PROTOCOL_ERROR),
    "CONTINUATION on an idle stream": (raw(frames.CONTINUATION, END_HEADERS, 1, BLOCK), Code.PROTOCOL_ERROR),
    # 5.1.1
    "an even stream": (raw(frames.HEADERS, HEADERS_FLAGS, 2, BLOCK), Code.PROTOCOL_ERROR),
    "a stream that was skipped": (
        raw(frames.HEADERS, HEADERS_FLAGS, 5, BLOCK) + raw(frames.HEADERS, HEADERS_FLAGS, 3, BLOCK),
        Code.PROTOCOL_ERROR,
    ),
    "HEADERS on no stream": (raw(frames.HEADERS, HEADERS_FLAGS, 0, BLOCK), Code.PROTOCOL_ERROR),
    # 5.5
    "an unknown frame in a header section": (
        raw(frames.HEADERS, END_STREAM, 1, BLOCK) + raw(0x16, 0, 0, b"12345678"),
        Code.PROTOCOL_ERROR,
    ),
    # 6.1
    "DATA on no stream": (raw(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "DATA with too much padding": (OPEN + raw(frames.DATA, PADDED, 1, b"\x05Test"), Code.PROTOCOL_ERROR),
    # 6.2
    "PRIORITY in a header section": (
        raw(frames.HEADERS, END_STREAM, 1, BLOCK) + raw(frames.PRIORITY, 0, 1, bytes(5)),
        Code.PROTOCOL_ERROR,
    ),
    "another stream's HEADERS in a header section": (
        raw(frames.HEADERS, END_STREAM, 1, BLOCK) + raw(frames.HEADERS, HEADERS_FLAGS, 3, BLOCK),
        Code.PROTOCOL_ERROR,
    ),
    "HEADERS with too much padding": (
        raw(frames.HEADERS, HEADERS_FLAGS | PADDED, 1, b"\x20" + BLOCK),
        Code.PROTOCOL_ERROR,
    ),
    "HEADERS without its priority": (
        raw(frames.HEADERS, HEADERS_FLAGS | PRIORITISED, 1, b"\0\0\0"),
        Code.FRAME_SIZE_ERROR,
    ),
    # 6.3 and 6.4
    "PRIORITY on no stream": (raw(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "RST_STREAM on no stream": (raw(frames.RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "a short RST_STREAM": (OPEN + raw(frames.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    # 6.5
    "SETTINGS on a stream": (raw(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "SETTINGS that acknowledge and set": (raw(frames.SETTINGS, ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "short SETTINGS": (raw(frames.SETTINGS, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (raw(frames.SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), Code.PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE of 2**31": (raw(frames.SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), Code.FLOW_CONTROL_ERROR),
    "MAX_FRAME_SIZE of 16383": (raw(frames.SETTINGS, 0, 0, b"\0\x05\0\0\x3f\xff"), Code.PROTOCOL_ERROR),
    "MAX_FRAME_SIZE of 2**24": (raw(frames.SETTINGS, 0, 0, b"\0\x05\x01\0\0\0"), Code.PROTOCOL_ERROR),
    # 6.6
    "PUSH_PROMISE": (raw(frames.PUSH_PROMISE, END_HEADERS, 1, bytes(4) + BLOCK), Code.PROTOCOL_ERROR),
    # 6.7 and 6.8
    "PING on a stream": (raw(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a short PING": (raw(frames.PING, 0, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (raw(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a short GOAWAY": (raw(frames.GOAWAY, 0, 0, bytes(4)), Code.FRAME_SIZE_ERROR),
    # 6.9
    "WINDOW_UPDATE of 0": (raw(frames.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "a short WINDOW_UPDATE": (raw(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "a window over 2**31 - 1": (raw(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Code.FLOW_CONTROL_ERROR),
    "a window over 2**31 - 1 by SETTINGS": (
        OPEN + raw(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\x0a") + raw(frames.SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff"),
        Code.FLOW_CONTROL_ERROR,
    ),
    # 6.10
    "CONTINUATION behind the end": (
        raw(frames.HEADERS, END_HEADERS, 1, BLOCK) + raw(frames.CONTINUATION, END_HEADERS, 1, b"\x84"),
        Code.PROTOCOL_ERROR,
    ),
    "CONTINUATION on no stream": (
        raw(frames.HEADERS, END_STREAM, 1, BLOCK) + raw(frames.CONTINUATION, END_HEADERS, 0, b"\x84"),
        Code.PROTOCOL_ERROR,
    ),
    "CONTINUATION behind DATA": (
        OPEN + raw(frames.DATA, 0, 1, b"x") + raw(frames.CONTINUATION, END_HEADERS, 1, b"\x84"),
        Code.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_breaks_the_protocol_ends_the_connection(peer: Peer, name: str) -> None:
    data, code = FAULTS[name]
    peer.send(data)
    assert peer.fault() is code


@pytest.mark.parametrize(
    ("late", "code"),
    [
        (raw(frames.DATA, END_STREAM, 1, b"x"), Code.STREAM_CLOSED),
        (FIRST, Code.STREAM_CLOSED),
        (raw(frames.CONTINUATION, END_HEADERS, 1, BLOCK), Code.PROTOCOL_ERROR),
    ],
    ids=["DATA", "HEADERS", "CONTINUATION"],
)
def test_nothing_comes_on_a_stream_that_is_closed(peer: Peer, late: bytes, code: Code) -> None:
    peer.send(FIRST)
    assert peer.answer(1).status == 200
    peer.send(late)
    assert peer.fault() is code


# -- frames that end a stream, and malformed requests (sections 5, 6 and 8)

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]

MALFORMED: dict[str, Any] = {
    "upper case": [*GET, ("X-Test", "ok")],
    "an unknown pseudo-field": [*GET, (":test", "ok")],
    "a response's pseudo-field": [*GET, (":status", "200")],
    "a pseudo-field behind others": [*GET[:3], ("x-test", "ok"), GET[3]],
    "Connection": [*GET, ("connection", "keep-alive")],
    "Keep-Alive": [*GET, ("keep-alive", "1")],
    "Proxy-Connection": [*GET, ("proxy-connection", "keep-alive")],
    "Transfer-Encoding": [*GET, ("transfer-encoding", "chunked")],
    "Upgrade": [*GET, ("upgrade", "h2c")],
    "TE": [*GET, ("te", "trailers, deflate")],
    "an empty path": [*GET[:3], (":path", "")],
    "a path that is none": [*GET[:3], (":path", "x/../y")],
    "an absolute path": [*GET[:3], (":path", "https://localhost/")],
    "a path with a space": [*GET[:3], (":path", "/ HTTP/1.1")],
    "a path with a line": [*GET[:3], (":path", "/\r\nx: y")],
    "no method": GET[1:],
    "no scheme": [GET[0], *GET[2:]],
    "no path": GET[:3],
    "two methods": [GET[0], *GET],
    "two schemes": [GET[1], *GET],
    "two paths": [*GET, GET[3]],
    "two hosts": [*GET, ("host", "other")],
    "three hosts": [*GET, ("host", "localhost"), ("host", "localhost")],
    "a method with a space": [(":method", "GET /x"), *GET[1:]],
    "a value with a line": [*GET, ("x", "y\r\nhost: evil")],
    "a value with NUL": [*GET, ("x", "y\0")],
    "a value with a space before it": [*GET, ("x", " y")],
    "a value with a tab behind it": [*GET, ("x", "y\t")],
    "a name with a colon": [*GET, ("x:y", "z")],
    "a name with a space": [*GET, ("x y", "z")],
    "no name": [*GET, ("", "z")],
    "content that is announced and does not come": [*POST, ("content-length", "1")],
    "a length that is none": [*POST, ("content-length", "x")],
    "two lengths": [*POST, ("content-length", "0"), ("content-length", "0")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_ends_its_stream(peer: Peer, name: str) -> None:
    peer.headers(1, MALFORMED[name])
    assert peer.reset_of(1) is Code.PROTOCOL_ERROR
    peer.ask(3, "/data.json")
    assert peer.answer(3).status == 200


def in_two_frames(peer: Peer) -> None:
    peer.data(1, b"12")
    peer.data(1, b"3", end=True)


STREAM_FAULTS: dict[str, tuple[Callable[[Peer], None], Code]] = {
    "WINDOW_UPDATE of 0": (lambda peer: peer.frame(frames.WINDOW_UPDATE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a window over 2**31 - 1": (
        lambda peer: peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"),
        Code.FLOW_CONTROL_ERROR,
    ),
    "a long PRIORITY": (lambda peer: peer.frame(frames.PRIORITY, 0, 1, bytes(6)), Code.FRAME_SIZE_ERROR),
    "trailers that are not the end": (
        lambda peer: peer.headers(1, [("x", "y")], end=False),
        Code.PROTOCOL_ERROR,
    ),
    "trailers with a pseudo-field": (lambda peer: peer.headers(1, GET), Code.PROTOCOL_ERROR),
    "trailers with Connection": (lambda peer: peer.headers(1, [("connection", "x")]), Code.PROTOCOL_ERROR),
    "less content than was announced": (lambda peer: peer.data(1, b"123", end=True), Code.PROTOCOL_ERROR),
    "more content than was announced": (lambda peer: peer.data(1, b"123456"), Code.PROTOCOL_ERROR),
    "less in two frames": (in_two_frames, Code.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_what_breaks_the_rules_of_a_stream_ends_it(peer: Peer, name: str) -> None:
    act, code = STREAM_FAULTS[name]
    peer.headers(1, [*POST, ("content-length", "5")], end=False)
    act(peer)
    assert peer.reset_of(1) is code
    peer.data(1, b"late")  # was on its way
    peer.headers(1, [("late", "trailer")])
    peer.ask(3, "/data.json")
    assert peer.answer(3).body == FILES["data.json"]


@pytest.mark.parametrize("kind", ["DATA", "HEADERS"])
def test_frames_behind_the_end_of_a_request(server: Running, files: Files, kind: str) -> None:
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=0) as peer:
        peer.ask(1, "/many.bin")
        peer.until(frames.HEADERS)
        if kind == "DATA":
            peer.data(1, b"x")
        else:
            peer.headers(1, [("x", "y")])
        assert peer.reset_of(1) is Code.STREAM_CLOSED
        peer.ask(3, "/data.json", method="HEAD")
        assert peer.answer(3).status == 200


# -- what is ignored, and what is taken


def test_what_has_to_be_ignored_is(peer: Peer) -> None:
    peer.frame(0x16, 0xFF, 0, b"12345678")  # an unknown type
    peer.frame(0x10, 0, 0, b"\0\0\0\1u=1")  # PRIORITY_UPDATE (RFC 9218)
    peer.frame(frames.SETTINGS, 0, 0, b"\0\xff\0\0\0\1")  # an unknown setting
    peer.frame(frames.PING, ACK, 0, bytes(8))
    peer.frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\x0f")  # of an idle stream, on itself
    peer.ask(1, "/data.json")
    assert peer.answer(1).status == 200
    peer.frame(frames.PRIORITY, 0, 1, b"\0\0\0\0\x0f")  # of a closed one
    peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1")
    peer.frame(frames.RST_STREAM, 0, 1, bytes(4))
    peer.send(frames.frame(frames.HEADERS, HEADERS_FLAGS | 0x40, 3, peer.block(GET)))  # an unknown flag
    assert peer.answer(3).status == 200
    peer.settle()


def test_header_sections_in_several_forms(peer: Peer) -> None:
    block = peer.block(request_fields("/data.json", ("x-padding", "y" * 100)))
    peer.frame(frames.HEADERS, END_STREAM, 1, block[:10])
    peer.frame(frames.CONTINUATION, 0, 1, block[10:20])
    peer.frame(frames.CONTINUATION, 0, 1)
    peer.frame(frames.CONTINUATION, END_HEADERS, 1, block[20:])
    assert peer.answer(1).status == 200
    padded = b"\x04" + b"\0\0\0\0\x10" + peer.block(request_fields("/data.json")) + bytes(4)
    peer.frame(frames.HEADERS, HEADERS_FLAGS | PADDED | PRIORITISED, 3, padded)
    assert peer.answer(3).status == 200


@pytest.mark.parametrize(
    "field",
    [
        b"\x40\x01a\x01b",  # literal, indexed
        b"\x00\x01a\x01b",  # not indexed
        b"\x10\x01a\x01b",  # never indexed
        b"\x0f\x2b\x01b",  # with a name of the static table: user-agent
        b"\x40\x83\x1c\x64\x5f\x01b",  # a name by Huffman
    ],
)
def test_fields_in_several_forms(peer: Peer, field: bytes) -> None:
    for stream in (1, 3):
        peer.frame(frames.HEADERS, HEADERS_FLAGS, stream, BLOCK + field)
        assert peer.answer(stream).status == 200
    # Of the newest entries one is the host, as the table says.
    index = 0x80 | (62 if field[:1] != b"\x40" else 63)
    peer.frame(frames.HEADERS, HEADERS_FLAGS, 5, b"\x82\x87\x84" + bytes([index]))
    assert peer.answer(5).status == 200


def test_the_same_block_means_what_the_table_says(peer: Peer) -> None:
    """Blocks are remembered, but not beyond a change of the table."""
    same = b"\x82\x87\x01\x09localhost\xbe"  # the path is the newest entry
    stream = 1
    for name in ("data.json", "style.css"):
        path = b"/" + name.encode()
        peer.frame(frames.HEADERS, HEADERS_FLAGS, stream, same[:-1] + b"\x44" + bytes([len(path)]) + path)
        for number in (stream, stream + 2, stream + 4):
            if number > stream:
                peer.frame(frames.HEADERS, HEADERS_FLAGS, number, same)
            assert peer.answer(number).body == FILES[name]
        stream += 6


def test_a_client_without_a_table_is_told_that_there_is_none(server: Running, files: Files) -> None:
    """RFC 7541 section 4.2: the first block after such a setting says so."""
    with http2_peer(server.addr, files.ca, HEADER_TABLE_SIZE=0) as peer:
        peer.decoder.max_allowed_table_size = 0
        for stream in (1, 3):
            peer.ask(stream, "/data.json")
            first = peer.until(frames.HEADERS, stream=stream)
            assert first.payload.startswith(b"\x20") is (stream == 1)


def test_strings_of_huffman_are_those_of_the_library() -> None:
    """RFC 7541 section 5.2, with steps that are known and with some that are not."""
    made = random.Random(4)
    states: dict[int, set[bool]] = {}
    for state, flags, _ in HUFFMAN_TABLE:
        if not flags & HUFFMAN_FAIL:
            states.setdefault(state, set()).add(flags & HUFFMAN_COMPLETE > 0)
    assert all(len(ends) == 1 for ends in states.values()), "whether a string may end is not told by the state"
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for number in range(3000 if FULL else 300):
        text = made.randbytes(made.randrange(20)) if number % 3 else made.choice(list(FILES)).encode() * 3
        coded = encoder.encode(text)
        if number % 5 == 4 and coded:  # broken
            coded = coded[:-1] + bytes([coded[-1] ^ 1 << made.randrange(8)])
        elif number % 5 == 3:
            coded = coded[: made.randrange(len(coded) + 1)]
        try:
            expected: bytes | None = decode_huffman(coded)
        except HPACKError:
            expected = None
        for _ in range(2):
            if expected is None:
                with pytest.raises(HPACKError):
                    decoder._from_huffman(coded)
            else:
                assert decoder._from_huffman(coded) == expected


# -- what a request means (section 8.3)


@pytest.fixture(scope="module")
def program(files: Files) -> Iterator[Running]:
    """A server with a handler of its own, which takes content."""
    limits = Limits(body=100_000, head=4096, fields=50, request_line=1000)
    with running(http_events(echo, limits=limits), files.address()) as started:
        yield started


@pytest.fixture
def asker(program: Running, files: Files) -> Iterator[Peer]:
    with http2_peer(program.addr, files.ca, INITIAL_WINDOW_SIZE=1 << 30) as connected:
        connected.open_window(1 << 30)
        yield connected


def said(peer: Peer, stream: int = 1) -> Any:
    """The request, as ``echo`` saw it."""
    answer = peer.answer(stream)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_a_handler_sees_the_request(asker: Peer) -> None:
    fields = [("x-a", "1"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2"), ("te", "trailers")]
    asker.ask(1, "/x?y=1", *fields, host="Example.org:8443")
    assert said(asker) == {
        "method": "GET",
        "target": "/x?y=1",
        "version": "2.0",
        "host": "example.org:8443",
        "scheme": "https",
        "body": "",
        "fields": {
            "host": "Example.org:8443",
            "x-a": "1, 2",
            "te": "trailers",
            "cookie": "a=1; b=2",
        },
    }


def test_host_stands_for_the_authority(asker: Peer) -> None:
    asker.headers(1, [*GET[:2], GET[3], ("host", "a.example")])
    asker.headers(3, [*GET, ("host", "LOCALHOST")])
    assert [said(asker, 1)["host"], said(asker, 3)["host"]] == ["a.example", "localhost"]


REFUSALS: dict[str, tuple[Any, int]] = {
    "no host": ([*GET[:2], GET[3]], 400),
    "a host that is none": ([*GET[:2], (":authority", "a b"), GET[3]], 400),
    "a user": ([*GET[:2], (":authority", "me@localhost"), GET[3]], 400),
    "a fragment": ([*GET[:3], (":path", "/#x")], 400),
    "CONNECT": ([(":method", "CONNECT"), (":authority", "localhost:1")], 501),
    "another scheme": ([GET[0], (":scheme", "http"), *GET[2:]], 421),
    "a long path": ([*GET[:3], (":path", "/" + "x" * 1000)], 414),
    "many fields": ([*GET, *((f"x-{number}", "") for number in range(51))], 431),
    "long fields": ([*GET, ("x", "y" * 4096)], 431),
    "content that is too long": ([*POST, ("content-length", "100001")], 413),
    "an unknown expectation": ([*POST, ("expect", "x")], 417),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_has_an_answer(asker: Peer, name: str) -> None:
    fields, status = REFUSALS[name]
    asker.headers(1, fields, end=status not in (413, 417))
    assert asker.answer(1).status == status
    asker.ask(3)  # the table is what it has to be
    assert said(asker, 3)["target"] == "/"


# -- content


def test_content_and_trailers(asker: Peer) -> None:
    asker.headers(1, POST, end=False)
    asker.headers(3, [*POST, ("content-length", "3"), ("expect", "100-continue")], end=False)
    asker.data(1, b"abc")
    asker.until(frames.HEADERS, stream=3)
    assert asker.answers[3].informed == [100]
    asker.frame(frames.DATA, PADDED, 1, b"\x03defxxx")
    asker.data(3, b"ghi", end=True)
    asker.headers(1, [("x-checksum", "1")])
    assert said(asker, 1)["body"] == "abcdef"
    assert said(asker, 3)["body"] == "ghi"


def test_windows_of_content_are_opened_again(asker: Peer) -> None:
    """As much as there may be, over many streams: more than the windows are at first."""
    for stream in range(1, 51, 2):
        asker.headers(stream, POST, end=False)
        for place in range(0, 100_000, 10_000):
            asker.data(stream, b"x" * 10_000, end=place == 90_000)
        assert len(said(asker, stream)["body"]) == 100_000
    assert sum(frame.number() for frame in asker.frames if frame.kind == frames.WINDOW_UPDATE) > 2_000_000


def test_content_that_turns_out_too_long_is_refused(asker: Peer) -> None:
    asker.headers(1, POST, end=False)
    for _ in range(11):
        asker.data(1, bytes(10_000))
    answer = asker.answer(1)
    assert (answer.status, answer.ended) == (413, True)
    assert asker.reset_of(1) is Code.NO_ERROR  # section 8.1: no need to send the rest
    asker.data(1, bytes(10_000), end=True)
    asker.ask(3)
    assert said(asker, 3)["body"] == ""


def test_content_of_all_streams_together_has_a_limit(
    program: Running, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 0)  # then it is one whole content
    with http2_peer(program.addr, files.ca, INITIAL_WINDOW_SIZE=1 << 30) as peer:
        peer.open_window(1 << 30)
        for stream in (1, 3):
            peer.headers(stream, POST, end=False)
            for _ in range(6):
                peer.data(stream, b"x" * 10_000)
        assert peer.reset_of(3) is Code.REFUSED_STREAM
        peer.data(1, b"", end=True)
        assert len(said(peer, 1)["body"]) == 60_000


def test_what_nobody_wants_is_thrown_away(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca) as peer:
        peer.ask(1, "/data.json", method="POST", end=False)
        for _ in range(100):
            peer.data(1, bytes(10_000))
        peer.data(1, b"", end=True)
        assert peer.answer(1).status == 405
        peer.ask(3, "/data.json", end=False)
        peer.data(3, b"x", end=True)
        assert peer.answer(3).status == 200


# -- flow control of answers (sections 5.2 and 6.9)


def test_content_comes_as_windows_open(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=0) as peer:
        peer.ask(1, "/blob.bin")
        peer.ask(3, "/data.json")
        for stream in (1, 3):
            assert peer.until(frames.HEADERS, stream=stream).flags & END_STREAM == 0
        peer.settle()
        assert peer.received == 0
        peer.send(frames.window_update(3, 5))
        peer.settle()
        assert peer.answers[3].body == FILES["data.json"][:5]
        peer.send(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 10}))
        peer.until(frames.SETTINGS, ACK)
        peer.settle()
        assert (peer.answers[1].body, peer.answers[3].body) == (BLOB[:10], FILES["data.json"][:15])
        peer.open_window(4_000_000, 1, 3)
        assert (peer.answer(1).body, peer.answer(3).body) == (BLOB, FILES["data.json"])


def test_a_window_below_zero_has_to_be_opened_further(server: Running, files: Files) -> None:
    """Section 6.9.2: a smaller SETTINGS_INITIAL_WINDOW_SIZE."""
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=10) as peer:
        peer.ask(1, "/many.bin")
        peer.settle()
        peer.send(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 3}))
        peer.until(frames.SETTINGS, ACK)
        for increment, received in ((6, 10), (1, 10), (2, 12)):
            peer.send(frames.window_update(1, increment))
            peer.settle()
            assert peer.received == received


def test_the_window_of_the_connection_is_for_all_streams(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=100_000) as peer:
        for stream in (1, 3, 5):
            peer.ask(stream, "/many.bin")
        peer.settle()
        assert peer.received == 65535
        peer.open_window(100_000)
        for stream in (1, 3, 5):
            assert len(peer.answer(stream).body) == 40960


def test_streams_take_turns(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=4_000_000) as peer:
        peer.open_window(1 << 30)
        peer.ask(1, "/blob.bin")
        peer.ask(3, "/many.bin")
        assert len(peer.answer(3).body) == 40960
        assert len(peer.answers[1].body) < len(BLOB) / 2
        assert peer.answer(1).body == BLOB


def test_a_large_file_is_not_read_ahead_of_its_client(tmp_path: Path, files: Files) -> None:
    """Nor are many streams of it: what is made is bounded for the connection."""
    (tmp_path / "huge.bin").touch()
    os.truncate(tmp_path / "huge.bin", 1 << 33)
    pending: list[int] = []
    events = http_events(Site(str(tmp_path)))
    opened = events.opened
    conns: list[Any] = []

    def watched(conn: Any) -> Any:
        conns.append(conn)
        return opened(conn) if opened is not None else None

    events.opened = watched
    with (
        running(events, files.address()) as started,
        http2_peer(started.addr, files.ca, INITIAL_WINDOW_SIZE=2**31 - 1) as peer,
    ):
        peer.open_window(1 << 30)
        for stream in range(1, 2 * module.MOST_STREAMS, 2):
            peer.ask(stream, "/huge.bin")
        assert eventually(lambda: bool(conns) and conns[0].pending > 0)
        for _ in range(200):  # it goes on as what was made is taken
            peer.next_frame()
            pending.append(conns[0].pending)
        assert max(pending) < 2 * module.AHEAD
        peer.ask(2 * module.MOST_STREAMS + 1, "/huge.bin")
        assert peer.reset_of(2 * module.MOST_STREAMS + 1) is Code.REFUSED_STREAM


def test_a_stream_that_is_reset_is_over(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca) as peer:
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for stream in range(1, 41, 2):
            peer.ask(stream, "/blob.bin")
            peer.frame(frames.RST_STREAM, 0, stream, b"\0\0\0\x08")
        peer.settle()
        peer.open_window(1 << 30)
        peer.ask(41, "/data.json")
        assert peer.answer(41).body == FILES["data.json"]
        if before:  # no file stays open but the one that is held for others
            assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 1)


def test_a_file_that_becomes_shorter_ends_its_stream(tmp_path: Path, files: Files) -> None:
    file = tmp_path / "f.bin"
    file.write_bytes(bytes(1_000_000))
    with running(http_events(Site(str(tmp_path))), files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            peer.ask(1, "/f.bin")
            peer.until(frames.DATA)
            os.truncate(file, 70_000)
            peer.open_window(1_000_000, 1)
            assert peer.reset_of(1) is Code.INTERNAL_ERROR
            peer.ask(3, "/f.bin", method="HEAD")
            assert peer.answer(3).fields["content-length"] == "70000"


# -- what a client may not do too often


def resetting() -> Iterator[bytes]:
    stream = 1
    while True:
        yield raw(frames.HEADERS, HEADERS_FLAGS, stream, b"\x82\x87\x84\x01\x09localhost") + raw(
            frames.RST_STREAM, 0, stream, b"\0\0\0\x08"
        )
        stream += 2


def refused() -> Iterator[bytes]:
    """Requests that the server has to reset (CVE-2025-8671)."""
    stream = 1
    while True:
        yield raw(frames.HEADERS, END_HEADERS, stream, b"\x82\x87\x84\x01\x09localhost") + raw(
            frames.WINDOW_UPDATE, 0, stream, bytes(4)
        )
        stream += 2


@pytest.mark.parametrize("kind", [resetting, refused])
def test_resetting_streams_has_a_limit(peer: Peer, kind: Callable[[], Iterator[bytes]]) -> None:
    """Rapid reset, CVE-2023-44487: some two thousand at once are too many, some hundred are not."""
    streams = kind()
    peer.send(b"".join(next(streams) for _ in range(300)))
    peer.settle()
    assert peer.flood(b"".join(next(streams) for _ in range(2000))) is Code.ENHANCE_YOUR_CALM


FLOODS: dict[str, tuple[bytes, bytes]] = {
    "PING": (b"", raw(frames.PING, 0, 0, bytes(8))),
    "SETTINGS": (b"", raw(frames.SETTINGS, 0, 0)),
    "PRIORITY": (b"", raw(frames.PRIORITY, 0, 3, bytes(5))),
    "unknown frames": (b"", raw(0x42, 0, 0)),
    "empty DATA": (OPEN, raw(frames.DATA, 0, 1)),
    "padded DATA": (OPEN, raw(frames.DATA, PADDED, 1, b"\x02\0\0")),
    "empty CONTINUATION": (raw(frames.HEADERS, END_STREAM, 1, BLOCK), raw(frames.CONTINUATION, 0, 1)),
    "CONTINUATION": (raw(frames.HEADERS, END_STREAM, 1, BLOCK), raw(frames.CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 99)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(peer: Peer, name: str) -> None:
    before, again = FLOODS[name]
    peer.send(before)
    assert peer.flood(again if len(again) > 100 else again * 10) is Code.ENHANCE_YOUR_CALM


def test_scraps_of_content_have_a_limit(server: Running, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that opens by a byte each time (CVE-2019-9511)."""
    monkeypatch.setattr(module, "IDLE_FRAMES", (100, 0))
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=0) as peer:
        peer.ask(1, "/blob.bin")
        peer.until(frames.HEADERS)
        for _ in range(98):
            peer.send(frames.window_update(1, 1))
            peer.until(frames.DATA)
        for _ in range(5):
            peer.send(frames.window_update(1, 1))
        assert peer.fault() is Code.ENHANCE_YOUR_CALM


def test_a_block_that_grows_is_not_kept(peer: Peer) -> None:
    """A bomb (RFC 7541 section 7.3): a thousand times the same long entry."""
    long = b"\x40\x01x\x7f\x91\x1e" + b"y" * 4000
    peer.frame(frames.HEADERS, HEADERS_FLAGS, 1, BLOCK + long + b"\xbe" * 10_000)
    assert peer.answer(1).status == 431


def test_a_work_that_goes_on_counts_although_its_stream_is_gone(files: Files) -> None:
    """Streams that are reset while another thread is at their responses are not forgotten at once."""
    go_on = threading.Event()

    def slow(request: Request) -> Deferred | Response:
        if request.path != b"/slow":
            return Response.text("quick")
        return Deferred(lambda: Response.text("slow") if go_on.wait(20) else Response(500))

    with running(http_events(slow), files.address()) as started:
        with http2_peer(started.addr, files.ca, INITIAL_WINDOW_SIZE=0) as peer:
            for stream in range(1, 21, 2):
                peer.ask(stream, "/slow")
                if stream > 1:
                    peer.frame(frames.RST_STREAM, 0, stream, b"\0\0\0\x08")
            last = 2 * module.MOST_STREAMS + 1
            for stream in range(21, last + 2, 2):  # their content has to wait
                peer.ask(stream, "/quick")
            assert peer.reset_of(last) is Code.REFUSED_STREAM
            go_on.set()
            peer.send(frames.window_update(1, 100))
            assert peer.answer(1).body == b"slow"

            def room_again() -> bool:
                nonlocal last
                last += 2
                peer.ask(last, "/quick", method="HEAD")
                return peer.answer(last).status == 200

            assert eventually(room_again)


# -- time


def within(files: Files, limits: Limits, site: Path | None = None) -> Any:
    return running(http_events(Site(str(site or files.site)), limits=limits), files.address())


HALF: dict[str, bytes] = {
    "nothing": b"",
    "half a preface": PREFACE[:10],
    "half a frame": PREFACE + frames.settings({}) + b"\0\0\x08\x06",
    "half a header section": PREFACE + frames.settings({}) + raw(frames.HEADERS, END_STREAM, 1, BLOCK),
}


@pytest.mark.parametrize("name", HALF)
def test_what_has_begun_has_to_end_in_time(files: Files, name: str) -> None:
    with within(files, Limits(header_timeout=0.2)) as started:
        with http2_peer(started.addr, files.ca, greeted=False) as peer:
            peer.send(HALF[name])
            assert peer.fault() is Code.NO_ERROR


def test_a_client_that_opens_no_window_is_not_waited_for(files: Files) -> None:
    """The stream is reset; the connection, which is of use otherwise, stays."""
    with within(files, Limits(rate_grace=0.3)) as started:
        with http2_peer(started.addr, files.ca, INITIAL_WINDOW_SIZE=0) as peer:
            peer.ask(1, "/blob.bin")
            assert peer.reset_of(1) is Code.CANCEL
            peer.ask(3, "/data.json", method="HEAD")
            assert peer.answer(3).status == 200


def test_content_has_to_come_in_time(files: Files) -> None:
    observer = Noted()
    events = http_events(Site(str(files.site)), limits=Limits(rate_grace=0.2, body=50), observers=[observer])
    with running(events, files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            peer.ask(1, "/data.json", method="POST", end=False)
            assert peer.reset_of(1) is Code.CANCEL
    assert [(status, length) for _, status, length in observer.noted] == [(408, 0)]


# -- the end


class Noted(Observer):
    """Notes the responses."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int, int]] = []

    def answered(self, session: Any, request: Request | None, status: int, length: int) -> None:
        asked = f"{request.method} {request.target.decode()} {request.version}" if request is not None else "-"
        self.noted.append((asked, status, length))


def test_observers_are_told_of_each_stream(files: Files) -> None:
    observer = Noted()
    events = http_events(Site(str(files.site)), observers=[observer])
    with running(events, files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            for stream, path in ((1, "/data.json"), (3, "/data.json"), (5, "/many.bin"), (7, "/none")):
                peer.ask(stream, path)
                peer.answer(stream)
            peer.ask(9, "/data.json", method="HEAD")
            peer.answer(9)
            peer.headers(11, [*GET[:2], GET[3]])
            peer.answer(11)
            peer.ask(13, "/blob.bin")
            peer.settle()
            peer.frame(frames.RST_STREAM, 0, 13, b"\0\0\0\x08")
            peer.settle()
        missing = len(peer.answers[7].body)
        bad = len(peer.answers[11].body)
        assert observer.noted == [
            ("GET /data.json 2.0", 200, len(FILES["data.json"])),
            ("GET /data.json 2.0", 200, len(FILES["data.json"])),
            ("GET /many.bin 2.0", 200, 40960),
            ("GET /none 2.0", 404, missing),
            ("HEAD /data.json 2.0", 200, 0),
            ("-", 400, bad),
            ("GET /blob.bin 2.0", 200, len(peer.answers[13].body)),
        ]


def test_a_client_that_has_finished_is_still_answered(server: Running, files: Files) -> None:
    with http2_peer(server.addr, files.ca, INITIAL_WINDOW_SIZE=4_000_000) as peer:
        peer.open_window(1 << 30)
        peer.ask(1, "/blob.bin")
        peer.frame(frames.GOAWAY, 0, 0, bytes(8))
        assert peer.answer(1).body == BLOB


def test_a_server_that_stops_finishes_its_streams(files: Files) -> None:
    with running(http_events(Site(str(files.site))), files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer, http2_peer(started.addr, files.ca) as idle:
            peer.ask(1, "/blob.bin")
            peer.until(frames.DATA)
            started.server.stop(20)
            assert peer.until(frames.GOAWAY).number() == 1
            peer.ask(3, "/data.json")  # too late
            peer.open_window(4_000_000, 1)
            assert peer.answer(1).body == BLOB
            assert peer.fault() is Code.NO_ERROR
            assert 3 not in peer.answers
            assert idle.fault() is Code.NO_ERROR
            started.join()


def test_a_stream_that_never_ends_does_not_keep_a_server(files: Files) -> None:
    with running(http_events(Site(str(files.site))), files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            peer.ask(1, "/blob.bin")
            peer.until(frames.DATA)
            started.server.stop(0.2)
            started.join()
            assert peer.fault() is Code.NO_ERROR


def test_a_response_that_is_held_back_does_not_keep_a_server(files: Files) -> None:
    change: Future[None] = Future()
    events = http_events(lambda request: Deferred(lambda: Response.text("changed"), after=change))
    with running(events, files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            peer.ask(1, "/")
            peer.settle()
            started.server.stop(20)
            assert peer.reset_of(1) is Code.CANCEL
            assert peer.fault() is Code.NO_ERROR
            started.join()
    change.set_result(None)  # too late for anybody


def test_a_response_that_is_held_back_comes(files: Files) -> None:
    change: Future[None] = Future()
    events = http_events(lambda request: Deferred(lambda: Response.text("changed"), after=change))
    with running(events, files.address()) as started, http2_peer(started.addr, files.ca) as peer:
        peer.ask(1, "/")
        peer.settle()
        change.set_result(None)
        assert peer.answer(1).body == b"changed"


def test_a_worker_that_is_replaced_sends_its_clients_away(files: Files) -> None:
    """Section 6.8: first that no more streams are to be begun, and once the client knows, which were."""
    events = http_events(Site(str(files.site)))
    conns: list[Any] = []
    opened = events.opened

    def watched(conn: Any) -> Any:
        conns.append(conn)
        return opened(conn) if opened is not None else None

    events.opened = watched
    with running(events, files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            peer.ask(1, "/blob.bin")
            peer.until(frames.DATA)
            started.server.call(conns[0].retire)
            assert peer.until(frames.GOAWAY).number() == 2**31 - 1
            peer.ask(3, "/data.json", method="HEAD")  # was on its way
            assert peer.answer(3).status == 200
            ping = [each for each in peer.frames if each.kind == frames.PING]  # right behind the first GOAWAY
            peer.frame(frames.PING, ACK, 0, ping[0].payload)
            assert peer.until(frames.GOAWAY).number() == 3
            peer.open_window(4_000_000, 1)
            assert peer.answer(1).body == BLOB
            assert peer.fault() is Code.NO_ERROR


def test_too_many_connections(files: Files) -> None:
    with within(files, Limits(connections=1)) as started, http2_peer(started.addr, files.ca) as first:
        with http2_peer(started.addr, files.ca, greeted=False) as second:
            assert second.next_frame() is None
        first.ask(1, "/data.json")
        assert first.answer(1).status == 200


# -- the same answers as over HTTP/1.1

SAME: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/", {}),
    ("GET", "/data.json?x=1", {}),
    ("HEAD", "/data.json", {}),
    ("GET", "/text.txt", {"Accept-Encoding": "gzip"}),
    ("GET", "/text.txt", {"Range": "bytes=0-9"}),
    ("GET", "/text.txt", {"Range": "bytes=0-9,100-109"}),
    ("GET", "/text.txt", {"Range": "bytes=999999-"}),
    ("GET", "/blob.bin", {"Range": "bytes=1000000-2000000"}),
    ("GET", "/blob.bin", {}),
    ("HEAD", "/blob.bin", {}),
    ("GET", "/many.bin", {}),
    ("GET", "/empty.txt", {}),
    ("GET", "/sub", {}),
    ("GET", "/sub/?a=b", {}),
    ("GET", "/plain/", {}),
    ("GET", "/plain/", {"Accept": "application/json"}),
    ("GET", "/sp%20ace/%C3%BC.txt", {}),
    ("GET", "/none", {}),
    ("HEAD", "/none", {}),
    ("GET", "/.env", {}),
    ("GET", "/%2e%2e/etc/passwd", {}),
    ("OPTIONS", "/", {}),
    ("OPTIONS", "*", {}),
    ("DELETE", "/data.json", {}),
    ("BREW", "/", {}),
    ("get", "/", {}),
    ("GET", "/data.json", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    ("GET", "/data.json", {"If-None-Match": "*"}),
    ("GET", "/data.json", {"If-Match": '"x"'}),
    ("GET", "/locked/", {}),
    ("GET", "/locked/", {"Authorization": "Basic bWU6d3Jvbmc="}),
]


def over_http1(files: Files, port: int, method: str, target: str, fields: dict[str, str]) -> tuple[int, Any, bytes]:
    context = ssl.create_default_context(cafile=files.ca)
    conn = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        conn.request(method, target, headers={"Accept-Encoding": "identity", **fields})
        response = conn.getresponse()
        return response.status, [(name.lower(), value) for name, value in response.getheaders()], response.read()
    finally:
        conn.close()


@pytest.fixture(scope="module")
def command(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """The command line's server, whose site has a locked part."""
    log = tmp_path_factory.mktemp("log") / "access.log"
    rules = files.site.parent / "redirects"
    rules.write_text("/locked/ /data.json 307\n")
    flags = ["--listing", "--redirects-file", str(rules), "--access-log", str(log), "--metrics", "/metrics"]
    flags += ["--tls-cert", files.cert, "--tls-key", files.key, "--cache", "*.json=max-age=60", "--security-headers"]
    with serving(str(files.site), "--port", "0", *flags) as served:
        yield served, log
        assert served.stop() == 0, served.said


def test_answers_are_those_of_http_1_1(command: tuple[Served, Path], files: Files) -> None:
    port = command[0].port
    with http2_peer(("127.0.0.1", port), files.ca, INITIAL_WINDOW_SIZE=1 << 30) as peer:
        peer.open_window(1 << 30)
        stream = 1
        for method, target, fields in SAME * 2:  # the second time they are known
            status, expected, body = over_http1(files, port, method, target, fields)
            given = {"accept-encoding": "identity", **{name.lower(): value for name, value in fields.items()}}
            peer.ask(stream, target, *given.items(), method=method, host=f"localhost:{port}")
            answer = peer.answer(stream)
            stream += 2
            what = (method, target, fields)
            assert answer.status == status, what
            boundary = dict(expected).get("content-type", "").partition("boundary=")[2]
            kept = {name: value for name, value in expected if name not in ("date", "connection")}
            seen = {name: value for name, value in answer.fields.items() if name != "date"}
            if boundary:
                other = seen["content-type"].partition("boundary=")[2]
                body = body.replace(boundary.encode(), other.encode())
                kept["content-type"] = kept["content-type"].replace(boundary, other)
            assert seen == kept, what
            assert answer.body == body, what


def test_passwords_are_asked_for(files: Files) -> None:
    auth = BasicAuth({"me": hash_password("secret")})
    with running(http_events(Site(str(files.site), auth=auth)), files.address()) as started:
        with http2_peer(started.addr, files.ca) as peer:
            for stream, credentials, status in ((1, "", 401), (3, "me:wrong", 401), (5, "me:secret", 200)):
                value = "Basic " + base64.b64encode(credentials.encode()).decode()
                peer.ask(stream, "/data.json", *([("authorization", value)] if credentials else []))
                answer = peer.answer(stream)
                assert answer.status == status
                assert ("www-authenticate" in answer.fields) is (status == 401)


# -- programs


def test_the_log_and_the_metrics_know_it(command: tuple[Served, Path], files: Files) -> None:
    served, log = command
    fields = [("user-agent", "test/1"), ("referer", "https://localhost/")]
    with http2_peer(("127.0.0.1", served.port), files.ca) as peer:
        peer.ask(1, "/style.css?logged", *fields)
        assert peer.answer(1).status == 200
        peer.ask(3, "/metrics")
        assert b'evio_http_responses_total{method="GET",status="200"}' in peer.answer(3).body
    line = f'"GET /style.css?logged HTTP/2.0" 200 {len(FILES["style.css"])} "https://localhost/" "test/1"'
    assert eventually(lambda: line in log.read_text())


@pytest.mark.parametrize("arguments", [["-c1", "-m32"], ["-c4", "-m8", "-w12", "-W14"]])
def test_h2load(command: tuple[Served, Path], files: Files, tmp_path: Path, arguments: list[str]) -> None:
    paths = tmp_path / "paths"
    url = f"https://localhost:{command[0].port}"
    paths.write_text("".join(f"{url}{path}\n" for path in ("/data.json", "/many.bin", "/", "/sub/", "/text.txt")))
    count = 5000 if FULL else 500
    done = subprocess.run(
        [needs("h2load"), "-n", str(count), *arguments, "-i", str(paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert f"status codes: {count} 2xx" in done.stdout


def protocol(files: Files, port: int) -> str | None:
    """The protocol that a client of both is given."""
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
        return sock.selected_alpn_protocol()


def test_it_can_be_turned_off(command: tuple[Served, Path], files: Files) -> None:
    assert protocol(files, command[0].port) == "h2"
    flags = ["--tls-cert", files.cert, "--tls-key", files.key, "--no-http2"]
    with serving(str(files.site), "--port", "0", *flags) as served:
        assert protocol(files, served.port) == "http/1.1"


def test_without_the_package_nothing_changes(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "hpack" else find(name, *rest))
    flags = ["--tls-cert", files.cert, "--tls-key", files.key]
    setup = Setup(parse_arguments([str(files.site), *flags]))
    assert setup.addresses == [f"tls://127.0.0.1:8080?cert={files.cert}&key={files.key}&alpn=http/1.1,http/1.0"]
    setup.close()
    with pytest.raises(UsageError, match=r"HTTP/2 needs hpack: pip install evio-http\[h2\]"):
        Setup(parse_arguments([str(files.site), files.address()]))


def test_an_address_that_promises_too_much(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that offers HTTP/2 without the package: its connections end, and it hears why."""
    monkeypatch.setitem(sys.modules, "evio_http.connections.http2_session", None)
    logged: list[str] = []
    monkeypatch.setattr(connections.log, "error", logged.append)
    with running(http_events(Site(str(files.site))), files.address()) as started:
        with http2_peer(started.addr, files.ca, greeted=False) as peer:
            assert peer.next_frame() is None
    assert logged == ["HTTP/2 needs hpack: pip install evio-http[h2]"]

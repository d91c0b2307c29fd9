"""The parser without sockets: what is refused and why, what is tolerated; splits and the common head change nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.message.common_head import Recogniser
from evio_http.message.limits import Limits
from evio_http.message.parser import CONTINUE, BadRequest, RequestParser
from evio_http.message.request import Request
from tests.extent import examples
from tests.tables import each_row

LIMITS = Limits(request_line=200, head=1000, fields=10, body=100)

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n"


def with_field(field: bytes) -> bytes:
    """A GET request with one more field."""
    return GET + HOST + field + END + END


def with_target(target: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + END


def with_host(host: bytes) -> bytes:
    return GET + b"Host:" + host + END + END


def with_coding(coding: bytes) -> bytes:
    return POST + b"Transfer-Encoding: " + coding + END + END


def with_length(length: bytes) -> bytes:
    return POST + b"Content-Length: " + length + END + END


# RFC 9112 unless it says otherwise: what is sent, the status it is refused with, the section.
MALFORMED: list[tuple[bytes, int, str]] = [
    # -- line ends
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "2.2 bare LF"),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "2.2 bare LF"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "2.2 bare LF"),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400, "2.2 bare LF"),
    (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "2.2 bare LF"),
    (b"\n\n", 400, "2.2 bare LF"),
    (b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n", 400, "2.2 bare LF"),
    (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "2.2 bare CR"),
    (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400, "2.2 bare CR"),
    (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "2.2 bare CR"),
    (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "2.2 bare CR"),
    (b"GET / HTTP/1.1\r\nX: \rb\r\nHost: a\r\n\r\n", 400, "2.2 bare CR"),
    (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "2.2 bare CR"),
    (b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400, "2.2 bare CR"),
    (b"\r\n" * 5 + GET, 400, "2.2 more empty lines than one may tolerate"),
    (b"\r\n" * 100, 400, "2.2 nothing but empty lines"),
    (b" " + GET + HOST + END, 400, "2.2 white space before the request line"),
    (b"\t" + GET + HOST + END, 400, "2.2 white space before the request line"),
    (GET + b" Host: a\r\n\r\n", 400, "2.2 white space before the first field"),
    (GET + b"\tHost: a\r\n\r\n", 400, "2.2 white space before the first field"),
    # -- the request line
    (b"\r\nGET\r\n\r\n", 400, "3 nothing but a method"),
    (b"GET /\r\n\r\n", 400, "3 HTTP/0.9"),
    (b"GET / \r\n\r\n", 400, "3 no version"),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3 two spaces"),
    (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3 two spaces"),
    (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "3 a space at the end"),
    (b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", 400, "3 four words"),
    (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, "3 tabs for spaces"),
    (b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3 vertical tab"),
    (b"GET\xa0/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3 no-break space"),
    (b"/ GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 the target for the method"),
    (b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 no method"),
    (b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 no token"),
    (b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 no token"),
    (b"GE\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 NUL"),
    (b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 not ASCII"),
    (b'"GET" / HTTP/1.1\r\nHost: a\r\n\r\n', 400, "3.1 quotes"),
    (b"GET@ / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "3.1 no token"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "3 a TLS handshake"),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, "3 another protocol"),
    (b"EHLO example.org\r\n\r\n", 400, "3 another protocol"),
    (b"*1\r\n$4\r\nPING\r\n\r\n", 400, "3 another protocol"),
    (b"\x00\x00\x00\x00\r\n\r\n", 400, "3 NULs"),
    (b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n", 400, "3 a response"),
    # -- the request line: what no further byte can make one is refused at once
    (b"\x16", 400, "3 the first byte of a TLS handshake"),
    (b"SSH-2.0-OpenSSH_9", 400, "RFC 9110 9.1 no method has a digit or a dot"),
    (b"\x00" * 300, 400, "3 NULs without end"),
    (b"\r\r", 400, "2.2 a bare CR before the request line"),
    (b" GET", 400, "2.2 white space before the request line"),
    (b"GET /\x01 ", 400, "3.2 a control character"),
    (b"GET /\xc3", 400, "3.2 not ASCII"),
    (b"GET  ", 400, "3 two spaces"),
    (b"GET / X", 400, "2.3 another name"),
    (b"GET / HTTP/1.1x", 400, "2.3 more behind the version"),
    (b"GET / HTTP/1.1\rx", 400, "2.2 bare CR"),
    (b"GET\r", 400, "3 nothing but a method"),
    (b"GET /" + b"x" * 250 + b"\x01", 414, "RFC 9110 15.5.15 too long before it is wrong"),
    (b"GET /\x01" + b"x" * 250 + b"\r\n\r\n", 400, "3.2 wrong before it is too long"),
    (b"GET1 / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 9.1 no method has a digit"),
    # -- and so are fields
    (GET + b"X: a\x00", 400, "RFC 9110 5.5 NUL"),
    (GET + b"X: a\rb", 400, "2.2 bare CR"),
    (GET + HOST + b" ", 400, "5.2 obs-fold"),
    (GET + HOST + b":", 400, "5.1 no name"),
    (GET + HOST + b"\rx", 400, "2.2 bare CR where the end of the head would be"),
    (GET + b"X: " + b"y" * 990 + b"\x01", 431, "RFC 6585 5 too long before it is wrong"),
    # -- the version
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "2.3 another major version"),
    (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "2.3 another major version"),
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "2.3 another major version"),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "2.3 a minor version that is none"),
    (b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", 505, "2.3 a minor version that is none"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "RFC 9113 3.4 the preface of HTTP/2"),
    (b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, "2.3 no minor version"),
    (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400, "2.3 no dot"),
    (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "2.3 two digits"),
    (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, "2.3 two digits"),
    (b"GET / HTTP/1.1.1\r\nHost: a\r\n\r\n", 400, "2.3 two dots"),
    (b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, "2.3 a comma"),
    (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "2.3 lower case"),
    (b"GET / Http/1.1\r\nHost: a\r\n\r\n", 400, "2.3 mixed case"),
    (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400, "2.3 another name"),
    (b"GET / HTTP /1.1\r\nHost: a\r\n\r\n", 400, "2.3 white space"),
    (b"GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", 400, "2.3 white space"),
    (b"GET / HTTP/-1.1\r\nHost: a\r\n\r\n", 400, "2.3 a sign"),
    (b"GET / HTTP/1.\xb2\r\nHost: a\r\n\r\n", 400, "2.3 not a digit of ASCII"),
    (b"GET / ICY/1.1\r\nHost: a\r\n\r\n", 400, "2.3 another name"),
    # -- the target
    (with_target(b"x"), 400, "3.2.1 no slash"),
    (with_target(b"index.html"), 400, "3.2.1 no slash"),
    (with_target(b"?query"), 400, "3.2.1 no path"),
    (with_target(b"../etc/passwd"), 400, "3.2.1 no slash"),
    (with_target(b"\\etc"), 400, "3.2.1 a backslash"),
    (with_target(b"/a#b"), 400, "3.2 a fragment"),
    (with_target(b"/#"), 400, "3.2 a fragment"),
    (with_target(b"http://a/#b"), 400, "3.2 a fragment"),
    (with_target(b"/\x00"), 400, "3.2 NUL"),
    (with_target(b"/\x7f"), 400, "3.2 DEL"),
    (with_target(b"/\x1f"), 400, "3.2 a control character"),
    (with_target(b"/\xc3\xa9"), 400, "3.2 not ASCII"),
    (with_target(b"/\xff"), 400, "3.2 not ASCII"),
    (with_target(b"/a b"), 400, "3.2 a space"),
    (with_target(b"*"), 400, "3.2.4 asterisk-form is for OPTIONS"),
    (with_target(b"*", b"HEAD"), 400, "3.2.4 asterisk-form is for OPTIONS"),
    (with_target(b"**", b"OPTIONS"), 400, "3.2.4 two asterisks"),
    (with_target(b"*/", b"OPTIONS"), 400, "3.2.4 an asterisk and more"),
    (with_target(b"a:80"), 400, "3.2.3 authority-form is for CONNECT"),
    (with_target(b"a:80", b"CONNECT"), 501, "3.2.3 CONNECT, and we are no proxy"),
    (with_target(b"/", b"CONNECT"), 501, "RFC 9110 9.3.6 CONNECT"),
    (with_target(b"ftp://a/"), 400, "3.2.2 another scheme"),
    (with_target(b"file:///etc/passwd"), 400, "3.2.2 another scheme"),
    (with_target(b"http:/a/"), 400, "3.2.2 one slash"),
    (with_target(b"http:a"), 400, "3.2.2 no slash"),
    (with_target(b"http://"), 400, "3.2.2 no host"),
    (with_target(b"http:///x"), 400, "RFC 9110 4.2.1 an empty host"),
    (with_target(b"http://user@a/"), 400, "RFC 9110 4.2.4 userinfo"),
    (with_target(b"http://user:pw@a/"), 400, "RFC 9110 4.2.4 userinfo"),
    (with_target(b"http://a:b/"), 400, "RFC 3986 3.2.3 a port that is no number"),
    (with_target(b"http://a:123456/"), 400, "RFC 3986 3.2.3 a port that is none"),
    (with_target(b"http://a:65536/"), 400, "RFC 9293 3.1 a port has 16 bits"),
    (with_target(b"http://[::1/"), 400, "RFC 3986 3.2.2 half a bracket"),
    (with_target(b"http://a%2Fb/"), 400, "RFC 3986 3.2.2 an escape in the host"),
    (with_target(b"javascript:alert(1)"), 400, "3.2.2 another scheme"),
    (with_target(b"//a/"), 0, "3.2.1 a path that begins with two slashes is a path"),
    # -- Host
    (GET + END, 400, "3.2 no Host"),
    (GET + b"X: y\r\n\r\n", 400, "3.2 no Host"),
    (GET + HOST + HOST + END, 400, "3.2 two Hosts"),
    (GET + HOST + b"Host: b\r\n\r\n", 400, "3.2 two Hosts"),
    (GET + HOST + b"HOST: a\r\n\r\n", 400, "3.2 two Hosts"),
    (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "3.2 two Hosts"),
    (b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "3.2.2 no Host beside the absolute form"),
    (with_host(b""), 400, "3.2 an empty Host"),
    (with_host(b"  "), 400, "3.2 an empty Host"),
    (b"GET / HTTP/1.0\r\nHost:\r\n\r\n", 400, "3.2 an empty Host"),
    (with_host(b" a b"), 400, "RFC 9110 7.2 a space"),
    (with_host(b" a, b"), 400, "RFC 9110 7.2 a list"),
    (with_host(b" a/b"), 400, "RFC 9110 7.2 a path"),
    (with_host(b" http://a"), 400, "RFC 9110 7.2 a URL"),
    (with_host(b" user@a"), 400, "RFC 9110 7.2 userinfo"),
    (with_host(b" a:b"), 400, "RFC 9110 7.2 a port that is no number"),
    (with_host(b" a:-1"), 400, "RFC 9110 7.2 a port that is no number"),
    (with_host(b" a:80:80"), 400, "RFC 9110 7.2 two ports"),
    (with_host(b" a:999999"), 400, "RFC 9110 7.2 a port that is none"),
    (with_host(b" a:65536"), 400, "RFC 9293 3.1 a port has 16 bits"),
    (with_host(b" [::1]:98777"), 400, "RFC 9293 3.1 a port has 16 bits"),
    (with_host(b" [v1.a]"), 400, "RFC 3986 3.2.2 a version of IP literals that nobody has defined"),
    (with_host(b" ::1"), 400, "RFC 3986 3.2.2 IPv6 without brackets"),
    (with_host(b" [::1"), 400, "RFC 3986 3.2.2 half a bracket"),
    (with_host(b" [::1]x"), 400, "RFC 3986 3.2.2 more behind the bracket"),
    (with_host(b" []"), 400, "RFC 3986 3.2.2 nothing in the brackets"),
    (with_host(b" [ab..cd::1]"), 400, "RFC 3986 3.2.2 no address in the brackets"),
    (with_host(b" [1:2]:80"), 400, "RFC 3986 3.2.2 no address in the brackets"),
    (b"GET http://[1:2]/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 3986 3.2.2 no address in the brackets"),
    (with_host(b" [x]"), 400, "RFC 3986 3.2.2 no address in the brackets"),
    (with_host(b" a..b"), 400, "RFC 1034 3.1 an empty label"),
    (with_host(b" .a"), 400, "RFC 1034 3.1 an empty label"),
    (with_host(b" ."), 400, "RFC 1034 3.1 nothing but the root"),
    (b"GET http://a..:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 1034 3.1 an empty label"),
    (with_host(b" a\x00b"), 400, "RFC 9110 5.5 NUL"),
    (with_host(b" \xc3\xa9"), 400, "RFC 3986 3.2.2 not ASCII"),
    (with_host(b" a%00"), 400, "RFC 3986 3.2.2 an escape"),
    (with_host(b" a?b"), 400, "RFC 9110 7.2 a query"),
    (with_host(b" <script>"), 400, "RFC 9110 7.2 no host"),
    (with_host(b" " + b"a" * 256), 400, "RFC 3986 3.2.2 longer than a name can be"),
    # -- fields
    (with_field(b"X : y"), 400, "5.1 white space before the colon"),
    (with_field(b"X\t: y"), 400, "5.1 white space before the colon"),
    (with_field(b"Content-Length : 5"), 400, "5.1 white space before the colon"),
    (with_field(b"Transfer-Encoding : chunked"), 400, "5.1 white space before the colon"),
    (with_field(b": y"), 400, "5.1 no name"),
    (with_field(b"X"), 400, "5 no colon"),
    (with_field(b"X y"), 400, "5 no colon"),
    (with_field(b"X y: z"), 400, "5.1 a space in the name"),
    (with_field(b"X(: y"), 400, "5.1 no token"),
    (with_field(b'"X": y'), 400, "5.1 quotes"),
    (with_field(b"X\xe9: y"), 400, "5.1 not ASCII"),
    (with_field(b"X\x00: y"), 400, "5.1 NUL"),
    (with_field(b"X{: y"), 400, "5.1 no token"),
    (with_field(b"X: a\x00b"), 400, "RFC 9110 5.5 NUL"),
    (with_field(b"X: a\x01b"), 400, "RFC 9110 5.5 a control character"),
    (with_field(b"X: a\x0bb"), 400, "RFC 9110 5.5 vertical tab"),
    (with_field(b"X: a\x0cb"), 400, "RFC 9110 5.5 form feed"),
    (with_field(b"X: a\x7fb"), 400, "RFC 9110 5.5 DEL"),
    (with_field(b"X: \x1b[31m"), 400, "RFC 9110 5.5 ESC"),
    (with_field(b"X: a\r\n b"), 400, "5.2 obs-fold"),
    (with_field(b"X: a\r\n\tb"), 400, "5.2 obs-fold"),
    (with_field(b"X: a\r\n "), 400, "5.2 obs-fold"),
    (with_field(b"Transfer-Encoding:\r\n chunked"), 400, "5.2 obs-fold"),
    (GET + b"Host: a\r\n b\r\n\r\n", 400, "5.2 obs-fold"),
    (with_field(b"Expect: 200-ok"), 417, "RFC 9110 10.1.1 an unknown expectation"),
    (with_field(b"Expect: 100-continue, x"), 417, "RFC 9110 10.1.1 an unknown expectation"),
    (with_field(b"Expect: "), 417, "RFC 9110 10.1.1 an empty expectation"),
    # -- where the message ends
    (with_length(b"-1"), 400, "6.2 a sign"),
    (with_length(b"+1"), 400, "6.2 a sign"),
    (with_length(b"1.0"), 400, "6.2 a fraction"),
    (with_length(b"0x5"), 400, "6.2 hexadecimal"),
    (with_length(b"5 5"), 400, "6.2 two numbers"),
    (with_length(b"5, 5"), 400, "6.3 a list, though of equals"),
    (with_length(b"5,"), 400, "6.3 a list"),
    (with_length(b"5, 6"), 400, "6.3 a list of different ones"),
    (with_length(b""), 400, "6.2 empty"),
    (with_length(b"five"), 400, "6.2 no number"),
    (with_length(b"5;"), 400, "6.2 a parameter"),
    (with_length(b'"5"'), 400, "6.2 quotes"),
    (with_length(b"1_0"), 400, "6.2 what int() takes"),
    (with_length("\u0665".encode()), 400, "6.2 a digit that is not ASCII"),
    (with_length(b"\xb2"), 400, "6.2 a digit that is not ASCII"),
    (with_length(b"5\r\nContent-Length: 5"), 400, "6.3 twice"),
    (with_length(b"5\r\nContent-Length: 6"), 400, "6.3 twice, differently"),
    (with_length(b"0\r\ncontent-length: 5"), 400, "6.3 twice, differently"),
    (with_length(b"101"), 413, "RFC 9110 15.5.14 over the limit"),
    (with_length(b"9" * 18), 413, "RFC 9110 15.5.14 over the limit"),
    (with_length(b"9" * 40), 413, "RFC 9110 15.5.14 more than a number holds"),
    (with_length(b"5\r\nTransfer-Encoding: chunked"), 400, "6.1 both"),
    (with_coding(b"chunked\r\nContent-Length: 5"), 400, "6.1 both"),
    (with_coding(b"chunked\r\nContent-Length: 0"), 400, "6.1 both"),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "6.1 in HTTP/1.0"),
    (with_coding(b""), 400, "6.1 empty"),
    (with_coding(b"identity"), 400, "6.3 chunked is not the last"),
    (with_coding(b"gzip"), 400, "6.3 chunked is not the last"),
    (with_coding(b"chunked, gzip"), 400, "6.3 chunked is not the last"),
    (with_coding(b"chunked, identity"), 400, "6.3 chunked is not the last"),
    (with_coding(b"xchunked"), 400, "6.3 chunked is not the last"),
    (with_coding(b"chunkedx"), 400, "6.3 chunked is not the last"),
    (with_coding(b"chunked, chunked"), 400, "6.1 twice"),
    (with_coding(b"chunked\r\nTransfer-Encoding: chunked"), 400, "6.1 twice"),
    (with_coding(b"chunked\r\nTransfer-Encoding: identity"), 400, "6.3 chunked is not the last"),
    (with_coding(b"chunked,"), 400, "6.1 an empty element"),
    (with_coding(b", chunked"), 400, "6.1 an empty element"),
    (with_coding(b'"chunked"'), 400, "6.1 quotes"),
    (with_coding(b"chunked;q=1"), 400, "7 a parameter"),
    (with_coding(b"\x0bchunked"), 400, "6.1 a control character"),
    (with_coding(b"gzip, chunked"), 501, "6.1 a coding that is not implemented"),
    (with_coding(b"gzip\r\nTransfer-Encoding: chunked"), 501, "6.1 a coding that is not implemented"),
    # -- chunks
    (CHUNKED + b"x\r\n", 400, "7.1 no size"),
    (CHUNKED + b"\r\n", 400, "7.1 no size"),
    (CHUNKED + b"-1\r\n", 400, "7.1 a sign"),
    (CHUNKED + b"+1\r\na\r\n", 400, "7.1 a sign"),
    (CHUNKED + b"0x1\r\na\r\n", 400, "7.1 a prefix"),
    (CHUNKED + b"1_0\r\n", 400, "7.1 what int() takes"),
    (CHUNKED + b" 1\r\na\r\n", 400, "7.1 white space"),
    (CHUNKED + b"1 \r\na\r\n", 400, "7.1 white space"),
    (CHUNKED + b"1\t;x\r\na\r\n", 400, "7.1.1 white space"),
    (CHUNKED + b"1\na\r\n", 400, "2.2 bare LF"),
    (CHUNKED + b"1\r\na\n0\r\n\r\n", 400, "2.2 bare LF behind the data"),
    (CHUNKED + b"1\r\nab\r\n", 400, "7.1 more data than the size"),
    (CHUNKED + b"1\r\na0\r\n\r\n", 400, "7.1 no CRLF behind the data"),
    (CHUNKED + b"2\r\na\r\n0\r\n\r\n", 400, "7.1 less data than the size"),
    (CHUNKED + b"5;\r\nhello\r\n", 400, "7.1.1 an extension without a name"),
    (CHUNKED + b"5;a;\r\nhello\r\n", 400, "7.1.1 an extension without a name"),
    (CHUNKED + b"5;;a\r\nhello\r\n", 400, "7.1.1 an extension without a name"),
    (CHUNKED + b"5; \r\nhello\r\n", 400, "7.1.1 an extension without a name"),
    (CHUNKED + b"5;=b\r\nhello\r\n", 400, "7.1.1 an extension without a name"),
    (CHUNKED + b"5;a=\r\nhello\r\n", 400, "7.1.1 an extension without the value it announces"),
    (CHUNKED + b"5;a b\r\nhello\r\n", 400, "7.1.1 a space in a name"),
    (CHUNKED + b"5;a \r\nhello\r\n", 400, "7.1.1 white space before nothing"),
    (CHUNKED + b'5;a="b\r\nhello\r\n', 400, "7.1.1 half a quoted string"),
    (CHUNKED + b'5;a="b"c\r\nhello\r\n', 400, "7.1.1 more behind a quoted string"),
    (CHUNKED + b"5;a\xff\r\nhello\r\n", 400, "7.1.1 a name that is no token"),
    (CHUNKED + b"1;\x00\r\na\r\n", 400, "7.1.1 NUL in an extension"),
    (CHUNKED + b"1;a\rb\r\na\r\n", 400, "7.1.1 CR in an extension"),
    (CHUNKED + b"1;a\nb\r\na\r\n", 400, "7.1.1 LF in an extension"),
    (CHUNKED + b"1;" + b"x" * 300 + b"\r\na\r\n", 400, "7.1.1 an extension without end"),
    (CHUNKED + b"0" * 17 + b"1\r\na\r\n", 400, "7.1 more digits than a size needs"),
    (CHUNKED + b"f" * 17 + b"\r\n", 400, "7.1 more digits than a size needs"),
    (CHUNKED + b"f" * 16 + b"\r\n", 413, "RFC 9110 15.5.14 over the limit"),
    (CHUNKED + b"65\r\n", 413, "RFC 9110 15.5.14 over the limit"),
    (CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n1\r\n", 413, "RFC 9110 15.5.14 over the limit in all"),
    (CHUNKED + b"0\r\nX\r\n\r\n", 400, "7.1.2 a trailer without colon"),
    (CHUNKED + b"0\r\nX : y\r\n\r\n", 400, "7.1.2 white space before the colon"),
    (CHUNKED + b"0\r\n X: y\r\n\r\n", 400, "7.1.2 obs-fold"),
    (CHUNKED + b"0\r\nX: y\n\r\n", 400, "2.2 bare LF in the trailers"),
    (CHUNKED + b"0\r\nX: y\r\n\n", 400, "2.2 bare LF behind the trailers"),
    (CHUNKED + b"0\r\n\n", 400, "2.2 bare LF for the end"),
    (CHUNKED + b"0\r\nX: \x00\r\n\r\n", 400, "7.1.2 NUL in a trailer"),
    (CHUNKED + b"0\r\n" + b"X: y\r\n" * 200, 431, "RFC 6585 5 trailers without end"),
    (CHUNKED + b"0\r\nX: " + b"y" * 2000, 431, "RFC 6585 5 a trailer without end"),
    # -- limits
    (b"GET /" + b"x" * 300, 414, "RFC 9110 15.5.15 a request line without end"),
    (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "RFC 9110 15.5.15 too long"),
    (b"GET /" + b"x" * 300 + b"\n", 414, "RFC 9110 15.5.15 too long, and wrong besides"),
    (b"x" * 300, 414, "RFC 9110 15.5.15 no request line at all"),
    (GET + HOST + b"X: " + b"y" * 1000, 431, "RFC 6585 5 a field without end"),
    (GET + HOST + b"X: " + b"y" * 1000 + b"\r\n\r\n", 431, "RFC 6585 5 too long"),
    (GET + HOST + b"X: y\r\n" * 9 + b"X: y\r\n\r\n", 431, "RFC 6585 5 too many fields"),
    (GET + HOST + b"X: y\r\n" * 300, 431, "RFC 6585 5 fields without end"),
]  # fmt: skip


def run(data: bytes, *, splits: list[int] | None = None, limits: Limits = LIMITS) -> list[Any]:
    """The events of a stream, given in pieces that end at ``splits``; requests as what they say. Common heads are
    recognised, which changes nothing."""
    by_h11, events = (parsed(data, splits or [], limits, each) for each in (None, Recogniser(limits)))
    assert events == by_h11
    return events


def parsed(data: bytes, splits: list[int], limits: Limits, recognise: Recogniser | None) -> list[Any]:
    parser = RequestParser(limits, recognise, keep_body=True)
    events: list[Any] = []
    ends = [*sorted(splits), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        parser.receive(data[start:end])
        while (event := parser.next_event()) is not None:
            events.append(described(event) if isinstance(event, Request) else event)
    return events


def described(request: Request) -> tuple[Any, ...]:
    return (
        request.method,
        request.target,
        request.version,
        request.path,
        request.query,
        request.host,
        request.keep_alive,
        request.body,
        tuple(request.headers),
    )


def statuses(events: list[Any]) -> list[int]:
    """Return the status of each event: 200 for a request."""
    return [event.status if isinstance(event, BadRequest) else 100 if event is CONTINUE else 200 for event in events]


def test_the_table_is_large_enough() -> None:
    assert len({data for data, _, _ in MALFORMED}) == len(MALFORMED) >= 150


def test_malformed() -> None:
    for data, status, section in MALFORMED:
        assert statuses(run(data)) == [status or 200], (section, data)


def test_malformed_a_byte_at_a_time_and_behind_a_request() -> None:
    for data, status, section in MALFORMED:
        assert run(data, splits=list(range(len(data)))) == run(data), (section, data)
        assert statuses(run(GET + HOST + END + data)) == [200, status or 200], (section, data)


def test_nothing_comes_behind_a_refusal() -> None:
    assert statuses(run(b"x y\r\n\r\n" + GET + HOST + END)) == [400]


TOLERATED: list[tuple[bytes, str]] = [
    (b"\r\n" + GET + HOST + END, "2.2 an empty line before the request"),
    (b"\r\n" * 4 + GET + HOST + END, "2.2 empty lines before the request"),
    (b"GET / HTTP/1.0\r\n\r\n", "3.2 no Host in HTTP/1.0"),
    (b"GET http://A.example:80/x?y HTTP/1.1\r\nHost: b\r\n\r\n", "3.2.2 the absolute form"),
    (b"GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", "3.2.2 the absolute form without a path"),
    (b"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "3.2.2 the absolute form with only a query"),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "3.2.4 the asterisk form"),
    (with_host(b"a.example."), "RFC 9110 7.2 the name with its last dot"),
    (with_host(b"a.example.:80"), "RFC 9110 7.2 the name with its last dot, and a port"),
    (b"GET http://[::1]:80/ HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n", "RFC 3986 3.2.2 addresses in brackets"),
    (with_host(b" [::1]:8080"), "RFC 9110 7.2 an IPv6 address with a port"),
    (with_host(b" 127.0.0.1:"), "RFC 3986 3.2.3 an empty port"),
    (with_host(b"\t a_b \t"), "RFC 9110 5.5 white space around a value"),
    (with_field(b"X:"), "RFC 9110 5.5 an empty value"),
    (with_field(b"X: \xff\xfe"), "RFC 9110 5.5 obs-text"),
    (with_field(b"X: a\tb"), "RFC 9110 5.5 a tab in a value"),
    (with_field(b"!#$%&'*+-.^_`|~: x"), "RFC 9110 5.6.2 every character of a token"),
    (b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", "3.1 a method that nobody knows"),
    (with_length(b"0"), "6.2 no content"),
    (with_length(b"005") + b"hello", "6.2 zeros in front"),
    (CHUNKED + b"0\r\n\r\n", "7.1 no chunks"),
    (CHUNKED + b"5;a=b;c\r\nhello\r\n00\r\n\r\n", "7.1.1 extensions"),
    (CHUNKED + b"5; a = b ;c\r\nhello\r\n0;x\r\n\r\n", "7.1.1 white space that is bad, and to be parsed"),
    (CHUNKED + b'5;a="b;\\"\xff\t"\r\nhello\r\n0\r\n\r\n', "7.1.1 a quoted string"),
    (with_host(b"a:65535"), "RFC 9293 3.1 the largest port"),
    (with_host(b"a:00080"), "RFC 3986 3.2.3 zeros in front"),
    (b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "RFC 9110 9.1 a method with a hyphen"),
    (CHUNKED + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "7.1.2 trailers"),
    (with_coding(b"CHUNKED") + b"0\r\n\r\n", "7 names of codings in any case"),
    (b"GET / HTTP/1.0\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", "RFC 9110 10.1.1 expectations of HTTP/1.0 are ignored"),
    (with_field(b"Upgrade: websocket"), "RFC 9110 7.8 an upgrade that is ignored"),
    (GET + HOST + b"X: y\r\n" * 9 + END, "as many fields as are allowed"),
]


@each_row(("data", "section"), TOLERATED)
def test_tolerated(data: bytes, section: str) -> None:
    events = run(data)
    assert statuses(events) == [200], section
    assert run(data, splits=list(range(len(data)))) == events
    assert run(data * 2)[-1] == events[-1]


def test_what_a_request_says() -> None:
    (event,) = run(b"GET http://A.example:80/x%20y?q?r HTTP/1.1\r\nHost: b\r\nAccept: a\r\nACCEPT: b\r\n\r\n")
    assert event[:7] == ("GET", b"http://A.example:80/x%20y?q?r", "1.1", b"/x%20y", b"q?r", "a.example:80", True)
    assert dict(event[8])["accept"] == "a, b"


@each_row(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "x, close", False),
        ("1.1", "keep-alive", True),
        ("1.1", "keep-alive, close", False),
        ("1.1", "closed", True),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_keep_alive(version: str, connection: str, kept: bool) -> None:
    """RFC 9112 section 9.3."""
    field = f"Connection: {connection}\r\n" if connection else ""
    (event,) = run(f"GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n".encode())
    assert event[6] is kept


def test_content_of_a_known_length_and_what_follows() -> None:
    events = run(with_length(b"5") + b"hello" + GET + HOST + END)
    assert [event[7] for event in events] == [b"hello", b""]


def test_content_in_chunks_and_what_follows() -> None:
    events = run(CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" + GET + HOST + END)
    assert [event[7] for event in events] == [b"hello!", b""]


def test_content_that_nobody_wants_is_not_kept() -> None:
    parser = RequestParser(LIMITS, None)
    parser.receive(with_length(b"5") + b"hello")
    event = parser.next_event()
    assert isinstance(event, Request)
    assert (event.has_body, event.body) == (True, b"")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_expect_100_continue(framing: bytes) -> None:
    """RFC 9110 section 10.1.1."""
    assert statuses(run(POST + b"Expect: 100-Continue\r\n" + framing)) == [100, 200]


def test_no_100_without_content_and_in_1_0() -> None:
    assert statuses(run(with_field(b"Expect: 100-continue"))) == [200]
    assert statuses(run(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")) == [200]


def test_content_over_the_limit_is_refused_instead_of_100() -> None:
    assert statuses(run(POST + b"Expect: 100-continue\r\nContent-Length: 101\r\n\r\n")) == [413]


def test_idle_means_at_a_message_boundary() -> None:
    parser = RequestParser(LIMITS, None)
    assert parser.idle
    for data, idle, awaited in [
        (b"\r\n", False, None),
        (GET, False, None),
        (HOST + b"Content-Length: 2\r\n\r\n", False, 2),
    ]:
        parser.receive(data)
        assert parser.next_event() is None
        assert (parser.idle, parser.awaited) == (idle, awaited)
    parser.receive(b"ab")
    assert isinstance(parser.next_event(), Request)
    assert (parser.idle, parser.awaited) == (True, None)


# -- properties

PIECES = st.sampled_from(
    [
        GET,
        HOST,
        END,
        POST,
        CHUNKED,
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        GET + HOST + END,
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        with_length(b"5") + b"hello",
        with_length(b"50"),
        POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        with_field(b"X: y"),
        with_field(b"X : y"),
        b"x" * 150,
        b"GET /" + b"x" * 180,
        b"GET /",
        b" HTTP/1.1",
        b"SSH-2.0",
        b"X: " + b"y" * 400 + END,
        b"\n",
        b"\r",
        b"\x00",
        b" ",
    ]
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)


@settings(max_examples=examples(100), deadline=None)
@given(STREAMS, st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    splits = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert run(stream, splits=splits) == run(stream)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_understood(stream: bytes) -> None:
    events = run(stream, splits=[len(stream) // 2])
    assert all(status in (100, 200, 400, 413, 414, 417, 431, 501, 505) for status in statuses(events))
    assert run(stream) == events


def test_a_long_pipeline_takes_time_in_proportion() -> None:
    count = 5_000
    assert len(run((GET + HOST + END) * count)) == count

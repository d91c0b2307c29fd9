"""The command line's flags. ``parse_arguments`` only reads them; ``build.py`` makes a server of them."""

from __future__ import annotations

import argparse
import re
from typing import Any

from evio_core import __version__
from evio_core.cli import Parser, count, seconds

from ..connections.peers import TrustedProxies
from ..files.paths import BadPath, decode_target_path
from ..files.validators import ETAGS
from ..logs.access_log import FORMATS
from ..message.limits import Limits
from ..pages.error_pages import OWN_PAGES
from .config import ConfigError, read_config

__all__ = ["OF_A_SITE", "make_parser", "parse_arguments"]

OF_A_SITE = frozenset(
    (
        "auth", "cache", "clean_urls", "compress", "cors", "directory", "dotfiles", "error_page", "error_template",
        "etag", "follow_symlinks", "header", "headers_file", "health", "hot_file", "hsts", "index", "listing",
        "listing_template", "media_type", "no_precompressed", "redirects_file", "security_headers", "site_files", "spa",
    )
)  # fmt: skip
"""The options that each virtual host may have of its own."""

_STATUSES = ", ".join(map(str, OWN_PAGES))

EXAMPLES = """\
addresses, besides --bind and --port:
  tcp://127.0.0.1:8080   tcp://:80 (all interfaces)   unix:///run/site.sock   systemd://   fd://3
  tls://:443 (with --tls-cert, or with ?cert=cert.pem&key=key.pem, as systemd:// and fd://)

patterns: "/docs/*" is for paths, "*.html" for names; "*" is any characters, "?" one but "/". They are compared with
what was asked for and with the file that answers it: "*.html" is for "/", too, when that is index.html.

a file for --config, in which a host may have options of its own:
  directory = "public"
  cache = { "*.css" = "public, max-age=3600" }
  [host."b.example"]
  directory = "sites/b"
  listing = true

examples:
  evio-http public                             http://127.0.0.1:8080/
  evio-http public --listing --port 9000       with pages for directories that have no index.html
  evio-http dist --spa /index.html --compress  a site that routes in the browser
  evio-http public --tls-self-signed           https, with a certificate for development
  evio-http public tls://:443 tcp://:80 --tls-cert cert.pem --tls-key key.pem --https-redirect 443
  evio-http public --host a.example=sites/a --host b.example=sites/b
  evio-http public --cache '*.css=public, max-age=3600' --header '/*=X-Robots-Tag: noindex'

signals: SIGTERM and SIGINT stop in good order; SIGHUP reads certificates anew and reopens the access log, and with
--workers replaces the workers one by one; SIGUSR1 reopens the access log. A log that was moved away is also noticed.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all flags, in groups."""
    parser = Parser(
        prog="evio-http",
        description="Serve a directory over HTTP and HTTPS.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="what to serve (default: here)")
    parser.add_argument("addresses", nargs="*", default=[], metavar="ADDRESS", help="where to listen; see below")
    parser.add_argument("--version", action="version", version=f"evio-http {__version__}")
    _network(parser.add_argument_group("network"))
    _content(parser.add_argument_group("content"))
    _fields(parser.add_argument_group("response fields"))
    _tls(parser.add_argument_group("TLS"))
    _limits(parser.add_argument_group("limits (bytes, seconds; 0 is none)"))
    _running(parser.add_argument_group("running"))
    return parser


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse ``arguments`` (``sys.argv`` when None), and the file of ``--config``: flags come before what is in there.
    The options of each virtual host are in ``sites``, pairs of name and namespace. Leaves with status 2 when they are
    wrong."""
    parser = make_parser()
    defaults = {action.dest: action.default for action in parser._actions}
    for action in parser._actions:
        if action.dest not in ("help", "version"):
            action.help = (action.help or "") % {"default": action.default}
            action.default = argparse.SUPPRESS  # to see which were given
    # Intermixed: an address may also come after flags, where ``parse_args`` has given DIR all there is by then.
    given = vars(parser.parse_intermixed_args(arguments))
    options: dict[str, Any] = {}
    hosts: dict[str, dict[str, Any]] = {}
    if "config" in given:
        try:
            options, hosts = read_config(given["config"], parser, OF_A_SITE)
        except ConfigError as error:
            parser.error(str(error))
        except OSError as error:
            parser.error(f"{given['config']}: {error.strerror}")
    whole = {**defaults, **options, **given}
    for name, directory in whole["host"]:
        if name in hosts:
            parser.error(f"--host {name} is given twice")
        hosts[name] = {"directory": directory}
    sites = [(name, argparse.Namespace(**{**whole, **of_host})) for name, of_host in hosts.items()]
    return argparse.Namespace(**whole, sites=sites)


def _network(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--port", type=_port, metavar="N", help="default 8080; 0 is any that is free")
    group.add_argument("--bind", metavar="HOST", help="default 127.0.0.1; '' is all interfaces")
    group.add_argument("--loops", type=count, default=1, metavar="N", help="event loops (threads); -1: one per CPU")
    group.add_argument("--workers", type=count, default=0, metavar="N", help="processes; -1: one per CPU")
    group.add_argument("--reuseport", action="store_true", help="a listening socket for each loop or worker")
    group.add_argument("--proxy-protocol", action="store_true", help="connections begin with a PROXY header")
    group.add_argument(
        "--trust",
        action="append",
        default=[],
        type=_peers,
        metavar="NETWORK",
        help="believe X-Forwarded-For, and PROXY headers, of these; 'unix' is for unix sockets; repeatable",
    )

    for flag, text in (
        ("allow", "who may come in, and nobody else then"),
        ("deny", "who may not; of several networks that have an address the smallest decides"),
    ):
        group.add_argument(
            f"--{flag}", action="append", default=[], type=_peers, metavar="NETWORK", help=f"{text}; repeatable"
        )
    group.add_argument(
        "--rate",
        type=_rate,
        metavar="N[/s|/m|/h]",
        help="requests of one client, which an address is, or a network of 64 bits of IPv6; else 429",
    )
    group.add_argument(
        "--rate-burst", type=_positive, metavar="N", help="of those at once (default: as many as in 10 seconds)"
    )


def _content(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--index", action="append", type=_name, metavar="NAME", help="default index.html; repeatable, first wins"
    )
    group.add_argument("--listing", action="store_true", help="show directories without an index (also as JSON)")
    group.add_argument(
        "--listing-template",
        type=_file,
        metavar="FILE",
        help="HTML for them, with {{listing}}, and if wanted {{path}}, {{trail}} and {{style}}, in it",
    )
    group.add_argument(
        "--spa", type=_path, metavar="PATH", help="the page for paths that are no files, such as /index.html"
    )
    group.add_argument("--clean-urls", action="store_true", help="/about is about.html")
    group.add_argument(
        "--compress", action="store_true", help="compress text: files up to 4 MiB, once; listings and error pages"
    )
    group.add_argument(
        "--etag",
        choices=ETAGS,
        default="stat",
        help="what entity tags are made of: stat is size and mtime (default), content is a digest; off is none",
    )
    group.add_argument("--no-precompressed", action="store_true", help="do not look for FILE.br, .zst and .gz")
    group.add_argument("--follow-symlinks", action="store_true", help="also links that leave the directory")
    group.add_argument("--dotfiles", action="store_true", help="also names that begin with a dot")
    group.add_argument("--host", action="append", default=[], type=_pair, metavar="NAME=DIR", help="a site by host")
    group.add_argument(
        "--error-page",
        action="append",
        default=[],
        type=_error_page,
        metavar="STATUS=PATH",
        help=f"a page of the site for one of the statuses {_STATUSES}",
    )
    group.add_argument(
        "--error-template",
        type=_file,
        metavar="FILE",
        help="HTML for all other errors, with {{status}}, {{reason}} and {{explanation}} in it",
    )
    group.add_argument(
        "--media-type",
        action="append",
        default=[],
        type=_pair,
        metavar=".EXT=TYPE",
        help="what such files are, before what is known of them; NAME=TYPE for one without extension; repeatable",
    )
    group.add_argument(
        "--redirects-file",
        type=_file,
        metavar="FILE",
        help="lines of FROM TO [STATUS[!]], as Netlify reads them; 200 rewrites",
    )
    group.add_argument(
        "--site-files",
        action="store_true",
        help="read _headers and _redirects at the root of a site, if there",
    )
    group.add_argument(
        "--auth", type=_file, metavar="FILE", help="lines of USER:HASH; python -m evio_http.passwd USER makes one"
    )
    group.add_argument("--health", type=_path, metavar="PATH", help="always 200, for load balancers")
    group.add_argument(
        "--metrics", type=_path, metavar="PATH", help="for Prometheus, of all workers (pip install evio-http[metrics])"
    )


def _fields(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cache",
        action="append",
        default=[],
        type=_pair,
        metavar="PATTERN=VALUE",
        help="Cache-Control; repeatable, the first that matches counts",
    )
    group.add_argument(
        "--header",
        action="append",
        default=[],
        type=_pair,
        metavar="PATTERN=NAME: VALUE",
        help="any field; repeatable, all that match count",
    )
    group.add_argument(
        "--headers-file",
        type=_file,
        metavar="FILE",
        help="paths with indented fields below them, as Netlify reads them",
    )
    group.add_argument("--security-headers", action="store_true", help="nosniff, no framing, referrer policy ...")
    group.add_argument(
        "--cors", action="append", default=[], type=_origin, metavar="ORIGIN", help="who may read it in scripts, or *"
    )
    group.add_argument("--hsts", type=_whole, default=0, metavar="SECONDS", help="browsers are to come over TLS only")
    group.add_argument("--no-server-name", action="store_true", help="send no Server field")


def _tls(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tls-cert",
        action="append",
        default=[],
        type=_file,
        metavar="FILE",
        help="repeatable: SNI chooses, and of RSA and ECDSA for one name the client",
    )
    group.add_argument(
        "--tls-key", action="append", default=[], type=_file, metavar="FILE", help="of the certificate before it"
    )
    group.add_argument(
        "--tls-client-ca", type=_file, metavar="FILE", help="ask clients for certificates of these authorities"
    )
    group.add_argument("--tls-self-signed", action="store_true", help="a certificate for development")
    group.add_argument(
        "--no-http2",
        action="store_true",
        help="offer HTTP/1.1 alone; HTTP/2 is offered where it is installed (pip install evio-http[h2])",
    )
    group.add_argument(
        "--https-redirect", type=_tls_port, metavar="PORT", help="plain addresses lead to this port of TLS"
    )


def _limits(group: argparse._ArgumentGroup) -> None:
    default = Limits()
    for flag, kind, metavar, text in (
        ("request-line", _positive, "BYTES", "else 414"),
        ("head", _positive, "BYTES", "request line and fields; else 431"),
        ("fields", _positive, "N", "else 431"),
        ("body", _whole, "BYTES", "else 413"),
        ("connections", _whole, "N", "else 503"),
        ("connections-per-address", _whole, "N", "else 503"),
    ):
        value = getattr(default, flag.replace("-", "_"))
        group.add_argument(
            f"--max-{flag}", type=kind, default=value, metavar=metavar, help=f"{text} (default {value or 'none'})"
        )
    group.add_argument(
        "--header-timeout",
        type=seconds,
        default=default.header_timeout,
        metavar="SECONDS",
        help="for a whole head, however it trickles in (default %(default)g)",
    )
    group.add_argument(
        "--keep-alive",
        type=seconds,
        default=default.keep_alive,
        metavar="SECONDS",
        help="without a byte either way (default %(default)g)",
    )
    group.add_argument(
        "--min-rate",
        type=_whole,
        default=default.min_rate,
        metavar="BYTES",
        help="per second, of bodies and answers, over a minute (default %(default)s)",
    )


def _running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--config",
        type=_file,
        metavar="FILE",
        help="more options, and those of each host, in TOML: named as the flags are",
    )
    group.add_argument("--check", action="store_true", help="say whether all of it would work, and end")
    group.add_argument("--open", action="store_true", help="open the first address in the browser once it listens")
    group.add_argument(
        "--live",
        action="store_true",
        help="for development: pages reload in the browser when files change (pip install evio-http[live])",
    )
    group.add_argument(
        "--access-log", type=_file, metavar="FILE", help="- is standard output; it may be moved away at any time"
    )
    group.add_argument("--log-format", choices=FORMATS, default="combined", help="default combined")
    group.add_argument(
        "--shutdown-timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="for answers that are under way when it stops, or a worker is replaced (default %(default)g)",
    )
    group.add_argument("--verbose", action="store_true", help="also say why connections end and requests are refused")
    group.add_argument(
        "--hot-memory", type=_whole, default=64 << 20, metavar="BYTES", help="answers kept in memory (default 64 MiB)"
    )
    group.add_argument(
        "--hot-file",
        type=_whole,
        default=32 << 10,
        metavar="BYTES",
        help="the largest file among them (default 32 KiB)",
    )
    group.add_argument(
        "--revalidate",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="send an answer that long without looking at its file (default 0: look every time)",
    )


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)


def _tls_port(text: str) -> int:
    port = _port(text)
    if not port:
        raise argparse.ArgumentTypeError("'0' is not a port that clients can be sent to: a number from 1 to 65535")
    return port


def _whole(text: str, least: int = 0) -> int:
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}, of 15 digits at most")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _rate(text: str) -> float:
    found = re.fullmatch("([0-9]{1,9})(?:/([smh]))?", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 with /s (the default), /m or /h behind it")
    return int(found[1]) / {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def _pair(text: str) -> tuple[str, str]:
    before, separator, after = text.partition("=")
    if not separator or not before or not after:
        raise argparse.ArgumentTypeError(f"{text!r} has no = between two parts")
    return before, after


def _path(text: str) -> str:
    if not text.startswith("/") or "?" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path of a request, such as /name")
    try:
        decode_target_path(text.encode())
    except BadPath as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return text


def _name(text: str) -> str:
    if "/" in text or text in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file, such as index.html")
    return text


def _file(text: str) -> str:
    if not text:  # as of a variable of the shell that is not set: nobody is to be let in because of that
        raise argparse.ArgumentTypeError("'' is not the name of a file")
    return text


def _peers(text: str) -> str:
    try:
        TrustedProxies([text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _origin(text: str) -> str:
    # As browsers write it (RFC 6454 section 6.2), since it is compared with what they send.
    if text not in ("*", "null") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@A-Z\s]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin, such as https://www.example.org, nor *")
    return text


def _error_page(text: str) -> tuple[int, str]:
    status, path = _pair(text)
    if not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a status and a path, as in 404=/404.html")
    if status not in map(str, OWN_PAGES):
        raise argparse.ArgumentTypeError(f"{status!r}: pages are for the statuses {_STATUSES}")
    return int(status), _path(path)

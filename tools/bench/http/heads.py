"""Heads as browsers send them: no two are alike, and each has a dozen fields.

Drawn from a generator with a fixed seed: 200 user agents, languages, referers, cookies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

__all__ = ["MARK", "USER_AGENTS", "Visitor", "draw"]

MARK = b"COUNT"
"""Stands in each head where a load puts a number of its own, so that a head does not come twice when the load is sent
again from its beginning."""

LAST_VISIT = 1_750_000_000
"""Seconds of Unix time."""

PLATFORMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 10; K",
    "iPhone; CPU iPhone OS 17_5 like Mac OS X",
)
LANGUAGES = (
    "en-US,en;q=0.9",
    "en-GB,en;q=0.9",
    "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "fr-FR,fr;q=0.9,en;q=0.6",
    "es-ES,es;q=0.9,ca;q=0.8",
    "ja,en-US;q=0.8,en;q=0.6",
    "zh-CN,zh;q=0.9,en;q=0.8",
    "pt-BR,pt;q=0.9",
    "pl-PL,pl;q=0.9,en;q=0.5",
    "nl,en;q=0.7",
    "*",
)
ACCEPT = {
    "html": (b"document", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    "css": (b"style", b"text/css,*/*;q=0.1"),
    "js": (b"script", b"*/*"),
    "svg": (b"image", b"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    "png": (b"image", b"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
}
"""Sec-Fetch-Dest and Accept by the extension that is asked for."""
ELSEWHERE = (b"https://www.google.com/?q=", b"https://duckduckgo.com/?q=", b"https://news.ycombinator.com/item?id=")


def user_agent(number: int) -> bytes:
    """The user agent of that number: five platforms, 20 versions, Chrome on them or Firefox."""
    platform, version = PLATFORMS[number % 5], 100 + number // 5 % 20
    if number < 100:
        engine = f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    else:
        engine = f"Gecko/20100101 Firefox/{version}.0"
    return f"Mozilla/5.0 ({platform}) {engine}".encode()


USER_AGENTS = tuple(map(user_agent, range(200)))


@dataclass(frozen=True, slots=True)
class Visitor:
    """The fields that a browser sends with each of its requests."""

    agent: bytes
    language: bytes
    cookies: bytes

    @classmethod
    def drawn(cls, random: Random) -> Visitor:
        """Somebody."""
        cookies = [b"session=%032x" % random.getrandbits(128), b"seen=%b" % MARK]
        if random.random() < 0.6:
            first, last = random.randrange(10**9), random.randrange(1_600_000_000, LAST_VISIT)
            cookies.append(b"_ga=GA1.1.%d.%d" % (first, last))
        if random.random() < 0.3:
            consent, theme = random.choice((b"all", b"none")), random.choice((b"dark", b"light"))
            cookies.append(b"consent=%b; theme=%b" % (consent, theme))
        return cls(random.choice(USER_AGENTS), random.choice(LANGUAGES).encode(), b"; ".join(cookies))

    def head(self, path: str, referer: bytes, tag: bytes = b"") -> bytes:
        """A request for ``path`` that ``referer`` led to; with a ``tag``, of what the browser has kept."""
        destination, accept = ACCEPT[path.rpartition(".")[2]]
        fields = [
            b"Host: localhost",
            b"User-Agent: %b" % self.agent,
            b"Accept: %b" % accept,
            b"Accept-Language: %b" % self.language,
            b"Accept-Encoding: gzip, deflate, br",
            b"Connection: keep-alive",
            b"Referer: %b" % referer,
            b"Cookie: %b" % self.cookies,
            b"Sec-Fetch-Dest: %b" % destination,
            b"Sec-Fetch-Mode: %b" % (b"navigate" if destination == b"document" else b"no-cors"),
            b"Sec-Fetch-Site: %b" % (b"same-origin" if referer.startswith(b"http://localhost/") else b"cross-site"),
        ]
        if tag:
            fields.append(b"If-None-Match: %b" % tag)
        return b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (path.encode(), b"\r\n".join(fields))


def draw(random: Random, path: str, pages: Sequence[str], tag: bytes = b"") -> bytes:
    """A head of some visitor who asks for ``path``, from one of ``pages`` or from elsewhere."""
    if random.random() < 0.2:
        referer = random.choice(ELSEWHERE) + b"%d" % random.randrange(10**6)
    else:
        referer = b"http://localhost%b" % random.choice(pages).encode()
    return Visitor.drawn(random).head(path, referer, tag)

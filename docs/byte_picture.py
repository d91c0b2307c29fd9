"""Draw the picture of docs/guide/byte.md: ``python -m docs.byte_picture`` writes it for light and for dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

__all__ = ["THEMES", "main", "picture"]

STATIC = Path(__file__).parent / "_static"

WIDTH, MARGIN, GAP = 860, 10, 14
"""Pixels: the whole, what is beside the columns, what is between them."""
COLUMN = (WIDTH - 2 * MARGIN - 2 * GAP) // 3
LINE, PADDING, ARROW = 17, 9, 22
"""Pixels: a line of text, what is above and below the lines of a box, from one box to the next."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page, as those of the charts."""

    text: str
    faint: str
    line: str
    kernel: str
    loop: str
    yours: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#818b98", "#eaeef2", "#ddf4ff", "#dafbe1"),
    "dark": Theme("#e6edf3", "#9198a1", "#656c76", "#2a313c", "#10243e", "#12301c"),
}

HEADS = ("tcp://  unix://", "tls://", "tcp-net://  the fallback")

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kernel", ("the kernel: the peer's bytes are in the socket's receive buffer",)),
    (
        "loop",
        (
            "loop|epoll_wait: it is readable",
            "loop|epoll_wait: it is readable",
            "asyncio|its selector: it is readable",
        ),
    ),
    (
        "loop",
        (
            "loop|os.read: up to 16 KiB,|120 KiB once one came full",
            "loop|os.read: ciphertext",
            "asyncio|reads, and calls|data_received",
        ),
    ),
    (
        "loop",
        (
            "channel|nothing to do: the loop|serves it by itself",
            "channel|decode: OpenSSL makes|plaintext of the records",
            "channel|nothing to do",
        ),
    ),
    ("yours", ("your callback: data(conn, chunk) returns bytes, an action, or both",)),
    (
        "loop",
        (
            "loop|os.write: at once",
            "channel|encrypt, then os.write",
            "channel|transport.write, 64 KiB|at a time",
        ),
    ),
    (
        "queue",
        (
            "only if the kernel did not take all of it, or conn.write was used: the output queue (conn.pending).|"
            "It leaves at the end of the turn, or when the poller says that there is room;|"
            "with more than high_water bytes in it, the peer is not read from",
        ),
    ),
    ("kernel", ("the kernel: the reply is in the socket's send buffer",)),
)
"""Kinds of boxes and their texts, one for all columns or one for each; ``|`` ends a line. With more than one column,
the first line says whose work it is."""


def main() -> None:
    """Write both files."""
    for name, theme in THEMES.items():
        (STATIC / f"byte-{name}.svg").write_text(picture(theme))


def picture(theme: Theme) -> str:
    """The SVG for a page of these colours."""
    parts: list[str] = []
    top = 24
    lefts = [MARGIN + index * (COLUMN + GAP) for index in range(3)]
    for left, head in zip(lefts, HEADS, strict=True):
        parts.append(text(left + COLUMN / 2, 15, head, theme.text, weight="bold"))
    previous = 0
    for kind, cells in ROWS:
        wide = len(cells) == 1
        lines = max(cell.count("|") + 1 for cell in cells)
        height = lines * LINE + 2 * PADDING
        if previous:
            parts += [arrow(left + COLUMN / 2, previous, top, theme) for left in lefts]
        fill = {"kernel": theme.kernel, "yours": theme.yours}.get(kind, theme.loop)
        for left, cell in zip([MARGIN] if wide else lefts, cells, strict=True):
            width = WIDTH - 2 * MARGIN if wide else COLUMN
            dash = ' stroke-dasharray="5 4"' if kind == "queue" else ""
            parts.append(
                f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{fill}" '
                f'stroke="{theme.line}"{dash}/>'
            )
            words = cell.split("|")
            first = top + (height - len(words) * LINE) / 2 + 13
            for number, line in enumerate(words):
                faint = not wide and number == 0
                parts.append(text(left + width / 2, first + number * LINE, line, theme.faint if faint else theme.text))
        previous = top + height
        top = previous + ARROW
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {previous + 8}" width="{WIDTH}" '
        f'height="{previous + 8}" font-family="system-ui, sans-serif" font-size="13.5">\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, colour: str, *, weight: str = "normal") -> str:
    """A line of text around ``x``."""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="{colour}" font-weight="{weight}">{escape(words)}</text>'
    )


def arrow(x: float, start: float, end: float, theme: Theme) -> str:
    """An arrow downwards."""
    tip = end - 2
    return (
        f'<path d="M{x:g} {start + 2:g}V{tip - 5:g}" stroke="{theme.line}" fill="none"/>'
        f'<path d="M{x - 4:g} {tip - 6:g}L{x:g} {tip:g}L{x + 4:g} {tip - 6:g}z" fill="{theme.line}"/>'
    )


if __name__ == "__main__":
    main()

"""The pages that the server itself writes: one style, one policy.

There is no script and no style attribute, so ``CONTENT_SECURITY_POLICY`` can forbid everything but this very
stylesheet (CSP Level 3, section 2.3.1): what a file name may smuggle into a page cannot run.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

__all__ = ["CONTENT_SECURITY_POLICY", "HTML", "PAGE_FIELDS", "STYLE", "document", "policy"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --line: #e3e5e8; --link: #0b57d0; --page: #fff;
  --hover: #f4f6f8; --edge: #8b929c; --mark: #7d8793; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa1ab; --line: #31353b; --link: #8ab4f8; --page: #17191c;
    --hover: #202327; --edge: #6b737e; --mark: #8b94a0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; color: var(--soft); }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .45rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
th { font-size: .875rem; font-weight: 600; white-space: nowrap; }
tbody tr:hover { background: var(--hover); }
td.name { width: 100%; overflow-wrap: anywhere; }
td.name a { display: block; padding-left: 1.5rem; }
td.dir a::before { content: ""; float: left; width: .95rem; height: .75rem; margin: .375rem 0 0 -1.5rem;
  background: var(--mark); border-radius: .1rem;
  clip-path: polygon(0 0, 40% 0, 52% 17%, 100% 17%, 100% 100%, 0 100%); }
th.name { padding-left: 2rem; }
.filter { display: flex; gap: .5rem; margin: 0 0 1rem; }
.filter input { flex: 1; max-width: 24rem; min-width: 0; }
.filter input, .filter button { padding: .4rem .7rem; border: 1px solid var(--edge); border-radius: .375rem;
  background: var(--page); color: inherit; font: inherit; }
.filter button { background: var(--hover); cursor: pointer; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
.size, .date { color: var(--soft); font-size: .875rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.pages, .summary { margin: 1rem .5rem; }
.size { text-align: right; }
@media (max-width: 34rem) { th, td { padding: .6rem .25rem; } th.name { padding-left: 1.75rem; }
  th.date { white-space: normal; } td.size, td.date { font-size: .75rem; }
  time span { display: none; } }
"""

"""The stylesheet of all of them."""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def policy(form_action: str = "'none'") -> str:
    """A Content-Security-Policy that allows nothing but the stylesheet, and forms that lead to ``form_action``."""
    return (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action {form_action}; "
        "frame-ancestors 'none'"
    )


CONTENT_SECURITY_POLICY = policy()
"""The Content-Security-Policy that belongs to a ``document``."""

HTML = "text/html; charset=utf-8"

PAGE_FIELDS = (("Content-Type", HTML), ("Content-Security-Policy", CONTENT_SECURITY_POLICY))
"""The response fields of a ``document``."""


def document(title: str, body: str, *, robots: str = "noindex") -> bytes:
    """A whole page in UTF-8. ``title`` is text; ``body`` is HTML, in which the caller has escaped what is not his;
    ``robots`` says what search engines may do with it."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="robots" content="{robots}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    ).encode()

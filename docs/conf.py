"""The documentation: ``make docs`` builds it, and fails for a link or a reference that leads nowhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))
from docs import tables

project = "evio for Python"
version = release = installed("evio-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["substitution"]
myst_substitutions = {
    "gallery": tables.gallery(),
    "redis_commands": tables.redis_commands(),
    "redis_summary": tables.redis_summary(),
    "redis_directives": tables.redis_directives(),
    "http_flags": tables.http_flags(),
}
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: f"evio_core.events.{name}" for name in ("Buffer", "HandlerFactory", "Reply", "TickReply")}
python_use_unqualified_type_names = True
toc_object_entries = False

nitpicky = True
# The standard library's names, and what the servers' packages do not offer to others.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|concurrent|ipaddress|socket|ssl|typing)\..+"),
    ("py:.*", r"evio_(http|redis)\.[a-z_]+(\..+)?"),
    ("py:.*", r"(evio_core\.events\.)?(Context|HasFileno)"),
    ("py:.*", r"Deferred|Representations|Function|Services|TypeAliasForwardRef"),
]

highlight_language = "text"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_title = f"{project} {version}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def shorten(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Signatures of classes: none where nobody calls them, and no types where each field has its own below."""
    if what == "class" and (getattr(thing, "_is_protocol", False) or hasattr(thing, "__members__")):
        return "", None
    has_fields = dataclasses.is_dataclass(thing)
    if what == "class" and has_fields:
        given = inspect.signature(thing)
        bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in given.parameters.values()]
        text = str(inspect.Signature(bare)).replace("<factory>", "Options()")
        return re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text), None  # an enumeration's member
    return None  # as it is


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", shorten)

"""From the options of a site to the site, for the server's own and for each virtual host."""

from __future__ import annotations

import argparse
import os

from ..message.handler import RequestHandler
from ..site.auth import BasicAuth
from ..site.compressed import Compressed
from ..site.error_template import ErrorTemplate
from ..site.listing_template import ListingTemplate
from ..site.policy import Policy
from ..site.redirects import Redirects
from ..site.rule_file import read_text
from ..site.rules import CacheRules, HeaderRules
from ..site.site import Site

__all__ = ["HEADERS_FILE", "REDIRECTS_FILE", "make_site"]

HEADERS_FILE, REDIRECTS_FILE = "_headers", "_redirects"
"""The files that ``--site-files`` looks for at the root of a site."""


def make_site(flags: argparse.Namespace, auth: BasicAuth | None) -> RequestHandler:
    """Make the site that ``flags`` ask for. Raises ``ValueError`` and ``OSError`` for what cannot be."""
    headers = _rule_file(flags, flags.headers_file, HEADERS_FILE)
    redirects = _rule_file(flags, flags.redirects_file, REDIRECTS_FILE)
    site = Site(
        flags.directory,
        index=flags.index or ("index.html",),
        listing=flags.listing,
        listing_template=_listing_template(flags.listing_template) if flags.listing else None,
        spa=flags.spa,
        clean_urls=flags.clean_urls,
        precompressed=not flags.no_precompressed,
        compress=flags.compress,
        follow_symlinks=flags.follow_symlinks,
        dotfiles=flags.dotfiles,
        policy=_policy(flags, headers),
        redirects=Redirects.parse(read_text(redirects), redirects) if redirects else None,
        auth=auth,
        error_pages=dict(flags.error_page),
        error_template=_error_template(flags.error_template),
        media_types=dict(flags.media_type),
        health=flags.health,
        hidden=[name for path in (headers, redirects) if path and (name := _own_name(flags.directory, path))],
        etag=flags.etag,
        hot_file=flags.hot_file,
    )
    return Compressed(site) if flags.compress else site


def _rule_file(flags: argparse.Namespace, given: str | None, name: str) -> str | None:
    """The path of a file of rules: that which was given, or the one in the site itself, if it is there and wanted."""
    if given is not None or not flags.site_files:
        return given
    path = os.path.join(flags.directory, name)
    return path if os.path.lexists(path) else None


def _own_name(directory: str, path: str) -> str | None:
    """The name of a file of rules that is in the site itself, where it is not for visitors."""
    parent, name = os.path.split(os.path.abspath(path))
    return name if os.path.realpath(parent) == os.path.realpath(directory) else None


def _error_template(path: str | None) -> ErrorTemplate | None:
    return None if path is None else ErrorTemplate(read_text(path), path)


def _listing_template(path: str | None) -> ListingTemplate | None:
    return None if path is None else ListingTemplate(read_text(path), path)


def _policy(flags: argparse.Namespace, headers_file: str | None) -> Policy:
    cache = CacheRules()
    for pattern, value in flags.cache:
        cache.add(pattern, value)
    headers = HeaderRules.parse(read_text(headers_file), headers_file) if headers_file else HeaderRules()
    for pattern, text in flags.header:
        headers.add(pattern, text)
    return Policy(
        cache=cache if flags.cache else None,
        headers=headers if flags.header or headers_file else None,
        security=flags.security_headers,
        origins=flags.cors,
        hsts=flags.hsts,
    )

"""Media types by file name extension.

The table is our own: the one of ``mimetypes`` depends on the Python version and, by default, on the files
of the host. Types are IANA's registrations (https://www.iana.org/assignments/media-types) where there is
one. Text is UTF-8: whatever is not, is better converted than labelled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["DEFAULT_TYPE", "MediaTypes", "content_type", "is_compressible"]

DEFAULT_TYPE = "application/octet-stream"
"""The type of unknown files; a browser offers them for download rather than guess."""

_TABLE = """
text/html                           html htm
text/css                            css
text/javascript                     js mjs cjs jsx
text/plain                          txt text log conf ini cfg diff patch asc toml rst
text/markdown                       md markdown
text/csv                            csv
text/tab-separated-values           tsv
text/calendar                       ics ifb
text/vcard                          vcf vcard
text/vtt                            vtt
text/x-python                       py
text/x-c                            c h cc cpp hpp
text/x-java-source                  java
text/x-shellscript                  sh
text/x-rust                         rs
text/x-go                           go
application/json                    json map
application/ld+json                 jsonld
application/geo+json                geojson
application/yaml                    yaml yml
application/manifest+json           webmanifest
application/wasm                    wasm
application/xml                     xml xsl xsd
application/xslt+xml                xslt
application/xhtml+xml               xhtml xht
application/rss+xml                 rss
application/atom+xml                atom
application/gpx+xml                 gpx
application/vnd.google-earth.kml+xml kml
application/vnd.google-earth.kmz    kmz
application/pdf                     pdf
application/postscript              ps eps ai
application/rtf                     rtf
application/epub+zip                epub
application/zip                     zip
application/gzip                    gz tgz
application/zstd                    zst
application/x-brotli                br
application/x-bzip2                 bz2 tbz2
application/x-xz                    xz txz
application/x-tar                   tar
application/x-7z-compressed         7z
application/vnd.rar                 rar
application/java-archive            jar war
application/vnd.android.package-archive apk
application/x-apple-diskimage       dmg
application/vnd.debian.binary-package deb
application/x-rpm                   rpm
application/x-iso9660-image         iso
application/vnd.microsoft.portable-executable exe dll
application/x-msi                   msi
application/sql                     sql
application/vnd.sqlite3             sqlite sqlite3 db
application/vnd.apache.parquet      parquet
application/msword                  doc
application/vnd.ms-excel            xls
application/vnd.ms-powerpoint       ppt
application/vnd.openxmlformats-officedocument.wordprocessingml.document   docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet         xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.oasis.opendocument.text         odt
application/vnd.oasis.opendocument.spreadsheet  ods
application/vnd.oasis.opendocument.presentation odp
application/vnd.apple.mpegurl       m3u8
application/dash+xml                mpd
application/pgp-signature           sig
application/x-x509-ca-cert          crt der
application/pem-certificate-chain   pem
application/x-bittorrent            torrent
image/png                           png
image/apng                          apng
image/jpeg                          jpg jpeg jpe jfif
image/gif                           gif
image/webp                          webp
image/avif                          avif
image/jxl                           jxl
image/heic                          heic
image/heif                          heif
image/svg+xml                       svg
image/tiff                          tif tiff
image/bmp                           bmp
image/vnd.microsoft.icon            ico cur
image/jp2                           jp2
audio/mpeg                          mp3
audio/mp4                           m4a m4b
audio/aac                           aac
audio/ogg                           oga ogg opus spx
audio/flac                          flac
audio/wav                           wav
audio/midi                          mid midi
audio/aiff                          aif aiff
audio/webm                          weba
video/mp4                           mp4 m4v mp4v
video/webm                          webm
video/ogg                           ogv
video/quicktime                     mov qt
video/mp2t                          ts m2ts
video/mpeg                          mpg mpeg
video/x-matroska                    mkv
video/x-msvideo                     avi
video/x-flv                         flv
video/3gpp                          3gp
video/3gpp2                         3g2
font/woff2                          woff2
font/woff                           woff
font/ttf                            ttf
font/otf                            otf
font/collection                     ttc
application/vnd.ms-fontobject       eot
model/gltf-binary                   glb
model/gltf+json                     gltf
model/stl                           stl
model/obj                           obj
"""

_COMPRESSIBLE = frozenset(
    (
        "application/json",
        "application/wasm",
        "application/xml",
        "application/yaml",
        "application/sql",
        "application/postscript",
        "application/rtf",
        "application/vnd.apple.mpegurl",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "font/collection",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "model/stl",
        "model/obj",
    )
)


def _load(table: str) -> dict[str, str]:
    types: dict[str, str] = {}
    for line in table.split("\n"):
        media_type, *extensions = line.split() or [""]
        for extension in extensions:
            types[extension] = _with_charset(media_type)
    return types


def _with_charset(media_type: str) -> str:
    return media_type + "; charset=utf-8" if media_type.startswith("text/") and ";" not in media_type else media_type


_TYPES = _load(_TABLE)


def content_type(name: str) -> str:
    """The Content-Type for a file name, with a charset if it is text; ``DEFAULT_TYPE`` when its extension is
    not known or it has none. JSON and XML say their encoding themselves (RFC 8259 section 8.1, RFC 7303)."""
    return _TYPES.get(name.rpartition(".")[2].lower(), DEFAULT_TYPE) if "." in name[1:] else DEFAULT_TYPE


_TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[\t !#-\[\]-~]*"))*')


class MediaTypes:
    """The Content-Type for a file name: the table above behind a site's ``own``, from ".foo", which is how names end,
    or a whole name ("LICENSE") to a media type. Of several endings the longest counts. Text without parameters is
    UTF-8.

    Raises ``ValueError`` for what can be no name and for what is no media type (RFC 9110 section 8.3.1).
    """

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._endings: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name, media_type in (own or {}).items():
            if name in ("", ".") or "/" in name or "\0" in name:
                raise ValueError(f"{name!r} is neither the end of a file's name (.EXT) nor a name")
            if not _MEDIA_TYPE.fullmatch(media_type):
                raise ValueError(f"{media_type!r} is not a media type, such as text/plain")
            if name.startswith("."):
                self._endings[name.lower()] = _with_charset(media_type)
            else:
                self._names[name] = _with_charset(media_type)

    def __call__(self, name: str) -> str:
        if name in self._names:
            return self._names[name]
        if self._endings:
            lowered = name.lower()
            dot = lowered.find(".", 1)
            while dot > 0:
                if lowered[dot:] in self._endings:
                    return self._endings[lowered[dot:]]
                dot = lowered.find(".", dot + 1)
        return content_type(name)


def is_compressible(media_type: str) -> bool:
    """Tell whether content of this Content-Type is text, or else shrinks much."""
    media_type = media_type.partition(";")[0]
    return media_type.startswith("text/") or media_type.endswith(("+xml", "+json")) or media_type in _COMPRESSIBLE

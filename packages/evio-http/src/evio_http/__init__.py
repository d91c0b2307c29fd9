"""A static HTTP and HTTPS server on evio_core, and the parts to put dynamic answers beside it.

::

    from evio_core import serve
    from evio_http import Request, Response, Site, http_events

    def hello(request: Request) -> Response | None:
        return Response.json({"hello": request.client}) if request.path == b"/hello" else None

    serve(http_events(hello, Site("public")), "tcp://127.0.0.1:8080")
"""

from .message.handler import RequestHandler
from .message.limits import Limits
from .message.request import Headers, Request
from .message.response import Deferred, Response
from .server import http_events
from .site.compressed import Compressed
from .site.policy import Policy
from .site.site import Site
from .site.virtual_hosts import VirtualHosts

__all__ = [
    "Compressed",
    "RequestHandler",
    "Headers",
    "Deferred",
    "Limits",
    "Policy",
    "Request",
    "Response",
    "Site",
    "VirtualHosts",
    "http_events",
]

"""A static HTTP and HTTPS server on evio_core, and the parts to put dynamic answers beside it.

::

    from evio_core import serve
    from evio_http import Request, Response, Site, http_events

    def hello(request: Request) -> Response | None:
        return Response.json({"hello": request.client}) if request.path == b"/hello" else None

    serve(http_events(hello, Site("public")), "tcp://127.0.0.1:8080")
"""

from .handlers import Handler
from .limits import Limits
from .policy import Policy
from .request import Headers, Request
from .response import Later, Response
from .server import http_events
from .site import Site
from .virtual_hosts import VirtualHosts

__all__ = [
    "Handler",
    "Headers",
    "Later",
    "Limits",
    "Policy",
    "Request",
    "Response",
    "Site",
    "VirtualHosts",
    "http_events",
]

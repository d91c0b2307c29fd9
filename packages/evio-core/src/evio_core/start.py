"""A server in a thread of its own: for tests, and for programs whose main thread does something else."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

from .addresses.bind import BoundAddress, bind_all
from .events import Events, HandlerFactory
from .server import RunningServer, checked, loop_count, parse_all

__all__ = ["ServerThread", "start"]


def start(events: Events | Mapping[str, HandlerFactory], *addresses: str) -> ServerThread:
    """Serve the addresses in a thread, as a context manager that stops the server and waits for its end::

        with start({"tcp://127.0.0.1:0": Echo}) as server:
            client = socket.create_connection(server.addrs[0])

    Returns when ``serving`` has, and clients can connect. What :func:`serve` raises for addresses, settings and
    ``serving`` is raised here; what ends the server later, at the end of the block. SIGINT and SIGTERM are left to the
    program.
    """
    events = checked(events)
    num_loops = loop_count(events)
    bound = bind_all(parse_all(events, addresses), events.options, num_loops)
    try:
        server = ServerThread(events, bound, num_loops)
    except BaseException:
        _close(bound)
        raise
    server.begin()
    return server


class ServerThread(RunningServer):
    """The server that :func:`start` returns: a :class:`Server`, and what belongs to its thread. Without ``with``, it is
    ended by ``close``."""

    def __init__(self, events: Events, bound: Sequence[BoundAddress], num_loops: int) -> None:
        super().__init__(events, bound, num_loops)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="evio-server", daemon=True)

    def begin(self) -> None:
        """Start the thread and wait until it serves. Raises what ended it before."""
        try:
            self._thread.start()
        except BaseException:
            _close(self._bound)
            raise
        try:
            self._ready.wait()
        except BaseException:  # KeyboardInterrupt
            self.stop(0)
            raise
        if self._failure is not None:
            self.join()

    @property
    def is_running(self) -> bool:
        """True until the server has ended."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the server has ended. Raises what ended it, the first time, and ``TimeoutError`` if it has not
        ended in ``timeout`` seconds. From another thread than the server's."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the server has not ended in {timeout} s")
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Stop, unless it is stopping already, and wait for the end. Raises what ``join`` raises."""
        if not self._stopping:  # a second call of `stop` would stop it at once
            self.stop()
        self.join()

    def __enter__(self) -> ServerThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error
        finally:
            _close(self._bound)
            self._ready.set()

    def _serving(self) -> None:
        super()._serving()
        self._ready.set()


def _close(bound: Sequence[BoundAddress]) -> None:
    for each in bound:
        each.close()

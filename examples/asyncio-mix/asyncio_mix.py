"""Devices over TCP, people over HTTP: evio_core inside an aiohttp program, on its loop."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal

from aiohttp import web

from evio_core import Deferred, Events, Handler, InputStream, Server, stdlib, url

LONGEST = 4096  # bytes of a line
PATIENCE = 5.0  # seconds that a device may take to answer


class Device(Handler):
    """A connected device: its first line is its name, each later one the answer to a command."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self.devices = devices
        self.name = ""
        self.input = InputStream(limit=LONGEST)
        self.waiting: list[asyncio.Future[str]] = []

    def data(self, chunk: bytes) -> None:
        *lines, rest = self.input.begin(chunk).split(b"\n")
        self.input.end(rest)
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if not self.name:
                self.name = text
                self.devices[text] = self
            elif text == "time?":
                self.conn.write(self.ask_the_program())
            elif self.waiting:
                answer = self.waiting.pop(0)
                if not answer.done():  # nobody waits for it any more
                    answer.set_result(text)

    def ask_the_program(self) -> Deferred:
        """A coroutine of the program's answers the device."""
        answer = Deferred()
        task = asyncio.ensure_future(slow_time())
        task.add_done_callback(lambda done: answer.set_result(done.result()))
        return answer

    async def command(self, text: str) -> str:
        """Send the device a command and wait for its answer. Raises ``TimeoutError`` and ``ConnectionError``."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        self.conn.write(text.encode() + b"\n")
        return await asyncio.wait_for(answer, PATIENCE)

    def closed(self, error: BaseException | None) -> None:
        if self.devices.get(self.name) is self:
            del self.devices[self.name]
        for answer in self.waiting:
            if not answer.done():
                answer.set_exception(ConnectionError("the device is gone"))


COUNT = itertools.count(1)


async def slow_time() -> bytes:
    """Something that takes a while and has to be awaited: a database, say."""
    await asyncio.sleep(0.01)
    return b"tick %d\n" % next(COUNT)


def application(devices: dict[str, Device]) -> web.Application:
    """``GET /`` lists the devices, ``POST /NAME`` sends one a command."""

    async def listing(request: web.Request) -> web.Response:
        return web.json_response(sorted(devices))

    async def command(request: web.Request) -> web.Response:
        device = devices.get(request.match_info["name"])
        if device is None:
            raise web.HTTPNotFound(text="there is no such device\n")
        try:
            return web.Response(text=await device.command((await request.text()).strip()) + "\n")
        except (TimeoutError, ConnectionError) as error:
            raise web.HTTPGatewayTimeout(text=f"{error or 'no answer'}\n") from None

    app = web.Application()
    app.add_routes([web.get("/", listing), web.post("/{name}", command)])
    return app


async def main(address: str, port: int) -> None:
    devices: dict[str, Device] = {}
    runner = web.AppRunner(application(devices))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()

    def serving(server: Server) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        print("listening on", url("tcp", server.addrs[0]), url("http", runner.addresses[0]), flush=True)

    try:
        await stdlib.serve(Events(handlers={address: lambda: Device(devices)}, serving=serving))
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="tcp://127.0.0.1:5000", help="where devices connect")
    parser.add_argument("--port", type=int, default=8080, help="where people do, with HTTP")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.address, arguments.port))

"""python-socketio's server with what the tests of the client ask of it. It prints its port once it listens."""

from aiohttp import web
import socketio

server = socketio.AsyncServer(async_mode="aiohttp")
app = web.Application()
server.attach(app)


class Namespace(socketio.AsyncNamespace):
    async def on_connect(self, sid, environ, auth):
        if self.namespace == "/refused" and (auth or {}).get("token") != "right":
            raise socketio.exceptions.ConnectionRefusedError("who are you?", {"retry": False})

    async def on_echo(self, sid, *args):
        return args

    async def on_back(self, sid, *args):
        await self.emit("back", args, to=sid)

    async def on_ask(self, sid):
        # The answer comes while this handler waits, which a handler of its own task may.
        return await self.call("question", "how?", to=sid)

    async def on_leave(self, sid):
        await self.disconnect(sid)


for name in ["/", "/custom", "/refused"]:
    server.register_namespace(Namespace(name))


async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    while True:
        await server.sleep(3600)


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())

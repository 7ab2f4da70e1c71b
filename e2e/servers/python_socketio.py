"""python-socketio's server with what the tests of the client ask of it, set up by its one argument, JSON. Its first line
is its port; then it says each `seq` it handles, so that what it has seen outlives it."""

import asyncio
import json
import sys

from aiohttp import web
import socketio

settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
server = socketio.AsyncServer(async_mode="aiohttp", **settings.get("options", {}))
app = web.Application()
server.attach(app, socketio_path=settings.get("path", "socket.io"))


class Namespace(socketio.AsyncNamespace):
    async def on_connect(self, sid, environ, auth):
        if self.namespace == "/refused" and (auth or {}).get("token") != "right":
            raise socketio.exceptions.ConnectionRefusedError("who are you?", {"retry": False})
        await self.save_session(sid, {"auth": auth or {}, "environ": environ})

    async def on_echo(self, sid, *args):
        return args

    async def on_back(self, sid, *args):
        await self.emit("back", args, to=sid)

    async def on_ask(self, sid):
        # The answer comes while this handler waits, which a handler of its own task may.
        return await self.call("question", "how?", to=sid)

    async def on_id(self, sid):
        return sid

    async def on_auth(self, sid):
        return (await self.get_session(sid))["auth"]

    async def on_request(self, sid):
        environ = (await self.get_session(sid))["environ"]
        headers = {name[5:].lower().replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_")}
        return {"query": environ["QUERY_STRING"], "headers": headers}

    async def on_silence(self, sid):
        await asyncio.get_running_loop().create_future()

    async def on_leave(self, sid):
        await self.disconnect(sid)

    async def on_drop(self, sid):
        await server.eio.disconnect(server.manager.eio_sid_from_sid(sid, self.namespace))

    async def on_seq(self, sid, *args):
        print("seq", json.dumps(args), flush=True)
        return args[0]


for name in ["/", "/custom", "/refused"]:
    server.register_namespace(Namespace(name))


async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.get("port", 0))
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())

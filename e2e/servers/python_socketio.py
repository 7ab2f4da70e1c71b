"""python-socketio's server, 5.x or 4.x (Engine.IO 3), with what the tests of the client ask of it, set up by its one
argument, JSON. Its first line is its port; then it says each `seq` and each task it handles, so that what it has seen
outlives it."""

import asyncio
import json
import ssl
import sys
import tempfile
from urllib.parse import parse_qsl

from aiohttp import web
import socketio

settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
options = settings.get("options", {})
path = options.pop("path", "/socket.io")
OLD = settings.get("version") == 2


class Server(socketio.AsyncServer):
    if OLD:

        def _emit_internal(self, *args):
            # 4.x waits for coroutines in a way that Python allows for tasks alone since 3.11.
            return asyncio.ensure_future(super()._emit_internal(*args))


serializer = {"serializer": "msgpack"} if settings.get("msgpack") else {}
server = Server(async_mode="aiohttp", **serializer, **options)
app = web.Application()
server.attach(app, socketio_path=path)


class Namespace(socketio.AsyncNamespace):
    async def on_connect(self, sid, environ, auth=None):
        if self.namespace == "/refused" and (auth or {}).get("token") != "right":
            raise socketio.exceptions.ConnectionRefusedError("who are you?", {"retry": False})
        await self.save_session(sid, {"auth": auth or {}, "environ": environ})
        await self.emit("hello", sid, room=sid)

    async def on_echo(self, sid, *args):
        return args

    async def on_back(self, sid, *args):
        await self.emit("back", args, room=sid)

    async def on_ask(self, sid):
        # The answer comes while this handler waits, which a handler of its own task may.
        return await server.call("question", "how?", sid=sid, namespace=self.namespace)

    async def on_id(self, sid):
        return sid

    async def on_auth(self, sid):
        return (await self.get_session(sid))["auth"]

    async def on_request(self, sid):
        environ = (await self.get_session(sid))["environ"]
        headers = {name[5:].lower().replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_")}
        return {"query": dict(parse_qsl(environ["QUERY_STRING"])), "headers": headers}

    async def on_silence(self, sid):
        await asyncio.get_running_loop().create_future()

    async def on_leave(self, sid):
        await self.disconnect(sid)

    async def on_drop(self, sid):
        await server.eio.disconnect(self.connection(sid))

    async def on_flood(self, sid, count, size):
        for number in range(count):
            await self.emit("drop-of-flood", (number, "x" * size), room=sid)

    async def on_garbage(self, sid):
        await server.eio.send(self.connection(sid), "not a packet")

    async def on_seq(self, sid, *args):
        print("seq", json.dumps(args), flush=True)
        return args[0]

    def connection(self, sid):
        """The identifier of the Engine.IO session, which up to 4.x is that of all its sockets."""
        return sid if OLD else server.manager.eio_sid_from_sid(sid, self.namespace)


class Queue(socketio.AsyncNamespace):
    """Takes the tasks of `queue_worker`, except those that are poison, and now and then the connection is lost: before a
    task is taken, the first time, and before it is answered."""

    taken = 0
    lost = set()

    async def trigger_event(self, event, sid, *args):
        if event in ["connect", "disconnect"]:
            return None
        number = args[0]["number"]
        if not args[0]["poison"] and number % 89 == 5 and number not in self.lost:
            self.lost.add(number)
            return await self.break_off(sid)
        print("task", json.dumps([event, *args]), flush=True)
        if args[0]["poison"]:
            return {"error": "this one is never taken"}
        self.taken += 1
        if self.taken % 97 == 0:
            await self.break_off(sid)
        return {"ok": True}

    async def break_off(self, sid):
        await server.eio.disconnect(server.manager.eio_sid_from_sid(sid, self.namespace))


for name in ["/", "/custom", "/refused"]:
    server.register_namespace(Namespace(name))
server.register_namespace(Queue("/imchat"))


def tls():
    """What is asked for in the words of Node.js: `cert` and `key`, and with `requestCert` the `ca` of clients, as PEM."""
    asked = settings.get("tls")
    if asked is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(asked["cert"] + asked["key"])
        file.flush()
        context.load_cert_chain(file.name)
    if asked.get("requestCert"):
        context.load_verify_locations(cadata=asked["ca"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.get("port", 0), ssl_context=tls())
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())

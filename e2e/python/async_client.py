"""python-socketio's `AsyncClient`."""

import asyncio

import socketio

from scenarios import LIMIT, restart, run, until_async


def client(**options):
    return socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2, handle_sigint=False, **options)


async def emits_and_receives(address):
    for transports in [["polling"], ["websocket"], None]:
        sio, received = client(), []
        sio.on("message-back", lambda *args: received.append(args))
        await sio.connect(address, transports=transports, wait_timeout=LIMIT)
        await sio.emit("message", ("text", 2.5, {"list": [1, [2, [3]]]}))
        await until_async("the echo", lambda: received)
        assert received == [("text", 2.5, {"list": [1, [2, [3]]]})], received
        await sio.disconnect()


async def calls(address):
    sio = client()
    await sio.connect(address, wait_timeout=LIMIT)
    answers = await asyncio.gather(*(sio.call("message-with-ack", number, timeout=LIMIT) for number in range(50)))
    assert answers == list(range(50)), answers
    await sio.disconnect()


async def sends_binary(address):
    for transport in ["polling", "websocket"]:
        sio, received = client(), []
        sio.on("message-back", lambda *args: received.append(args))
        await sio.connect(address, transports=[transport], wait_timeout=LIMIT)
        await sio.emit("message", {"bytes": b"\x00\xfe", "more": [b"x" * 70_000]})
        await until_async("the echo", lambda: received)
        assert received == [({"bytes": b"\x00\xfe", "more": [b"x" * 70_000]},)]
        await sio.disconnect()


async def joins_namespaces(address):
    sio, auths = client(), []
    sio.on("auth", lambda auth: auths.append(auth), namespace="/custom")
    await sio.connect(address, namespaces=["/", "/custom"], auth={"user": "u"}, wait_timeout=LIMIT)
    await until_async("the auth", lambda: auths)
    assert auths == [{"user": "u"}], auths
    assert await sio.call("message-with-ack", "main", timeout=LIMIT) == "main"
    await sio.disconnect()


async def reconnects(address):
    sio, connects = client(), []
    sio.on("connect", lambda: connects.append(1), namespace="/imchat")
    await sio.connect(address, auth={"token": "apy"}, namespaces=["/imchat"], transports="websocket", wait_timeout=LIMIT)
    await asyncio.get_running_loop().run_in_executor(None, restart)
    await until_async("the second connect", lambda: len(connects) == 2)
    assert (await sio.call("enter_room", {"room": "lobby"}, namespace="/imchat", timeout=LIMIT))["ok"] is True
    await sio.disconnect()


async def stays_through_heartbeats(address):
    sio, ends = client(), []
    sio.on("disconnect", lambda reason: ends.append(reason))
    await sio.connect(address, wait_timeout=LIMIT)
    await asyncio.sleep(3)  # Longer than the server waits for a silent client, which is 2.3 s.
    assert not ends, ends
    assert await sio.call("message-with-ack", "alive", timeout=LIMIT) == "alive"
    await sio.disconnect()


if __name__ == "__main__":
    run([emits_and_receives, calls, sends_binary, joins_namespaces, reconnects, stays_through_heartbeats])

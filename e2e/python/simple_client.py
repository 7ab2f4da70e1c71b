"""python-socketio's `SimpleClient` and `AsyncSimpleClient`."""

import socketio

from scenarios import LIMIT, restart, run


def talks(address):
    for transport in ["polling", "websocket"]:
        with socketio.SimpleClient(handle_sigint=False) as sio:
            sio.connect(address, auth={"token": 1}, transports=[transport], wait_timeout=LIMIT)
            assert sio.receive(timeout=LIMIT) == ["auth", {"token": 1}]
            sio.emit("message", ("one", 2))
            assert sio.receive(timeout=LIMIT) == ["message-back", "one", 2]
            assert sio.call("message-with-ack", {"k": b"v"}, timeout=LIMIT) == {"k": b"v"}


def joins_a_namespace(address):
    with socketio.SimpleClient(handle_sigint=False) as sio:
        sio.connect(address, namespace="/custom", auth={"a": "b"}, wait_timeout=LIMIT)
        assert sio.receive(timeout=LIMIT) == ["auth", {"a": "b"}]


def reconnects(address):
    with socketio.SimpleClient(handle_sigint=False, reconnection_delay=0.05) as sio:
        sio.connect(address, namespace="/imchat", auth={"token": "simple"}, wait_timeout=LIMIT)
        restart()
        assert sio.call("enter_room", {"room": "lobby"}, timeout=LIMIT)["ok"] is True


async def talks_async(address):
    async with socketio.AsyncSimpleClient(handle_sigint=False) as sio:
        await sio.connect(address, wait_timeout=LIMIT)
        assert await sio.receive(timeout=LIMIT) == ["auth", {}]
        await sio.emit("message", "async")
        assert await sio.receive(timeout=LIMIT) == ["message-back", "async"]
        assert await sio.call("message-with-ack", [1, 2], timeout=LIMIT) == [1, 2]


if __name__ == "__main__":
    run([talks, joins_a_namespace, reconnects, talks_async])

"""The flows of the applications Sockeye's users come from, with stock clients against the program."""

import time

import socketio

from scenarios import LIMIT, run, until, until_async


class ChatBridge:
    """A client that handles several events of a chat namespace beside `/`, as bots and bridges are written."""

    def __init__(self, namespace="/imchat"):
        self.namespace = namespace
        self.received = []
        self.ended = []
        self.sio = socketio.AsyncClient(reconnection_delay=0, handle_sigint=False)
        for event in ["message", "action", "chat"]:
            self.sio.on(event, self.taker(event), namespace=namespace)
        self.sio.on("disconnect", self.disconnected, namespace=namespace)

    def taker(self, event):
        async def take(data):
            self.received.append((event, data))

        return take

    async def disconnected(self, reason):
        self.ended.append(reason)


async def bridge_over_websocket_with_two_namespaces(address):
    bridge = ChatBridge()
    await bridge.sio.connect(address, transports="websocket", namespaces=["/", bridge.namespace], wait_timeout=LIMIT)
    await until_async("the welcome", lambda: bridge.received)
    event, welcome = bridge.received[0]
    assert event == "message" and welcome["message"] == "登陆成功" and welcome["user"].startswith("guest-"), welcome

    await bridge.sio.emit("message", {"content": "status"}, namespace=bridge.namespace)
    await bridge.sio.emit("action", {"action": "typing"}, namespace=bridge.namespace)
    chat = {"to": welcome["user"], "from": "forged", "message": "to myself", "type": "text"}
    await bridge.sio.emit("chat", chat, namespace=bridge.namespace)
    await until_async("the chat", lambda: [1 for event, _ in bridge.received if event == "chat"])
    [heard] = [data for event, data in bridge.received if event == "chat"]
    assert heard["from"] == welcome["user"] and heard["message"] == "to myself" and heard["type"] == "text", heard
    assert abs(heard["sendtime"] - time.time()) < 60, heard
    answer = await bridge.sio.call("message", {"content": "again"}, namespace=bridge.namespace, timeout=LIMIT)
    assert answer["ok"] is True, answer
    assert bridge.ended == [] and bridge.sio.connected
    await bridge.sio.disconnect()


def person(address, name):
    """A client that names its user in the HTTP header `token` and talks in namespace `/`."""
    sio = socketio.Client(handle_sigint=False)
    sio.received = []
    sio.on("message", lambda data: sio.received.append(("message", data)))
    sio.on("chat", lambda data: sio.received.append(("chat", data)))
    sio.connect(address, headers={"token": name}, wait_timeout=LIMIT)
    until("the welcome", lambda: sio.received)
    assert sio.received.pop(0) == ("message", {"message": "登陆成功", "user": name})
    return sio


def chat_with_a_header_token(address):
    ada, bob = person(address, "42"), person(address, "43")
    ada.emit("chat", {"to": "43", "from": "99", "message": "你好", "type": "text"})
    until("bob hears", lambda: bob.received)
    event, message = bob.received.pop()
    assert event == "chat" and message["from"] == "42" and message["message"] == "你好", message
    assert set(message) == {"from", "message", "sendtime", "type"}, message

    # The recipient may be a number, as identifiers of users are in a database.
    ada.emit("chat", {"to": 43, "from": "42", "message": "again", "type": "text"})
    until("bob hears", lambda: bob.received)
    assert bob.received.pop()[1]["message"] == "again"

    bob.emit("enter_room", {"room": "news"})
    until("the confirmation", lambda: bob.received)
    event, message = bob.received.pop()
    assert event == "message" and message["msg"] == "进入房间成功", message
    ada.disconnect()
    bob.disconnect()


if __name__ == "__main__":
    run([bridge_over_websocket_with_two_namespaces, chat_with_a_header_token])

"""python-socketio's `Client` of either protocol, 4.x and 5.x, on every transport, with the parser of `SOCKEYE_PARSER`."""

import os
import time
import traceback
from importlib.metadata import version

import socketio

from scenarios import LIMIT, run, until

MSGPACK = {"serializer": "msgpack"} if os.environ["SOCKEYE_PARSER"] == "msgpack" else {}
TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]
OLD = version("python-socketio").startswith("4.")
# Clients of 4.x do not wait for the namespaces.
PATIENT = {} if OLD else {"wait_timeout": LIMIT}


def clients(address, **options):
    """A connected client on each transport in turn."""
    for transports in TRANSPORTS:
        sio = socketio.Client(reconnection=False, **MSGPACK)
        sio.received = []
        for name in ["message-back", "you-answered"]:
            sio.on(name, lambda *args: sio.received.append(args))
        sio.on("question", lambda number, data: {"number": number + 1, "data": data})
        sio.connect(address, transports=transports, **PATIENT, **options)
        yield sio
        sio.disconnect()


def is_the_expected_version(_address):
    assert version("python-socketio").startswith(os.environ["EXPECTED_VERSION"] + ".")


def echoes(address):
    for sio in clients(address):
        sent = (1, -2.5, "zwei ☃ 🐟", True, None, [], {"3": [True, None]}, "x" * 70_000)
        sio.emit("message", sent)
        until("the echo", lambda: sio.received)
        assert sio.received == [sent], sio.received


def sends_binary(address):
    # python-socketio 4.x takes binary data without a byte for None.
    sent = (b"\x00\x01\xff", {"deep": [b"more" if OLD else b"", b"most"]})
    for sio in clients(address):
        sio.emit("message", sent)
        until("the echo", lambda: sio.received)
        assert sio.received == [sent], sio.received


def is_acknowledged(address):
    for sio in clients(address):
        assert sio.call("message-with-ack", ("a", {"b": 2}), timeout=LIMIT) == ("a", {"b": 2})
        assert sio.call("message-with-ack", bytes(range(256)), timeout=LIMIT) == bytes(range(256))


def answers(address):
    for sio in clients(address):
        sio.emit("ask-me", (41, b"bytes"))
        until("the server's report", lambda: sio.received)
        assert sio.received == [({"number": 42, "data": b"bytes"},)], sio.received


def joins_a_namespace(address):
    auths = []
    for transports in TRANSPORTS:
        sio = socketio.Client(reconnection=False, **MSGPACK)
        sio.on("auth", auths.append, namespace="/custom")
        namespace, options = ("/custom?token=abc", {}) if OLD else ("/custom", {"auth": {"token": "abc"}})
        sio.connect(address, transports=transports, namespaces=[namespace], **PATIENT, **options)
        until("the auth", lambda: auths)
        assert auths.pop() == {"token": "abc"}
        sio.disconnect()


def is_refused(address):
    for transports in TRANSPORTS:
        sio, reasons = socketio.Client(reconnection=False, **MSGPACK), []
        sio.on("connect_error", reasons.append, namespace="/closed")
        try:
            sio.connect(address, transports=transports, namespaces=["/closed"], **PATIENT)
        except socketio.exceptions.ConnectionError:
            assert not OLD
        until("the reason", lambda: reasons)
        assert reasons in (["members only"], [{"message": "members only"}]), reasons
        sio.disconnect()


def upgrades_and_stays(address):
    for sio in clients(address):
        if "websocket" in sio.eio.transports:
            until("the upgrade", lambda: sio.transport() == "websocket")
        time.sleep(1.7)
        assert sio.call("message-with-ack", "still here", timeout=LIMIT) == "still here"


if __name__ == "__main__":
    try:
        run([is_the_expected_version, echoes, sends_binary, is_acknowledged, answers, joins_a_namespace, is_refused, upgrades_and_stays])
    except BaseException:
        traceback.print_exc()
        # The threads of a client that is still connected would keep the process.
        os._exit(1)

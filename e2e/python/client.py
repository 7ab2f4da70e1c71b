"""python-socketio's `Client`, with threads."""

import threading

import socketio

from scenarios import LIMIT, restart, run, until


def client(**options):
    return socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2, handle_sigint=False, **options)


def emits_and_receives(address, **options):
    sio, received = client(), []
    sio.on("message-back", lambda *args: received.append(args))
    sio.connect(address, **options, wait_timeout=LIMIT)
    sio.emit("message", (1, "zwei ☃", {"3": [True, None]}))
    until("the echo", lambda: received)
    assert received == [(1, "zwei ☃", {"3": [True, None]})], received
    sio.disconnect()


def emits_over_polling(address):
    emits_and_receives(address, transports=["polling"])


def emits_over_websocket(address):
    emits_and_receives(address, transports=["websocket"])


def upgrades(address):
    sio = client()
    sio.connect(address, wait_timeout=LIMIT)
    until("the upgrade", lambda: sio.transport() == "websocket")
    assert sio.call("message-with-ack", "after", timeout=LIMIT) == "after"
    sio.disconnect()


def receives_many_at_once(address):
    # python-engineio takes no more than 16 packets for one poll.
    sio, received = client(), []
    sio.on("message-back", received.append)
    sio.connect(address, transports=["polling"], wait_timeout=LIMIT)
    for number in range(100):
        sio.emit("message", number)
    until("every echo", lambda: len(received) == 100)
    # The threads that handle events do not keep their order.
    assert sorted(received) == list(range(100)), received
    assert sio.call("message-with-ack", "still here", timeout=LIMIT) == "still here"
    sio.disconnect()


def calls(address):
    for transport in ["polling", "websocket"]:
        sio = client()
        sio.connect(address, transports=[transport], wait_timeout=LIMIT)
        assert sio.call("message-with-ack", ("a", {"b": 2}), timeout=LIMIT) == ("a", {"b": 2})
        answered, answers = threading.Event(), []
        sio.emit("message-with-ack", 5, callback=lambda *args: (answers.append(args), answered.set()))
        assert answered.wait(LIMIT) and answers == [(5,)], answers
        sio.disconnect()


def sends_binary(address):
    for transport in ["polling", "websocket"]:
        sio, received = client(), []
        sio.on("message-back", lambda *args: received.append(args))
        sio.connect(address, transports=[transport], wait_timeout=LIMIT)
        sio.emit("message", (b"\x00\x01\xff", {"deep": [b"", b"more"]}))
        until("the echo", lambda: received)
        assert received == [(b"\x00\x01\xff", {"deep": [b"", b"more"]})], received
        assert sio.call("message-with-ack", bytes(range(256)) * 40, timeout=LIMIT) == bytes(range(256)) * 40
        sio.disconnect()


def joins_namespaces(address):
    sio, auths = client(), {}
    sio.on("auth", lambda auth: auths.update(main=auth))
    sio.on("auth", lambda auth: auths.update(custom=auth), namespace="/custom")
    sio.connect(address, auth={"token": "t"}, namespaces=["/", "/custom"], wait_timeout=LIMIT)
    until("both auths", lambda: len(auths) == 2)
    assert auths == {"main": {"token": "t"}, "custom": {"token": "t"}}, auths
    assert sio.get_sid("/") != sio.get_sid("/custom")
    sio.disconnect()


def is_refused_with_a_reason(address):
    sio, reasons = client(), []
    sio.on("connect_error", lambda data: reasons.append(data), namespace="/nowhere")
    try:
        sio.connect(address, namespaces=["/nowhere"], wait_timeout=LIMIT)
    except socketio.exceptions.ConnectionError as error:
        assert "One or more namespaces failed to connect" in str(error), error
    else:
        raise AssertionError("an unknown namespace was joined")
    assert reasons == [{"message": "Invalid namespace"}] or reasons == ["Invalid namespace"], reasons


def reconnects(address):
    sio, connects, reasons = client(), [], []
    sio.on("connect", lambda: connects.append(sio.sid), namespace="/imchat")
    sio.on("disconnect", lambda reason: reasons.append(reason), namespace="/imchat")
    sio.connect(address, auth={"token": "py"}, namespaces=["/imchat"], wait_timeout=LIMIT)
    restart()
    until("the second connect", lambda: len(connects) == 2)
    assert sio.call("enter_room", {"room": "lobby"}, namespace="/imchat", timeout=LIMIT)["ok"] is True
    assert reasons and "server disconnect" not in reasons[0], reasons
    sio.disconnect()


if __name__ == "__main__":
    run([emits_over_polling, emits_over_websocket, receives_many_at_once, upgrades, calls, sends_binary, joins_namespaces, is_refused_with_a_reason, reconnects])

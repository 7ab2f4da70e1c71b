"""python-socketio's `AsyncClient`, emitting much in one go."""

import asyncio

import socketio

from scenarios import LIMIT, run

COUNT = 10_000
TEXT = "x" * 1_000


async def is_acknowledged(address, transport):
    # By default a request may take five seconds, and one body has all 10 MB.
    sio = socketio.AsyncClient(reconnection=False, handle_sigint=False, request_timeout=10 * LIMIT)
    reasons, answers, ended = [], [], asyncio.Event()

    def lost(reason):
        reasons.append(reason)
        ended.set()

    def acknowledged(number, text):
        answers.append(number)
        assert text == TEXT
        if len(answers) == COUNT:
            ended.set()

    sio.on("disconnect", lost)
    await sio.connect(address, transports=[transport], wait_timeout=LIMIT)
    for number in range(COUNT):
        await sio.emit("message-with-ack", (number, TEXT), callback=acknowledged)
    await ended.wait()
    assert not reasons, f"{reasons} with {len(answers)} acknowledged"
    assert answers == list(range(COUNT)), "not in order"
    assert await sio.call("message-with-ack", "still here", timeout=LIMIT) == "still here"
    await sio.disconnect()


async def is_acknowledged_over_polling(address):
    await is_acknowledged(address, "polling")


async def is_acknowledged_over_websocket(address):
    await is_acknowledged(address, "websocket")


if __name__ == "__main__":
    run([is_acknowledged_over_polling, is_acknowledged_over_websocket], limit=10 * LIMIT)

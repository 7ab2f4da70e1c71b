"""Runs one scenario by name: `python client.py <scenario> <address>`; an assertion that fails ends it with status 1."""

import asyncio
import inspect
import sys
import time

LIMIT = 10


def run(scenarios, limit=3 * LIMIT):
    """Runs the scenario named on the command line, a function or coroutine function that takes the server's address. A
    coroutine fails after `limit` seconds."""
    name, address = sys.argv[1], sys.argv[2]
    scenario = {one.__name__: one for one in scenarios}[name]
    outcome = scenario(address)
    if inspect.iscoroutine(outcome):
        asyncio.run(asyncio.wait_for(outcome, limit))
    print("passed", name)


def until(what, condition):
    """Asks a condition again and again until it is true."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)


async def until_async(what, condition):
    """Like `until`, for coroutines."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT} s: {what}"
        await asyncio.sleep(0.01)


def restart():
    """Asks the test that runs this scenario to start the server again, and waits until it has done so."""
    print("restart", flush=True)
    assert sys.stdin.readline().strip() == "restarted"

"""Runs a program in a terminal of its own, types when it has printed what is waited for, and prints what came of it.

    terminal.py '[["wait", "connected"], ["type", "help\\r"]]' program arguments...
"""

import json
import os
import pty
import re
import select
import sys
import time

LIMIT = 30

steps = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[2], sys.argv[2:])

printed = ""


def read():
    """Reads what there is; false at the end."""
    global printed
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # How Linux says that the other side is closed.
            return False
        printed += data.decode(errors="replace")
        return bool(data)
    return True


deadline = time.monotonic() + LIMIT
seen = 0
for verb, text in steps:
    if verb == "type":
        os.write(terminal, text.encode())
        continue
    while (place := printed.find(text, seen)) < 0:
        if not read() or time.monotonic() > deadline:
            os.kill(pid, 9)
            sys.exit(f"{text!r} did not come; this did:\n{printed}")
    seen = place + len(text)
while read():
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        sys.exit(f"it did not end after this:\n{printed}")
_, status = os.waitpid(pid, 0)
plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
print(json.dumps({"code": os.waitstatus_to_exitcode(status), "printed": plain}))

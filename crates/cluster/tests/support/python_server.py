"""A server of python-socketio whose message queue is the standard input and output: one JSON object a line.

Reads {"payload": TEXT}, a message from the queue; {"acknowledge": [SID, ID, ARGS]}, what a client answers; and
{"call": NAME, "arguments": {...}}, a method of the manager. Writes {"published": TEXT}, {"sent": [SID, TEXT]},
{"called": ARGS} for a callback, {"log": TEXT} for each error and warning, and {"done": true} after each line that it has
read. Its sockets are the arguments of the command, all in the namespace `/`.
"""
import json
import logging
import sys

import socketio


def say(**what):
    print(json.dumps(what), flush=True)


class Log(logging.Handler):
    def emit(self, record):
        say(log=self.format(record))


class Manager(socketio.PubSubManager):
    def _publish(self, data):
        say(published=self.json.dumps(data))

    def _listen(self):
        for line in sys.stdin:
            what = json.loads(line)
            if 'payload' in what:
                yield what['payload']
            elif 'acknowledge' in what:
                self.trigger_callback(*what['acknowledge'])
            else:
                arguments = what['arguments']
                if 'hex' in arguments:
                    arguments['data'] = bytes.fromhex(arguments.pop('hex'))
                if 'tuple' in arguments:
                    arguments['data'] = tuple(arguments.pop('tuple'))
                if 'callback' in arguments:
                    arguments['callback'] = lambda *args: say(called=args)
                getattr(self, what['call'])(**arguments)
            say(done=True)


logger = logging.getLogger('python-server')
logger.addHandler(Log())
logger.setLevel(logging.WARNING)
manager = Manager(logger=logger)
server = socketio.Server(client_manager=manager, async_mode='threading', logger=logger)
manager.set_server(server)
sids = {}


def send(eio_sid, data):
    say(sent=[sids[eio_sid], data if isinstance(data, str) else data.hex()])


server._send_eio_packet = lambda eio_sid, packet: send(eio_sid, packet.data)
server.eio.send = send
for number, sid in enumerate(sys.argv[1:]):
    server.eio.generate_id = lambda sid=sid: sid
    sids[f'eio{number}'] = manager.connect(manager.pre_connect(f'eio{number}', '/'), '/')
say(done=True)
manager._thread()

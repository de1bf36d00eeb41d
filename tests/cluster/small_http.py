"""A small HTTP/1.1 server for the stand-ins, quick enough to stand for a fast service: one loop, keep-alive, no framework."""

import asyncio
import dataclasses
import json
import socket
import sys
import urllib.parse

MAX_HEAD = 65_536
MAX_BODY = 16 * 1024 * 1024
REASONS = {200: "OK", 201: "Created", 307: "Temporary Redirect", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
           405: "Method Not Allowed", 411: "Length Required", 413: "Content Too Large", 422: "Unprocessable Entity",
           429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}


@dataclasses.dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclasses.dataclass(slots=True)
class Answer:
    """What a handler gives back. `delay`: seconds before it goes out. `end`: "reset" breaks the connection instead of
    answering, "never" says nothing and keeps it."""
    status: int = 200
    body: object = None
    headers: dict = dataclasses.field(default_factory=dict)
    delay: float = 0.0
    end: str = ""


class _Connection(asyncio.Protocol):
    __slots__ = ("server", "transport", "buffer", "waiting", "head")

    def __init__(self, server):
        self.server, self.buffer, self.waiting, self.head = server, bytearray(), False, None

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, _error):
        self.server.connections.discard(self)

    def data_received(self, data):
        self.buffer += data
        self.work()

    def work(self):
        while not self.waiting and not self.transport.is_closing():
            if self.head is None and not self.read_head():
                return
            method, target, headers, length = self.head
            if len(self.buffer) < length:
                return
            body = bytes(self.buffer[:length])
            del self.buffer[:length]
            self.head = None
            path, _, query = target.partition("?")
            request = Request(method, urllib.parse.unquote(path), dict(urllib.parse.parse_qsl(query)) if query else {},
                              headers, body)
            self.give(request, self.server.handler(request))

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MAX_HEAD:
                self.write(Answer(431, {"detail": "headers too large"}), close=True)
            return False
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        del self.buffer[:end + 4]
        try:
            method, target, _ = lines[0].split(" ")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            length = int(headers.get("content-length", 0))
        except ValueError:
            self.write(Answer(400, {"detail": "not HTTP"}), close=True)
            return False
        if "transfer-encoding" in headers:
            self.write(Answer(411, {"detail": "say the length"}), close=True)
            return False
        if length > MAX_BODY:
            self.write(Answer(413, {"detail": "too large"}), close=True)
            return False
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.head = method, target, headers, length
        return True

    def give(self, request, answer):
        if answer.end == "reset":
            self.transport.abort()
        elif answer.end == "never":
            self.waiting = True
        elif answer.delay > 0:
            self.waiting = True
            asyncio.get_running_loop().call_later(answer.delay, self.later, request, answer)
        else:
            self.write(answer, request.headers.get("connection", "").lower() == "close")

    def later(self, request, answer):
        self.waiting = False
        if not self.transport.is_closing():
            self.write(answer, request.headers.get("connection", "").lower() == "close")
            self.work()

    def write(self, answer, close=False):
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        kind = "text/plain; version=0.0.4" if isinstance(answer.body, bytes) else "application/json"
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        self.transport.write(f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Other')}\r\ncontent-type: {kind}\r\n"
                             f"content-length: {len(body)}\r\n{more}\r\n".encode() + body)
        if close:
            self.transport.close()


class Server:
    """Listens on 127.0.0.1. `down` closes the port and breaks every connection; `up` opens the same port again."""

    def __init__(self, handler, port=0):
        self.handler, self.port, self.connections, self.socket, self.listener = handler, port, set(), None, None

    def open_port(self):
        """From here connections are taken; they are served once `up` has run."""
        if self.socket is None:
            self.socket = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self.socket.setblocking(False)
            self.port = self.socket.getsockname()[1]

    async def up(self):
        self.open_port()
        if self.listener is not None:
            return
        opened = self.socket
        listener = await asyncio.get_running_loop().create_server(lambda: _Connection(self), sock=opened, backlog=1024)
        if self.socket is opened:
            self.listener = listener
        else:
            listener.close()  # it was told to go down meanwhile

    def down(self):
        if self.listener is not None:
            self.listener.close()
        elif self.socket is not None:
            self.socket.close()
        self.socket = self.listener = None
        for connection in list(self.connections):
            connection.transport.abort()


async def until_input_ends():
    """A stand-in ends with whoever started it: its standard input is a pipe from there."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass

"""What a client says to the service, by sockets where a library would be too well behaved."""

import http.client
import io
import json
import socket
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

CLASSES = ("cat", "<img src=x onerror='document.title=1'>", "dog & emu")
PATIENCE = 60  # seconds: other processes may have the cores


@dataclass
class Service:
    """A running `imagetrail serve` or `demo`."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port
        return port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(
        self, path: str, body: bytes | None = None, *, method: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; of headers, _ stands for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        method = method or ("GET" if body is None else "POST")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, {name.lower(): text for name, text in reply.getheaders()}, content

    def predict(self, body: bytes, **headers: str) -> tuple[int, Any]:
        status, _, content = self.ask("/predict", body, **headers)
        return status, json.loads(content)

    def form(self, *files: tuple[str, bytes]) -> tuple[int, Any]:
        begin = '--edge\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
        parts = [begin.format(name).encode() + content + b"\r\n" for name, content in files]
        kind = "multipart/form-data; boundary=edge"
        return self.predict(b"".join(parts) + b"--edge--\r\n", Content_Type=kind)

    def says(self, *pieces: bytes) -> bytes:
        """What comes back, to the end of the connection, if these bytes are sent."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    found = b""
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


def draw(seed: int, *shape: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape or (8, 8), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

"""So many clients at a time ask a server, each again as soon as it is answered.

Reads a plan as JSON from stdin: host, port, path, headers, body (base64), clients, seconds, which
become more where a server has not answered as many as there are clients. Prints the answers a
second and the times of all of them in milliseconds. A process of its own, so that neither side
shares an interpreter with it.
"""

import asyncio
import base64
import json
import sys
import time
from typing import Any

import uvloop

WARM = 0.2  # of the time: not counted
LONGEST = 120  # seconds until each client has an answer


class Client(asyncio.Protocol):
    """One connection; `times` gets when an answer was there, and after how many milliseconds."""

    def __init__(self, request: bytes, times: list[tuple[float, float]]) -> None:
        self.request, self.times = request, times
        self.buffer, self.failed = b"", 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.times.append((now, (now - self.begun) * 1000))
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        self.ask()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def measure(plan: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64decode(plan["body"])
    headers = plan["headers"] | {"Host": f"{plan['host']}:{plan['port']}"}
    lines = [f"POST {plan['path']} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    times: list[tuple[float, float]] = []
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: Client(head + body, times), plan["host"], plan["port"])
        for _ in range(plan["clients"])
    ]
    await asyncio.sleep(plan["seconds"])
    while len(times) < len(pairs) and time.perf_counter() - begun < LONGEST:
        await asyncio.sleep(0.1)
    ended = time.perf_counter()
    clients = [client for _, client in pairs]
    lost = sum(client.ended.done() for client in clients)
    for transport, _ in pairs:
        transport.abort()
    since = begun + WARM * plan["seconds"]
    counted = [taken for at, taken in times if since < at <= ended]
    failed = sum(client.failed for client in clients) + lost
    return {"rate": len(counted) / (ended - since), "milliseconds": counted, "failed": failed}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(json.load(sys.stdin)))))

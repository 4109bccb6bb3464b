"""The review page over HTTP: for browsers on this machine that were given the address.

Only loopback is listened on. A page elsewhere cannot know the token that begins every path, and one
whose name was rebound to 127.0.0.1 is told by the Host header; no other origin may read an answer.
"""

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from imagetrail.base.errors import UserError
from imagetrail.data.decoding import Unreadable
from imagetrail.review.desk import Desk
from imagetrail.review.views import SIDES

LOOPBACK = "127.0.0.1"
TRIED = 20  # ports, from the one that is wished for on
MOST = 200  # items of a queue in one answer
MAX_BYTES = 100_000  # of what a page may send
PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "script.js": ("script.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Query = dict[str, str]


class Server(ThreadingHTTPServer):
    """Serves one desk until it is shut down."""

    daemon_threads = True

    def __init__(self, desk: Desk, port: int) -> None:
        """Listens on the first free port from `port` on; 0: on any. Raises UserError for none."""
        self.desk, self.token = desk, secrets.token_urlsafe(16)
        for tried in range(port, port + TRIED if port else 1):
            try:
                super().__init__((LOOPBACK, tried), Handler)
                return
            except (OSError, OverflowError):  # taken, or beyond the last
                continue
        raise UserError(f"no free port from {port} to {port + TRIED - 1}; choose one with --port")

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    server_version, sys_version = "imagetrail", ""
    protocol_version = "HTTP/1.1"  # a connection serves many pictures
    timeout = 60  # seconds without a request

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, found: Callable[[str, Query], None]) -> None:
        """Answers what is allowed; a user's mistake is a line of text."""
        try:
            parts = urlsplit(self.path)
            token, slash, path = parts.path.removeprefix("/").partition("/")
            if not self._is_ours():
                self._fail(HTTPStatus.FORBIDDEN, "this page is for this machine only")
            elif not slash or not secrets.compare_digest(token.encode(), self._token):
                wanted = "open the address that `imagetrail review` has printed"
                self._fail(HTTPStatus.FORBIDDEN, wanted)
            else:
                found(path, dict(parse_qsl(parts.query)))
        except UserError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except Unreadable as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except (KeyError, TypeError, ValueError, IndexError):
            self._fail(HTTPStatus.BAD_REQUEST, "the page and the server do not agree")
        except (ConnectionError, TimeoutError):  # the browser no longer wants the answer
            self.close_connection = True
        except OSError as error:  # a full disk
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _is_ours(self) -> bool:
        """Whether the browser meant this server, and a page of ours asks, if it is a page."""
        own = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in own and (
            origin is None or urlsplit(origin).netloc in own
        )

    @property
    def _token(self) -> bytes:
        return self.server.token.encode()

    def _get(self, path: str, query: Query) -> None:
        desk = self.server.desk
        what, _, which = path.partition("/")
        if path in PAGE:
            name, kind = PAGE[path]
            content = (files("imagetrail.review") / "page" / name).read_bytes()
            return self._send(content, kind)
        if what == "state":
            return self._json(desk.state())
        if what == "queue":
            start, count = max(0, int(query["from"])), min(MOST, int(query["count"]))
            return self._json(desk.items(which, start, max(0, count)))
        if what == "next":
            return self._json(desk.following(which, int(query["from"])))
        if what == "about":
            return self._json(desk.about(int(which)))
        if what == "picture" and query["size"] in SIDES:
            content, kind = desk.views.encoded(int(which), query["size"])
            return self._send(content, kind, cache="private, max-age=86400, immutable")
        return self._fail(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, path: str, _: Query) -> None:
        desk, length = self.server.desk, int(self.headers.get("Content-Length", MAX_BYTES + 1))
        if not 0 <= length <= MAX_BYTES or self.headers.get_content_type() != "application/json":
            return self._fail(HTTPStatus.BAD_REQUEST, "expected a little JSON")
        sent = json.loads(self.rfile.read(length))
        if path == "undo":
            place = desk.decisions.undo()
            return self._json({"state": desk.state(), "place": place})
        if path == "decide":
            desk.decide(
                str(sent["queue"]),
                int(sent["position"]),
                str(sent["choice"]),
                source=sent["source"],
                others=bool(sent["others"]),
            )
            return self._json({"state": desk.state()})
        return self._fail(HTTPStatus.NOT_FOUND, "there is no such page")

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _fail(self, status: HTTPStatus, text: str) -> None:
        self._send(text.encode(), "text/plain; charset=utf-8", status=status)

    def _send(
        self,
        content: bytes,
        kind: str,
        *,
        cache: str = "no-store",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        facts = {"Content-Type": kind, "Content-Length": len(content), "Cache-Control": cache}
        if status != HTTPStatus.OK:
            facts["Connection"] = "close"  # what else was sent with the request is not read
        for name, value in (facts | HEADERS).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the terminal is for what concerns people."""

"""The pictures of MLflow in this folder: fills a store from the results in artifacts, opens its UI, looks at it.

`make screenshots`, after `make repro`; needs Chromium and its driver (Debian: chromium, chromium-driver) on PATH.
"""

import base64
import io
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
FLAGS = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
SIZE = (1500, 900)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element


class Browser:
    """Chromium, driven by the W3C WebDriver protocol."""

    def __init__(self, address: str, profile: str) -> None:
        arguments = [
            f"--{flag}" for flag in [*FLAGS.split(), f"user-data-dir={profile}", f"window-size={SIZE[0]},{SIZE[1]}"]
        ]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        self._session = f"{address}/session"
        made = self._call("", {"capabilities": {"alwaysMatch": options}})
        self._session += f"/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._call("/url", {"url": url})

    def do(self, script: str, *arguments: Any) -> Any:
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def wait(self, path: str, seconds: float = 60.0) -> str:
        """The first element at this XPath, once it is there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := self._call("/elements", {"using": "xpath", "value": path}):
                return str(found[0][ELEMENT])
            time.sleep(0.2)
        self.picture(HERE / "failed.png")
        raise SystemExit(f"not on the page: {path} (see docs/failed.png)")

    def click(self, path: str) -> None:
        self._call(f"/element/{self.wait(path)}/click", {})

    def picture(self, path: Path) -> None:
        """A PNG of 64 colours, which is enough for a page and a third of the bytes."""
        taken = base64.b64decode(self._call("/screenshot"))
        Image.open(io.BytesIO(taken)).convert("RGB").quantize(64).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    def quit(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self._session, method="DELETE"))

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._session + path, data, {"Content-Type": "application/json"})
        try:
            return json.load(urllib.request.urlopen(request))["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(json.load(error)["value"]["message"]) from None

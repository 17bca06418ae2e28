"""A headless Chromium, spoken to over two pipes in its DevTools protocol: no driver, no package."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PATIENCE_S = 60.0
LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")


@dataclass
class Tab:
    """One page, what it complained of, and what it asked for."""

    write: int
    read: int
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    buffer: bytes = b""

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command's answer; what happens meanwhile is noted."""
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_S
        while True:
            heard = self.hear(end - time.monotonic())
            if heard.get("id") == number:
                assert "error" not in heard, f"{method}: {heard['error']}"
                return heard["result"]

    def hear(self, patience: float) -> dict[str, Any]:
        """The next message. Raises TimeoutError where none comes."""
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(patience, 0))[0]:
                raise TimeoutError("the browser says nothing")
            got = os.read(self.read, 1 << 20)
            if not got:
                raise EOFError("the browser is gone")
            self.buffer += got
        text, _, self.buffer = self.buffer.partition(b"\0")
        heard = json.loads(text)
        self.note(heard.get("method", ""), heard.get("params", {}))
        return heard

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Keep errors and warnings of the console, and every address that is asked for."""
        match method:
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str([a.get("value", a) for a in params["args"]])[:500])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"])[:500])
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(str(params["entry"])[:500])
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case _:
                pass

    @property
    def off_site(self) -> list[str]:
        """What was asked of another machine."""
        return [url for url in self.asked if not url.startswith(LOCAL)]

    def open(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Load a page at a width; waits for its load event."""
        self.resize(width)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def resize(self, width: int, height: int = 900) -> None:
        """Another width of the window."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def run(self, script: str) -> Any:
        """The value of an expression."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, f"{script}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """An expression's value once it is true; TimeoutError where it does not come true."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.02)
        raise TimeoutError(f"never true: {script}")

    def click(self, selector: str) -> None:
        """As a mouse would: pressed and let go in the middle of an element."""
        where = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{where}")
        self.run(f"{where}.scrollIntoView({{block: 'center'}})")
        x, y = self.run(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])({where}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Text into what has the focus, then Enter."""
        self.send("Input.insertText", text=text)
        self.press("Enter", 13, "\r")

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """One key, down and up."""
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def picture(self, place: Path) -> None:
        """The whole page as a PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        place.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block. No name is resolved: nothing leaves."""
    to_child, write = os.pipe()
    read, from_child = os.pipe()
    words = [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    words += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "--hide-scrollbars"]
    words += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"]

    def at_three_and_four() -> None:  # where the browser looks for its pipes
        high = [os.dup(to_child), os.dup(from_child)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    child = subprocess.Popen(
        words,
        preexec_fn=at_three_and_four,
        close_fds=False,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(profile)},
    )
    os.close(to_child)
    os.close(from_child)
    tab = Tab(write, read)
    try:
        target = tab.send("Target.createTarget", url="about:blank")["targetId"]
        attached = tab.send("Target.attachToTarget", targetId=target, flatten=True)
        tab.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        yield tab
    finally:
        child.kill()
        child.wait()
        os.close(write)
        os.close(read)

"""Drive a headless Chromium through a pipe: open a file, press keys, read the page. It needs no driver and no port."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--hide-scrollbars"),
    "--remote-debugging-pipe",
]
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, " ": 32, "Enter": 13, "Tab": 9}


class Page:
    """A tab. Chromium reads commands from its file descriptor 3 and answers on 4; a zero byte ends each message."""

    def __init__(self, width=1280, height=900, dark=False):
        self._profile = tempfile.mkdtemp()
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        descriptors = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        command = ["bash", "-c", descriptors, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={self._profile}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=(to_read, to_write), **quiet)
        os.close(to_read)
        os.close(to_write)
        self._number, self._session, self._rest = 0, None, b""
        self.events = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.look(width, height, dark)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method, **parameters):
        """Send a command of the DevTools protocol and return its result; events on the way are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._rest:
            block = os.read(self._read, 1 << 16)
            assert block, "chromium has ended"
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def look(self, width, height=900, dark=False):
        """Set the size of the window and the system's theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path):
        """Open a file from disk; returns the seconds until its scripts are done and it has been painted."""
        began = time.monotonic()
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.ready === 'yes'")
        painted = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true), 0)))"
        assert self.read(painted)
        return time.monotonic() - began

    def read(self, expression):
        """Return the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def texts(self, selector):
        """Return the text of each element that a selector finds."""
        return self.read(f"[...document.querySelectorAll({json.dumps(selector)})].map((n) => n.textContent)")

    def wait(self, expression, seconds=20):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.read(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def press(self, key, times=1):
        """Press a key; it goes to the element that has the focus."""
        text = {" ": " ", "Enter": "\r"}.get(key)
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        for _ in range(times):
            self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, selector):
        """Return a PNG of an element, also of the part of it that is outside the window."""
        box = "(({x, y, width, height}) => ({x: x + scrollX, y: y + scrollY, width, height}))"
        clip = self.read(f"{box}(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        shot = {"format": "png", "clip": clip | {"scale": 1}, "captureBeyondViewport": True}
        return base64.b64decode(self.send("Page.captureScreenshot", **shot)["data"])

    def trouble(self):
        """List the errors of the page's scripts, and its requests for anything but the file itself."""
        found = [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return found + [url for url in sent if not url.startswith("file:")]

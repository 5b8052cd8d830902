"""A small client of the WebDriver protocol (W3C), which chromedriver speaks over HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import requests

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's reference, by the standard


class Browser:
    """Headless Chromium with a profile of its own.

    Args:
        profile: Folder for the profile.
        width: Width of the window in pixels.
        height: Its height.
        downloads: Folder for downloads.
    """

    def __init__(self, profile: Path, width: int, height: int, downloads: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.http = requests.Session()
        self.http.trust_env = False  # a proxy has no part in this
        self.driver = subprocess.Popen([shutil.which("chromedriver"), f"--port={port}", "--silent"])
        self.base = f"http://127.0.0.1:{port}"
        self._wait_for_driver()
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}", f"--window-size={width},{height}",
        ]  # fmt: skip
        options = {
            "args": arguments,
            "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
        }
        if width < 500:  # a window cannot be so narrow; a telephone can
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}}
        logs = {"performance": "ALL", "browser": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{made['sessionId']}"

    def open(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def run(self, script: str, *arguments):
        """Return what a script returns; its arguments are ``arguments[0]``, ..."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css: str) -> dict:
        return self._call("POST", "/element", {"using": "css selector", "value": css})

    def type(self, css: str, text: str) -> None:
        """Type a text into a field; a path into a file field."""
        self._call("POST", f"/element/{self.find(css)[ELEMENT]}/value", {"text": text})

    def click(self, css: str, text: str = "") -> None:
        """Click the first element that is seen and contains the text."""
        found = self.wait(
            """return [...document.querySelectorAll(arguments[0])].find(
                   it => it.offsetParent && it.textContent.includes(arguments[1])) || null;""",
            css, text, what=f"{css} with {text!r}",
        )  # fmt: skip
        self.run("arguments[0].scrollIntoView({block: 'center'});", found)
        self._call("POST", f"/element/{found[ELEMENT]}/click", {})

    def wait(self, script: str, *arguments, seconds: float = 60.0, what: str = ""):
        """Wait until a script returns something true, and return it."""
        end = time.monotonic() + seconds
        while True:
            if value := self.run(script, *arguments):
                return value
            if time.monotonic() > end:
                shown = self.run("return document.body.innerText")
                raise AssertionError(f"waited {seconds:g} s in vain: {what or script}\n{shown}")
            time.sleep(0.3)

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        metrics = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": metrics["width"], "height": metrics["height"], "scale": 1}
        shot = self.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def devtools(self, command: str, **values):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": values})

    def requested(self) -> list[str]:
        """Return the address of every request since the last call."""
        entries = self._call("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]

    def console_messages(self) -> list[str]:
        """Return the messages of the browser's console since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def _wait_for_driver(self) -> None:
        for _ in range(200):
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        raise AssertionError("chromedriver does not start")

    def _call(self, method: str, path: str, values: dict | None = None):
        answer = self.http.request(method, self.base + path, json=values, timeout=120).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{path}: {answer['error']}: {answer['message']}")
        return answer

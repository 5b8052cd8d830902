"""Try the page of ``nussl-transfer app`` in headless Chromium, as a visitor would: ``make test-app``.

It uploads, separates, plays and downloads; checks stems, fine-tunes, stops, resumes, and separates with the result. It
needs ``chromium`` and ``chromedriver`` (Debian: ``apt-get install chromium chromium-driver``). Pictures go to a folder:

    python tests/browser/app_in_chromium.py --pictures /tmp/pictures
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
from webdriver import Browser

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds that a step may take on a busy machine
WIDTHS = (1280, 390)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="folder for pictures; none are kept when not given")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds that a step may take")
    given = parser.parse_args()
    if shutil.which("chromedriver") is None:
        print("chromedriver is missing. On Debian: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="app-in-chromium-") as folder:
        work = Path(folder)
        pictures = given.pictures or work / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        sound(work)
        with served(work) as address:
            visit = Visit(work, address, pictures, given.patience)
            try:
                visit.separate_an_upload()
                visit.fine_tune()
                visit.leave()
                visit.on_a_telephone()
            finally:
                visit.close()
        assert not list((work / "tmp").glob("nussl-transfer-app-*")), "the temporary folder is still there"
        say("the server ended with status 0, and its temporary folder is gone")
    print("1 passed, 0 failed")
    return 0


def say(text: str) -> None:
    print(f"ok: {text}", flush=True)


def files_of(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the files of these names in a folder at any depth."""
    return [path for path in folder.rglob("*") if path.name in names]


def sound(work: Path) -> None:
    """Write a song, a file that is not audio, and two tracks of stems."""
    rate = 16000
    time = np.arange(6 * rate) / rate
    for shift, track in enumerate(("first song", "second song")):
        for label, hertz in (("bass", 110.0), ("flute", 880.0)):
            path = work / "my stems" / track / f"{label}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            swell = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * time)
            soundfile.write(path, 0.3 * swell * np.sin(2 * np.pi * hertz * (1 + shift / 12) * time), rate)
    parts = [soundfile.read(work / "my stems" / "first song" / f"{label}.wav")[0] for label in ("bass", "flute")]
    soundfile.write(work / "my song.wav", sum(parts), rate)
    (work / "no audio.wav").write_text("This is text.")


class served:
    """The page, served by a separate process within the block."""

    def __init__(self, work: Path):
        (work / "tmp").mkdir()
        environment = {**os.environ, "TMPDIR": str(work / "tmp"), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nussl_transfer", "app", "--device", "cpu"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=work,
        )  # fmt: skip

    def __enter__(self) -> str:
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return found[0]
        raise AssertionError("".join(lines))

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=120)[0]
        if kind is not None or self.process.returncode or "Traceback" in said:
            print(said)
        assert kind is not None or (self.process.returncode == 0 and "Traceback" not in said)


class Visit:
    """A visitor of the page, on a wide screen and then on a telephone."""

    def __init__(self, work: Path, address: str, pictures: Path, patience: float):
        self.work, self.address, self.pictures, self.patience = work, address, pictures, patience
        self.browser: Browser | None = None
        self.downloads = work / "downloads"
        self.downloads.mkdir()

    def open(self, width: int) -> Browser:
        self.browser = Browser(self.work / f"profile {width}", width, 900, self.downloads)
        self.width = width
        self.browser.open(self.address)
        self.wait("return document.querySelector('#separate')", what="the page")
        return self.browser

    def close(self) -> None:
        if self.browser is not None:
            self.browser.close()
        self.browser = None

    def wait(self, script: str, *arguments, what: str = ""):
        return self.browser.wait(script, *arguments, seconds=self.patience, what=what)

    def wait_for_text(self, css: str, text: str) -> None:
        script = "return (document.querySelector(arguments[0]) || {innerText: ''}).innerText.includes(arguments[1]);"
        self.wait(script, css, text, what=f"{text!r} in {css}")

    def picture(self, name: str) -> None:
        time.sleep(0.7)  # wait for the animations to end
        self.browser.picture(self.pictures / f"{name}-{self.width}.png")
        wide, seen = self.browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name}: the page is {wide} pixels wide on a screen of {seen}"

    def players(self, count: int) -> list[dict]:
        """Wait for players that have loaded their files, and return their names and lengths."""
        script = """const all = [...document.querySelectorAll('.nt-stems audio')];
            return all.length === arguments[0] && all.every(it => it.readyState > 0 || it.error)
              ? all.map(it => ({name: it.ariaLabel, seconds: it.duration, error: it.error && it.error.message})) : null;"""
        found = self.wait(script, count, what=f"{count} players")
        assert not [it for it in found if it["error"]], found
        return found

    def separate_an_upload(self) -> None:
        browser = self.open(1280)
        self.picture("empty")
        browser.click("#separate")
        self.wait_for_text("#result", "There is no file yet")

        browser.type("#audio-file input[type=file]", str(self.work / "no audio.wav"))
        self.wait_for_text("#about-file", "no audio.wav cannot be decoded")
        self.wait_for_text("#result", "The stems appear here")  # what was said without a file is gone
        self.picture("not-audio")
        browser.click("#separate")
        self.wait_for_text("#result", "no audio.wav cannot be decoded")
        assert self.shows_no_traceback_or_path()
        say("a file that is not audio is refused in one sentence")

        browser.click("#audio-file button[aria-label='Clear'], #audio-file button[aria-label='Remove this file']")
        self.wait("return document.querySelector('#audio-file input[type=file]')")
        browser.type("#audio-file input[type=file]", str(self.work / "my song.wav"))
        self.wait_for_text("#about-file", "6 s, 16 kHz, mono")
        browser.click("#separate")
        self.picture("at-work")
        players = self.players(5)
        assert [it["name"] for it in players] == ["Mixture", "bassoon", "clarinet", "saxophone", "violin"]
        assert all(abs(it["seconds"] - 6) < 0.1 for it in players), players
        self.picture("separated")
        say("an uploaded file is separated into four stems")

        browser.run("document.querySelectorAll('.nt-stems audio')[1].play()")
        self.wait("return document.querySelectorAll('.nt-stems audio')[1].currentTime > 0.3", what="the stem plays")
        browser.run("document.querySelectorAll('.nt-stems audio')[1].pause()")
        say("a stem plays")

        browser.click(".nt-stems a", "Download bassoon.wav")
        stem = self.downloads / "bassoon.wav"
        end = time.monotonic() + self.patience
        while not stem.is_file() or list(self.downloads.glob("*.crdownload")):
            assert time.monotonic() < end, "no download"
            time.sleep(0.2)
        assert soundfile.info(stem).frames == 6 * 16000
        say("a stem is downloaded whole")
        self.check_that_requests_stay_local()

    def fine_tune(self) -> None:
        browser, stems = self.browser, self.work / "my stems"
        browser.click("button[role=tab]", "Fine-tune")
        browser.click("#check")
        self.wait_for_text("#check-result", "There is no folder of stems yet")
        browser.type("#stems textarea, #stems input", str(stems))
        browser.click("#check")
        self.wait_for_text("#check-result", "These stems can be trained on")
        self.picture("checked")
        run = "return document.querySelector('#run textarea, #run input').value"
        self.wait(f"{run} === arguments[0]", str(stems) + "-run", what="the run's folder")
        say("a folder of stems is checked")

        browser.run("document.querySelector('#iterations input').select()")
        browser.type("#iterations input", "15")
        browser.click("#start-training")
        self.wait_for_text("#training", "iteration 5 of 15")
        self.picture("training")
        browser.click("#stop-training")
        self.wait_for_text("#training", "Stopped. Start resumes it")
        self.picture("stopped")
        browser.click("#start-training")
        self.wait_for_text("#training", "Done: iteration 15 of 15")
        log = (self.work / "my stems-run" / "run.log").read_text(encoding="utf-8")
        assert "Stopped by SIGTERM" in log and "resuming at iteration" in log
        self.picture("trained")
        say("a training is stopped, resumed and finished")

        browser.click("#use")
        self.wait("return document.querySelector('#model input').value.startsWith('my stems-run')", what="the new model")
        browser.click("#separate")
        players = self.players(3)
        assert [it["name"] for it in players] == ["Mixture", "bass", "flute"]
        self.picture("separated-with-the-result")
        say("the trained model separates in the first tab")
        self.check_that_requests_stay_local()
        assert not [it for it in browser.console_messages() if "Content Security Policy" in it]

    def leave(self) -> None:
        (temporary,) = (self.work / "tmp").glob("nussl-transfer-app-*")
        names = ("my song.wav", "bass.wav", "flute.wav")
        assert files_of(temporary, names)
        self.close()
        end = time.monotonic() + self.patience
        while files_of(temporary, names):
            assert time.monotonic() < end, files_of(temporary, names)
            time.sleep(0.5)
        say("the files of a visitor are removed when the page is closed")

    def on_a_telephone(self) -> None:
        browser = self.open(390)
        self.picture("empty")
        browser.click("button", "drum kit")
        self.wait_for_text("#about-file", "44.1 kHz, mono")
        browser.click("#separate")
        assert [it["name"] for it in self.players(4)] == ["Mixture", "cymbals", "kick", "snare"]
        self.picture("separated")
        browser.click("button[role=tab]", "Fine-tune")
        browser.type("#stems textarea, #stems input", str(self.work / "my stems"))
        browser.click("#check")
        self.wait_for_text("#check-result", "These stems can be trained on")
        self.wait_for_text("#training", "Done: iteration 15 of 15")
        self.picture("trained")
        self.check_that_requests_stay_local()
        self.close()
        say("an example is separated on a telephone, and nothing is wider than its screen")

    def shows_no_traceback_or_path(self) -> bool:
        shown = self.browser.run("return document.body.innerText")
        return "Traceback" not in shown and str(self.work) not in shown

    def check_that_requests_stay_local(self) -> None:
        asked = [urlsplit(url) for url in self.browser.requested()]
        outside = {url.geturl() for url in asked if url.scheme in ("http", "https", "ws", "wss")}
        outside = {url for url in outside if not url.startswith(self.address)}
        assert asked and not outside, outside
        say("the page asked no other host for anything")


if __name__ == "__main__":
    sys.exit(main())

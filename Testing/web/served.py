"""The served application and a real browser on it, as a person meets them: for the browser tests and benchmarks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

PATIENCE_S = 30.0  # for what comes in a moment on a machine that does nothing else
AWAY = (2, 2)  # on the page, over no view
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Waits until a spot of a view's picture is coloured, or grey again, and says how many ms after the mouse came up that
# was. Grey images have no colour of their own. A spot is five pixels: late frames may still show the thin rubber band.
WATCH = """
async ([view, x, y, coloured, timeout]) => {
  const picture = () => document.querySelector(`[data-testid=view-${view}-slice]`)?.closest('.aps-over').parentElement
    .querySelector('img[src^="blob:"], canvas');
  const canvas = new OffscreenCanvas(17, 17);
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  const seen = () => {
    const image = picture(), frame = image && image.getBoundingClientRect();
    if (!frame || !frame.width || (image.complete === false)) return null;
    const width = image.naturalWidth || image.width, height = image.naturalHeight || image.height;
    const at = [(x - frame.left) * width / frame.width, (y - frame.top) * height / frame.height];
    pen.drawImage(image, at[0] - 8, at[1] - 8, 17, 17, 0, 0, 17, 17);
    const spots = [[8, 8], [1, 8], [15, 8], [8, 1], [8, 15]].map(([col, row]) => {
      const [r, g, b] = pen.getImageData(col, row, 1, 1).data;
      return Math.max(r, g, b) - Math.min(r, g, b) > 24;
    });
    return spots.every((spot) => spot) ? true : spots.some((spot) => spot) ? null : false;
  };
  const start = performance.now();
  return await new Promise((resolve) => {
    const look = () => {
      if (seen() === coloured) return resolve(performance.now() - (window.apsMouseUp || start));
      if (performance.now() - start > timeout) return resolve(-1);
      requestAnimationFrame(look);
    };
    look();
  });
}
"""
# Whether the picture of a view is of the size that the view has now.
DRAWN = """
(view) => {
  const box = document.querySelector(`[data-testid=view-${view}-slice]`)?.closest('.aps-over').parentElement;
  const image = box?.querySelector('img[src^="blob:"], canvas'), frame = box?.getBoundingClientRect();
  if (!image || !frame.height || image.complete === false) return false;
  const sides = [image.naturalWidth || image.width, image.naturalHeight || image.height];
  return Math.abs(sides[0] / sides[1] / (frame.width / frame.height) - 1) < 0.02;
}
"""


def browser_path() -> str | None:
    """A Chromium on this machine."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Served:
    """The application in a process of its own."""

    def __init__(self, *arguments: str, home: Path | None = None, cwd: Path | None = None) -> None:
        environment = os.environ | {"CI": "true", "PYTHONUNBUFFERED": "1"}
        if home is not None:
            environment["AUTOPROMPTSAM_HOME"] = str(home)
        command = [sys.executable, "-m", "AutoPromptSAMLib.cli", "web", "--no-browser", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=environment, cwd=cwd
        )
        self.output: list[str] = []
        self.address = self._address()

    def _address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            found = re.search(r"http://\S+token=\S+", line)
            if found:
                self._reader = threading.Thread(target=self._drain, daemon=True)
                self._reader.start()
                return found.group()
        raise AssertionError("the server ended:\n" + "".join(self.output))

    def _drain(self) -> None:
        assert self.process.stdout is not None
        self.output += self.process.stdout

    @property
    def memory_mb(self) -> float:
        """Resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found is not None
        return int(found.group(1)) / 1024

    def kill(self) -> None:
        """As when the machine goes down."""
        self.process.kill()
        self.process.wait(30)
        self._end_reading()

    def stop(self) -> None:
        """End it as a person does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_reading()

    def _end_reading(self) -> None:
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Wire:
    """A connection to a served application that can be cut and mended: forwards a port of its own."""

    def __init__(self, address: str) -> None:
        self._target = urlsplit(address)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = address.replace(f":{self._target.port}/", f":{self.port}/")
        self._start()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def mend(self) -> None:
        """Accept connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((self._target.hostname or "", self._target.port or 0))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_forward, args=(source, sink), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of Playwright's; the Debian package's, not one that Playwright would download."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE_S)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield chromium
        chromium.close()


class Desk:
    """A page of the application with a person's hands on it. Voxels are (i, j, k)."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = (1600, 900), hints: bool = False) -> None:
        self.address = address
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if not hints:
            self.page.add_init_script("localStorage.setItem('autopromptsam.hints-seen', '1')")
        self.page.add_init_script("addEventListener('mouseup', () => window.apsMouseUp = performance.now(), true)")
        self.page.goto(address)
        self._maps: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def close(self) -> None:
        self.context.close()

    def get(self, testid: str) -> Any:
        """An element of the page."""
        return self.page.get_by_test_id(testid)

    def wait_ready(self, seconds: float = 120) -> None:
        """Until the shown slice is prepared and nothing is being done."""
        self.page.wait_for_selector("[data-testid=status][data-phase=ready]", timeout=1000 * seconds)

    def wait_image(self, seconds: float = 120) -> None:
        """Until an image is open and its model is there."""
        self.page.wait_for_selector("[data-testid=tool-box]:not([disabled])", timeout=1000 * seconds)
        self.wait_ready(seconds)

    def frame(self, view: str) -> dict[str, float]:
        """Where a view is on the page."""
        found = self.page.evaluate(
            """(view) => { const frame = document.querySelector(`[data-testid=view-${view}-slice]`)
                .closest('.aps-over').parentElement.getBoundingClientRect();
                return {x: frame.x, y: frame.y, width: frame.width, height: frame.height}; }""",
            view,
        )
        return dict(found)

    def read_out(self, view: str, x: float, y: float) -> np.ndarray:
        """The voxel (i, j, k) under the mouse, as the page says it."""
        cursor = self.get("cursor-ijk")
        end = time.monotonic() + PATIENCE_S
        while True:  # until there is none, else it could be the one of a moment before, which may come late
            self.page.mouse.move(x + 1, y)
            self.page.mouse.move(*AWAY)
            self.page.wait_for_timeout(150)
            if not cursor.count():
                break
            assert time.monotonic() < end, "the read-out stays when the mouse is gone"
        self.page.mouse.move(x, y)
        cursor.wait_for()
        return np.array([float(n) for n in re.findall(r"-?\d+", cursor.inner_text())])

    def calibrate(self, view: str) -> None:
        """Learn from the read-out under some points where voxels are on the page."""
        end = time.monotonic() + PATIENCE_S
        while (found := self._measured(view)) is None:  # a view may just get another size, a late read-out come
            assert time.monotonic() < end, "the read-out does not follow the mouse"
            self.page.wait_for_timeout(200)
        self._maps[view] = found

    def _measured(self, view: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale (2, 3) and offset (2,) from voxels to the page; None when a third point is not where they say."""
        self.page.wait_for_function(DRAWN, arg=view)
        frame = self.frame(view)
        parts = np.array([(0.4, 0.4), (0.65, 0.65), (0.5, 0.6)])
        spots = np.array([frame["x"], frame["y"]]) + parts * [frame["width"], frame["height"]]
        voxels = np.array([self.read_out(view, *spot) for spot in spots.tolist()])
        way = voxels[1] - voxels[0]
        moving = [axis for axis in range(3) if abs(way[axis]) > 5]
        if len(moving) != 2 or self.frame(view) != frame:
            return None
        scale = np.zeros((2, 3))
        for row, axis in enumerate(moving):
            scale[row, axis] = (spots[1] - spots[0])[row] / way[axis]
        offset = spots[0] - scale @ voxels[0]
        away = np.abs(scale @ voxels[2] + offset - spots[2]) / np.abs(scale).max(axis=1)
        return (scale, offset) if away.max() < 2 else None  # voxels; each read-out is off by up to a half

    def place(self, view: str, ijk: Any) -> tuple[float, float]:
        """Page position of a voxel of the slice that a view shows."""
        if view not in self._maps:
            self.calibrate(view)
        scale, offset = self._maps[view]
        x, y = scale @ np.asarray(ijk, dtype=float) + offset
        return float(x), float(y)

    def go_to(self, view: str, index: int) -> None:
        """Show a slice with the view's slider."""
        self.page.evaluate(
            """([view, index]) => { const slider = document.querySelector(`[data-testid=view-${view}-slice]`);
                slider.value = index; slider.dispatchEvent(new Event('input')); }""",
            [view, index],
        )
        self.page.wait_for_function(
            """([view, index]) => document.querySelector(`[data-testid=view-${view}-index]`)
                .textContent.trim().startsWith(`${index} `) || document.querySelector(
                `[data-testid=view-${view}-index]`).textContent.trim().split('/')[0].trim() === `${index}`""",
            arg=[view, index],
        )
        self.page.wait_for_timeout(300)  # a slice that is shown for a moment is prepared
        self.wait_ready()

    def bring(self, path: Path, by: str = "file-input") -> None:
        """Give a file, or a folder, to the page; what comes of it is to be waited for."""
        self.page.wait_for_selector("[data-testid=status]:not([data-phase=opening])")  # until then it takes none
        self.page.set_input_files(f"[data-testid={by}]", str(path))

    def told(self, *texts: str) -> str:
        """Wait for a toast with all these texts, which is put away with all others; the whole of it."""
        found = self.page.wait_for_function(
            """(texts) => [...document.querySelectorAll('[data-testid=toast] > span')].map((span) => span.textContent)
                .find((said) => texts.every((text) => said.includes(text)))""",
            arg=list(texts),
        )
        self.put_away()
        return str(found.json_value())

    def put_away(self) -> None:
        """Close all toasts."""
        # Not by the mouse: a toast may go by itself before it is there.
        self.page.evaluate("() => document.querySelectorAll('[data-testid=toast-close]').forEach((b) => b.click())")
        self.page.wait_for_function("() => !document.querySelector('[data-testid=toast]')")

    def forget(self) -> None:
        """Voxels are elsewhere on the page from now on."""
        self._maps.clear()

    def drag(self, view: str, start: Any, end: Any, steps: int = 6) -> None:
        """Press at one voxel, let go at another."""
        self.page.mouse.move(*self.place(view, start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(view, end), steps=steps)
        self.page.mouse.up()

    def click(self, view: str, at: Any) -> None:
        """Click on a voxel."""
        self.page.mouse.move(*self.place(view, at))
        self.page.mouse.down()
        self.page.mouse.up()

    def wait_coloured(self, view: str, at: Any, coloured: bool = True, seconds: float = 60) -> float:
        """Until a mask covers a voxel (or no longer does); ms since the mouse button came up, -1 when it never did."""
        return float(self.page.evaluate(WATCH, [view, *self.place(view, at), coloured, 1000 * seconds]))

    def rename(self, name: str) -> None:
        """Give the last segment another name."""
        self.get("segment-name").last.dblclick()
        self.get("segment-name-field").fill(name)
        self.get("segment-name-field").press("Enter")

    def tool(self, name: str) -> None:
        """Take a tool."""
        self.get(f"tool-{name}").click()


def save(desk: Desk, folder: Path, kind: str) -> Path:
    """Export through the page; the downloaded file."""
    desk.get("export").click()
    with desk.page.expect_download() as download:
        desk.get(f"export-{kind}").click()
    target = folder / str(download.value.suggested_filename)
    download.value.save_as(target)
    desk.get("export-dialog").wait_for(state="hidden")
    return target

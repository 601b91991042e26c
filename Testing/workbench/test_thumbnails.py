"""Small pictures in addresses."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from AutoPromptSAMLib.workbench.thumbnails import SIDE, data_address, thumbnail


def decoded(address: str) -> Image.Image:
    head, _, data = address.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_picture_file_is_made_small_and_kept_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((300, 600), 200, np.uint8)).save(path)
    first = thumbnail(path)
    assert decoded(first).size == (SIDE, SIDE // 2)
    assert abs(int(np.asarray(decoded(first))[10, 10, 0]) - 200) < 5
    changed = path.stat().st_mtime_ns + 1_000_000_000
    Image.fromarray(np.full((300, 600), 20, np.uint8)).save(path)
    os.utime(path, ns=(changed, changed))
    assert abs(int(np.asarray(decoded(thumbnail(path)))[10, 10, 0]) - 20) < 5


def test_what_cannot_be_read_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"x")
    assert [thumbnail(None), thumbnail(tmp_path / "nowhere.png"), thumbnail(tmp_path / "torn.png")] == ["", "", ""]


def test_small_pictures_stay_as_they_are() -> None:
    assert decoded(data_address(Image.new("RGB", (20, 10)), 256)).size == (20, 10)

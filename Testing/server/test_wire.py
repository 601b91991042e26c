"""What is sent arrives, and what was damaged on the way is noticed."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, GeometryError, ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane, slice_plane
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import AutomaticResult, SliceReview
from AutoPromptSAMLib.session.wire import (
    FrameReader,
    RemoteError,
    WireError,
    error_from_json,
    error_to_json,
    inflated,
    pack,
    unpack,
)
from AutoPromptSAMLib.supports import SupportError

from ..conftest import SEEDS
from ..threshold_backbone import rod

SIDES = st.integers(0, 20)


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    shape = draw(st.tuples(SIDES, SIDES, SIDES))
    share = draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    mask = np.random.default_rng(draw(SEEDS)).random(shape) < share
    return Crop(mask, draw(st.tuples(*[st.integers(0, 10_000)] * 3)))


@given(st.lists(crops(), max_size=4))
def test_crops_arrive_as_they_are(sent: list[Crop]) -> None:
    found = unpack(pack(sent))
    assert [crop.lower for crop in found] == [crop.lower for crop in sent]
    for one, other in zip(found, sent, strict=True):
        assert one.mask.dtype == bool
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.mask.shape == other.mask.shape


@given(crops(), st.integers(0, 2**31), st.integers(1, 255))
def test_a_damaged_frame_is_an_error_or_another_crop_but_no_crash(sent: Crop, at: int, change: int) -> None:
    frame = bytearray(pack(sent))
    frame[at % len(frame)] ^= change
    try:
        found = unpack(bytes(frame))
    except AutoPromptSAMError:
        return
    # The text may say another place; the voxels have a checksum.
    if isinstance(found, Crop) and found.mask.shape == sent.mask.shape:
        np.testing.assert_array_equal(found.mask, sent.mask)


@given(st.lists(crops(), min_size=1, max_size=4), st.integers(1, 50))
def test_frames_come_in_any_pieces(sent: list[Crop], size: int) -> None:
    stream = b"".join(pack({"number": n, "crop": crop}) for n, crop in enumerate(sent))
    reader, found = FrameReader(), []
    for start in range(0, len(stream), size):
        found += list(reader.feed(stream[start : start + size]))
    assert [frame["number"] for frame in found] == list(range(len(sent)))
    assert all((a["crop"].mask == b.mask).all() for a, b in zip(found, sent, strict=True))


@given(st.from_type(Prompt))
def test_prompts_arrive_as_they_are(prompt: Prompt) -> None:
    assert unpack(pack({"rod": (prompt,)})) == {"rod": (prompt,)}


def test_results_arrive_as_they_are() -> None:
    volume, truth = rod(range(3, 9))
    review = SliceReview(5, 0.1 + 0.2, GreyCrop(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), (1, 2, 3)))
    result = AutomaticResult(
        {"ß": Crop.from_full(truth)}, {"ß": {3: 0.25}}, 0, False, {"total": 1e-17}, 4, {"ß": (5,)}
    )
    plane = slice_plane(volume.geometry, 1, 7)
    one, other, seen, nothing = unpack(pack([review, result, plane, None]))
    assert (one.index, one.expected_dice, one.uncertainty.lower) == (5, 0.1 + 0.2, (1, 2, 3))
    np.testing.assert_array_equal(one.uncertainty.values, review.uncertainty.values)
    one.uncertainty.values[0] = 1  # may be written into, as what was found here
    np.testing.assert_array_equal(other.masks["ß"].to_full(truth.shape), truth)
    assert (other.confidence, other.seconds, other.corrected) == ({"ß": {3: 0.25}}, {"total": 1e-17}, {"ß": (5,)})
    assert isinstance(seen, Plane)
    assert (seen.shape, seen.axis, seen.index) == (plane.shape, 1, 7)
    np.testing.assert_array_equal(seen.pixel_to_ras, plane.pixel_to_ras)
    assert nothing is None


def test_a_mask_on_a_slice_is_small() -> None:
    row, col = np.mgrid[:512, :512]
    organ = ((row - 250) / 80) ** 2 + ((col - 200) / 60) ** 2 < 1
    assert len(pack(Crop.from_full(organ[None]))) < 1500


def frame(text: object, body: bytes = b"") -> bytes:
    content = json.dumps(text).encode()
    return struct.pack("<II", len(content), len(body)) + content + body


def array(**changes: object) -> dict[str, object]:
    return {"$": "array", "of": {"dtype": "|b1", "shape": [8], "at": [0, 9], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,  # 4 GB
        frame({"$": "Popen", "of": {"args": "ls"}}),
        frame({"$": "Crop", "of": {"mask": None, "gone": 1}}),
        frame({"$": "Crop", "of": {"gone": 1}}),
        frame({"no": 1}),
        frame(array(dtype="|O8")),
        frame(array(shape=[-8])),
        frame(array(shape=[2**40])),
        frame(array(at=[0, 99])),
        frame(array(), b"no zlib.."),
        frame(array(shape=[9])),
        frame(array(), zlib.compress(b"\1")[:-1] + b"x"),
        struct.pack("<II", 3, 0) + b"\xff{[",
        struct.pack("<II", 20_000, 0) + b"[" * 20_000,
    ],
)
def test_what_is_no_frame_is_one_sentence(content: bytes, one_sentence: Callable) -> None:
    with one_sentence(WireError, "damaged"):
        unpack(content)


def test_what_cannot_be_sent_is_not() -> None:
    with pytest.raises(TypeError, match="object"):
        pack({"a": object()})


def test_no_more_is_unpacked_than_was_said(one_sentence: Callable) -> None:
    bomb = zlib.compress(bytes(50_000_000))
    with one_sentence(WireError, "length"):
        inflated(bomb, 1000)
    assert inflated(zlib.compress(b"12345"), 5) == b"12345"


class SpecialError(PromptError):
    """A kind that the other end does not know."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ImageError("It is empty."), ImageError),
        (SupportError("It is damaged."), SupportError),
        (SpecialError("No."), PromptError),
        (GeometryError("No."), GeometryError),
        (AutoPromptSAMError("No."), AutoPromptSAMError),
        (Cancelled("It ended.", goes_on=False), Cancelled),
    ],
)
def test_errors_keep_their_kind_and_sentence(error: AutoPromptSAMError, kind: type[Exception]) -> None:
    found = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert (type(found), str(found)) == (kind, str(error))
    assert getattr(found, "goes_on", None) == getattr(error, "goes_on", None)


def test_what_is_no_sentence_tells_only_its_kind(one_sentence: Callable) -> None:
    with one_sentence(RemoteError, "KeyError"):
        raise error_from_json(error_to_json(KeyError("/home/somebody/secret")))
    assert "secret" not in error_to_json(KeyError("/home/somebody/secret"))["text"]
    with one_sentence(RemoteError):
        raise error_from_json({"kind": ["no"], "text": 5})

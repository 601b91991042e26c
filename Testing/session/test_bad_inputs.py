"""What a person can do wrong gets one clear sentence, at the call or from the job."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry, oblique_plane, slice_plane
from AutoPromptSAMLib.intensity import Percentile, WindowLevel
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Prompt
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import rod
from .conftest import slice_box

MakeSession = Callable[..., LocalSession]
GRID = np.diag([0.8, 0.8, 3.0, 1.0])


def image(array: np.ndarray) -> Volume:
    k, j, i, *_ = *array.shape, 1
    return Volume(array, VolumeGeometry((k, j, i), GRID), name="Series 4")


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: image(np.zeros((0, 48, 48))), GeometryError, ["three positive sizes", "(0, 48, 48)"]),
        (lambda: Volume(np.zeros((0, 4, 4)), VolumeGeometry((1, 4, 4), GRID)), ImageError, ["empty"]),
        (lambda: image(np.where(np.eye(48) > 0, np.nan, 1)[None]), ImageError, ["Series 4", "48 of 2304", "NaN"]),
        (lambda: image(np.full((2, 48, 48), np.inf, np.float32)), ImageError, ["4608 of 4608"]),
        (lambda: image(np.zeros((48, 48))), ImageError, ["2 dimensions", "(48, 48)"]),
        (lambda: image(np.zeros((3, 48, 48, 7))), ImageError, ["4 dimensions", "pick one frame"]),
        (lambda: image(np.zeros((2, 3, 48, 48, 3), np.uint8)), ImageError, ["5 dimensions"]),
        (lambda: image(np.zeros((3, 48, 48, 3), np.float32)), ImageError, ["float32 colours", "8 bits"]),
        (lambda: image(np.zeros((3, 48, 48), complex)), ImageError, ["complex128"]),
        (
            lambda: Volume(np.zeros((3, 48, 48)), VolumeGeometry((48, 48, 3), GRID), name="Series 4"),
            GeometryError,
            ["(3, 48, 48)", "(48, 48, 3)"],
        ),
    ],
    ids=[
        "empty", "no voxels", "nan", "inf", "2D", "4D", "5D", "float colours", "complex", "wrong shape",
    ],
)  # fmt: skip
def test_images_that_cannot_be_segmented(
    threshold_session: MakeSession,
    make: Callable[[], Volume],
    kind: type[AutoPromptSAMError],
    words: list[str],
    one_sentence: Callable,
) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    with one_sentence(kind, *words):
        session.set_image(make())
    assert session.volume is volume, "the image before is still there"
    assert len(session.objects["rod"]) == 1


@pytest.mark.parametrize("mapping", [WindowLevel.preset("abdomen"), Percentile(0, 100)])
def test_colour_where_grey_is_needed(
    threshold_session: MakeSession, mapping: WindowLevel | Percentile, one_sentence: Callable
) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    colour = Volume(np.repeat(volume.array[..., None], 3, axis=3), volume.geometry)
    with one_sentence(ImageError, "colour"):
        session.set_image(colour, mapping)
    assert session.volume is volume
    session.set_image(colour)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    np.testing.assert_array_equal(session.propagate("rod").result().mask.to_full(truth.shape), truth)


@pytest.mark.parametrize("kind", [np.uint8, bool, np.int16, np.uint16, np.float32, np.float64, np.float16, ">i2"])
@pytest.mark.parametrize("axis", [0, 2])
def test_every_kind_of_voxel_works_on_every_plane(threshold_session: MakeSession, kind: type, axis: int) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(Volume(np.where(truth, 200, 50 * (kind is not bool)).astype(kind), volume.geometry))
    index = (5, 21, 22)[axis]
    session.add_prompt("rod", slice_box(volume, truth, axis, index))
    mask = session.segment("rod", slice_plane(volume.geometry, axis, index)).result().mask
    found = mask.to_full(truth.shape).take(index, axis=axis)
    expected = truth.take(index, axis=axis)
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.95


OUTSIDE: dict[str, Callable[[VolumeGeometry], Prompt]] = {
    "point": lambda g: Point(g.ras_from_ijk([[20, 20, 12.6]])[0]),
    "negative point": lambda g: Point(g.ras_from_ijk([[-1, 20, 5]])[0], positive=False),
    "far point": lambda g: Point((1e9, 0, 0)),
    "doodle": lambda g: Doodle(g.ras_from_ijk([[20, 20, 5], [20, 60, 5]])),
    "flat box": lambda g: Box.on_plane(slice_plane(g, 0, 3), (60, 10, 80, 20)),
    "solid box": lambda g: Box(g.ras_from_ijk([[20, 20, 40]])[0], np.eye(3), (10, 10, 10)),
}


@pytest.mark.parametrize("which", OUTSIDE)
def test_prompts_outside_the_image(threshold_session: MakeSession, which: str, one_sentence: Callable) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    with one_sentence(PromptError, which.split()[-1], "outside the image"):
        session.add_prompt("rod", OUTSIDE[which](volume.geometry))
    assert not session.objects


def test_a_solid_box_may_stick_out(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    # Its own middle is on slice 12, which there is not; what it has inside are slices 6 to 11.
    center = volume.geometry.ras_from_ijk([[22, 23, 12]])[0]
    session.add_prompt("rod", Box(center, np.eye(3), (17, 19, 12 * 3.0)))
    result = session.propagate("rod").result()
    assert result.seeds == (9,)
    assert sorted(result.agreement) == list(range(6, 12))
    np.testing.assert_array_equal(result.mask.to_full(truth.shape)[6:], truth[6:])


def test_a_mask_of_another_geometry(threshold_session: MakeSession, one_sentence: Callable) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    other = VolumeGeometry(volume.geometry.shape, np.diag([0.8, 0.8, 2.5, 1]))
    with one_sentence(PromptError, "another geometry"):
        session.add_prompt("rod", MaskPrompt(Crop.from_full(truth), other))


def test_no_prompt(threshold_session: MakeSession, one_sentence: Callable) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    plane = slice_plane(volume.geometry, 0, 4)
    for _ in range(2):  # an unknown object, then one whose prompts were taken back
        with one_sentence(PromptError, '"rod"', "no prompts"):
            session.segment("rod", plane)
        with one_sentence(PromptError, '"rod"', "no prompts"):
            session.propagate("rod")
        session.add_prompt("rod", slice_box(volume, truth, 0, 5))
        session.undo()
    session.redo()
    with one_sentence(PromptError, "no prompt on this slice"):
        session.segment("rod", plane).result()


def test_a_flat_oblique_box_is_not_propagated(threshold_session: MakeSession, one_sentence: Callable) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    center = volume.geometry.ras_from_ijk([[22, 22, 6]])[0]
    plane = oblique_plane(volume.geometry, center, (1, 0, 0), (0, 1, 1))
    session.add_prompt("rod", Box.on_plane(plane, (5, 5, 20, 20)))
    with one_sentence(PromptError, "along this axis"):
        session.propagate("rod")


def test_an_empty_answer_explains_itself(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    plane = slice_plane(volume.geometry, 0, 5)
    session.add_prompt("rod", Box.on_plane(plane, (38, 38, 46, 46)))
    result = session.segment("rod", plane).result()
    assert result.mask.is_empty
    assert '"rod"' in result.explanation

"""Voxel values to 8-bit RGB: windows, percentiles, pass-through, and which is chosen by default."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.intensity import (
    CT_PRESETS,
    IntensityMapping,
    PassThrough,
    Percentile,
    WindowLevel,
    default_mapping,
    mapping_from_json,
)


def volume(array: np.ndarray, modality: str | None = None) -> Volume:
    return Volume(array, VolumeGeometry(array.shape[:3], np.eye(4)), modality)


MR = np.random.default_rng(0).gamma(4, 100, (10, 40, 50)).astype(np.float32)
MR[:, :10] = 0  # air


def test_abdomen_window_is_that_of_medsam() -> None:
    # MedSAM's own formula for level 40, width 400: clip to -160..240, then (x + 160) / 400 * 255.
    hu = np.array([[-1024, -160, -159], [40, 100, 239], [240, 241, 3071]], dtype=np.int16)
    image = WindowLevel.preset("abdomen").apply(hu)
    assert image.dtype == np.uint8
    assert image.shape == (3, 3, 3)
    expected = (np.clip(hu, -160, 240) + 160.0) / 400 * 255
    np.testing.assert_allclose(image[..., 0], expected, atol=0.51)
    assert (image == image[..., :1]).all()
    assert image.flags.c_contiguous


@pytest.mark.parametrize("name", CT_PRESETS)
def test_presets_span_black_to_white(name: str) -> None:
    level, width = CT_PRESETS[name]
    image = WindowLevel.preset(name).apply(np.array([[level - width / 2, level, level + width / 2]]))
    assert image[0, ::2, 0].tolist() == [0, 255]
    assert image[0, 1, 0] in (127, 128)  # 127.5, and float32 on either side of it


@given(
    arrays.arrays(st.sampled_from([np.int16, np.uint16, np.int32, np.float32, np.float64]), (3, 4)).filter(
        lambda a: np.isfinite(a).all()
    ),
    st.floats(-2000, 2000),
    st.floats(1, 5000),
)
def test_windows_are_monotonous_for_every_number_type(image: np.ndarray, level: float, width: float) -> None:
    mapped = WindowLevel(level, width).apply(image)[..., 0].ravel()
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(mapped[order].astype(int)) >= 0).all()
    assert (mapped[image.ravel() <= level - width / 2] == 0).all()
    assert (mapped[image.ravel() >= level + width / 2] == 255).all()


def test_the_slice_is_not_written_to() -> None:
    image = np.full((4, 4), 100, dtype=np.float32)
    for mapping in (WindowLevel(40, 400), Percentile(0, 50)):
        mapping.apply(image)
    assert (image == 100).all()


def test_percentiles_are_of_the_foreground_of_the_volume() -> None:
    mapping = Percentile.of(volume(MR))
    lower, upper = np.percentile(MR[MR > 0], [0.5, 99.5])
    assert (mapping.lower, mapping.upper) == pytest.approx((lower, upper))
    # The same tissue gets the same grey on every slice, however bright its slice is.
    one = mapping.apply(np.array([[200.0, 5000.0]]))[0, 0, 0]
    assert one == mapping.apply(np.array([[200.0, 0.0]]))[0, 0, 0]


def test_percentiles_of_large_volumes_are_sampled_evenly() -> None:
    rng = np.random.default_rng(1)
    array = rng.normal(500, 100, (20, 512, 512)).astype(np.float32)
    for layout in (array, np.asfortranarray(array)):
        mapping = Percentile.of(volume(layout))
        lower, upper = np.percentile(array, [0.5, 99.5])
        assert mapping.lower == pytest.approx(lower, abs=3)
        assert mapping.upper == pytest.approx(upper, abs=3)


def test_uniform_and_binary_volumes_have_a_mapping() -> None:
    uniform = Percentile.of(volume(np.full((2, 3, 4), 7.0)))
    assert (uniform.apply(np.full((3, 4), 7.0)) == 0).all()
    binary = np.zeros((2, 3, 4), np.int16)
    binary[0, 1] = 1000
    mapped = Percentile.of(volume(binary)).apply(binary[0])
    assert (mapped[1] == 255).all()
    assert (mapped[0] == 0).all()


def test_pass_through_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    colour = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(PassThrough().apply(colour), colour)
    np.testing.assert_array_equal(PassThrough().apply(colour[..., 1]), np.stack([colour[..., 1]] * 3, axis=-1))
    assert PassThrough().apply(np.eye(3, dtype=bool)).max() == 255


HU = np.full((2, 3, 4), -1000, np.int16)


@pytest.mark.parametrize(
    ("array", "modality", "kind"),
    [
        (HU, None, WindowLevel),
        (HU, "CT", WindowLevel),
        (HU + 1000, "CT", WindowLevel),
        (HU + 500, None, WindowLevel),
        (HU + 501, None, Percentile),
        (HU, "MR", Percentile),
        (HU, "PT", Percentile),
        (MR, None, Percentile),
        (np.zeros((1, 3, 4), np.uint8), None, PassThrough),
        (np.zeros((2, 3, 4), np.uint8), "CT", PassThrough),
        (np.zeros((2, 3, 4), np.uint8), "MR", Percentile),
        (np.zeros((2, 3, 4), np.uint8), None, Percentile),
        (np.zeros((2, 3, 4), bool), None, PassThrough),
        (np.zeros((2, 3, 4, 3), np.uint8), "US", PassThrough),
    ],
)
def test_default_mapping(array: np.ndarray, modality: str | None, kind: type) -> None:
    mapping = default_mapping(volume(array, modality))
    assert isinstance(mapping, kind)
    if kind is WindowLevel:
        assert mapping == WindowLevel(40, 400)


@pytest.mark.parametrize("mapping", [WindowLevel(-600, 1500), Percentile(1.25, 7.5, 1, 99), PassThrough()])
def test_json_round_trip(mapping: IntensityMapping) -> None:
    assert mapping_from_json(json.loads(json.dumps(mapping.to_json()))) == mapping
    assert isinstance(mapping, IntensityMapping)


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        [],
        {},
        {"type": "gamma"},
        {"type": []},
        {"type": "window"},
        {"type": "window", "level": "a", "width": 4},
        {"type": "window", "level": 1, "width": 0},
        {"type": "pass-through", "more": 1},
    ],
)
def test_malformed_json_is_refused(data) -> None:
    with pytest.raises(ImageError, match=r"\.$"):
        mapping_from_json(data)


COLOUR = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: WindowLevel(40, 400).apply(COLOUR), "colour image .* where a grey one is needed"),
        (lambda: Percentile(0, 1).apply(COLOUR), "colour image .* where a grey one is needed"),
        (lambda: Percentile.of(volume(np.zeros((2, 4, 4, 3), np.uint8))), "colour image has no single intensity"),
        (lambda: PassThrough().apply(np.zeros((4, 4), np.int16)), "int16 cannot be used as it is; choose a window"),
        (lambda: PassThrough().apply(np.zeros((2, 4, 4), np.uint8)), "two dimensions"),
        (lambda: WindowLevel(40, 400).apply(np.zeros(4)), "two dimensions"),
        (lambda: WindowLevel(40, 0), "width above 0"),
        (lambda: WindowLevel(float("nan"), 10), "width above 0"),
        (lambda: WindowLevel.preset("knee"), 'no CT window "knee"; choose one of abdomen, '),
        (lambda: Percentile(5, 5), "lower < upper"),
        (lambda: Percentile.of(volume(MR), 60, 40), "low < high"),
    ],
)
def test_wrong_uses_are_refused(act, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from AutoPromptSAMLib.errors import GeometryError, StorageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.picture import orientation_letters, overview_picture, segment_colors
from AutoPromptSAMLib.picture.figure import GAP, HEADER, PANEL
from AutoPromptSAMLib.picture.slices import draw_box, draw_segments, screen_directions, screen_plane, view_of_axis
from AutoPromptSAMLib.picture.surfaces import surface_canvas, view_directions

SHAPE = (12, 40, 48)  # k, j, i
ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product([1, -1], repeat=3)
]
# Where left-anterior-superior is on the screen of each view: (to the right, downwards).
LEFT_ANTERIOR_SUPERIOR = {"axial": (1, -1), "coronal": (1, -1), "sagittal": (-1, -1)}
PANELS = {"axial": (0, 0), "3D": (1, 0), "coronal": (0, 1), "sagittal": (1, 1)}


def grid(axes=(0, 1, 2), signs=(1, 1, 1), tilt=0.0) -> VolumeGeometry:
    """A grid of 2 x 2 x 5 mm whose i, j, k run along the given world axes, centred at the origin."""
    matrix = np.eye(4)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    turn = turn @ np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    matrix[:3, :3] = turn @ np.eye(3)[:, list(axes)] * np.array([2.0, 2.0, 5.0]) * signs
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return VolumeGeometry(SHAPE, matrix)


def ball(geometry: VolumeGeometry, centre, radius: float) -> np.ndarray:
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)[..., ::-1]
    ras = geometry.ras_from_ijk(ijk.reshape(-1, 3)).reshape(ijk.shape)
    return np.linalg.norm(ras - np.asarray(centre), axis=-1) <= radius


def grey(geometry: VolumeGeometry) -> Volume:
    return Volume(np.random.default_rng(0).normal(100, 20, geometry.shape).astype(np.float32), geometry)


def pixels_of(image: np.ndarray, color) -> np.ndarray:
    """(n, 2) as (col, row) of the pixels that have a colour (0 to 1)."""
    return np.argwhere(np.abs(image / 255 - np.array(color)).max(axis=2) < 0.02)[:, ::-1]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def panel(path: Path, view: str) -> np.ndarray:
    """What a panel of a saved picture shows below its caption, above the letter at its foot."""
    x, y = (GAP if view in ("axial", "coronal") else GAP + PANEL + GAP), HEADER + PANELS[view][1] * (PANEL + GAP)
    return read(path)[y : y + PANEL, x : x + PANEL]


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1, 0, 0), "R"),
        ((-3, 0, 0), "L"),
        ((0, 2, 0), "A"),
        ((0, -1, 0), "P"),
        ((0, 0, 1), "S"),
        ((0, 0.3, -1), "I"),
        ((-1, 0.8, 0), "LA"),
        ((0.2, -0.7, 0.8), "SP"),
        ((1.1, -1.05, 1), "RPS"),
    ],
)
def test_letters_name_where_a_direction_leads(direction, letters):
    assert orientation_letters(direction) == letters


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_every_orientation_of_the_voxels_is_shown_in_radiological_convention(axes, signs, tilt):
    geometry = grid(axes, signs, tilt)
    spot = geometry.ras_from_ijk(geometry.ijk_from_ras([-12.0, 12.0, 12.0]).round())
    mask = ball(geometry, spot, 8)
    k, j, i = np.argwhere(mask).mean(axis=0).round().astype(int)
    for view, (to_right, downwards) in LEFT_ANTERIOR_SUPERIOR.items():
        axis = geometry.array_axis(view)
        assert view_of_axis(geometry, axis) == view
        plane = screen_plane(geometry, view, (k, j, i)[axis], (81, 81))
        canvas = np.zeros((81, 81, 3), dtype=np.float32)
        draw_segments(canvas, plane, {"a": mask}, geometry, {"a": (1.0, 1.0, 1.0)})
        col, row = np.argwhere(canvas[..., 0] > 0.2).mean(axis=0)[::-1] - 40
        assert col * to_right > 3, view
        assert row * downwards > 3, view
        # True to scale: it is drawn where the plane says its centre is, to a voxel.
        expected = plane.pixels_from_ras(geometry.ras_from_ijk([i, j, k]))[:2] - 40
        assert np.abs(np.array([col, row]) - expected).max() * plane.spacing[0] < 5


def test_screen_axes_lead_left_and_posterior_for_an_oblique_left_handed_volume():
    right, down = screen_directions(grid(signs=(1, 1, -1), tilt=0.3), "axial")
    assert orientation_letters(right) == "L"
    assert orientation_letters(down) == "P"


def test_the_whole_slice_fits_the_screen_with_square_pixels():
    geometry = grid()
    plane = screen_plane(geometry, "coronal", 20, (100, 100))
    assert plane.spacing == pytest.approx((0.96, 0.96))  # 48 voxels of 2 mm on 100 pixels
    edges = plane.pixels_from_ras(geometry.corners)[:, :2]
    assert edges.min() >= -0.5 - 1e-6
    assert edges.max() <= 99.5 + 1e-6


def test_a_field_of_view_is_centred_and_as_wide_as_asked():
    centre = np.array([10.0, -8.0, 2.5])
    plane = screen_plane(grid(), "axial", 6, (50, 50), (centre, 30.0))
    assert plane.spacing == pytest.approx((0.6, 0.6))
    assert plane.pixels_from_ras(centre)[:2] == pytest.approx([24.5, 24.5])


def test_outline_is_opaque_and_area_lets_the_image_through():
    geometry, color = grid(), (0.2, 0.6, 1.0)
    plane = screen_plane(geometry, "axial", 6, (240, 240))
    canvas = np.full((240, 240, 3), 0.5, dtype=np.float32)
    canvas[::2] = 0.6
    draw_segments(canvas, plane, {"a": ball(geometry, (0, 0, 2.5), 20)}, geometry, {"a": color})
    assert canvas[0, 0].tolist() == pytest.approx([0.6] * 3)
    middle = canvas[119:121, 120]
    assert np.abs(middle[0] - middle[1]).min() > 0.03  # the texture stays
    assert (middle[:, 2] > middle[:, 0] + 0.1).all()  # and is tinted
    assert len(pixels_of(canvas * 255, color)) > 100


def test_a_box_is_drawn_where_it_is():
    canvas = np.zeros((60, 80, 3), dtype=np.float32)
    draw_box(canvas, [[60, 15], [20, 45]], width=2)
    rows, cols = np.nonzero(canvas[..., 0] > 0.99)
    assert canvas[15, 40, 0] == canvas[30, 20, 0] == canvas[45, 40, 0] == canvas[30, 60, 0] == 1
    assert canvas[30, 40, 0] == 0
    assert abs(rows.min() - 15) <= 4
    assert abs(cols.max() - 60) <= 4


def test_surfaces_show_patient_left_on_the_right_and_the_nearer_organ_in_front():
    geometry = grid()
    segments = {
        "left": ball(geometry, (-30, 0, 0), 9),
        "right": ball(geometry, (30, 0, 0), 9),
        "front": ball(geometry, (0, 25, 0), 9),
        "hidden": ball(geometry, (0, 0, -5), 6),
        "nothing": np.zeros(SHAPE, dtype=bool),
    }
    colors = {"left": (1, 0, 0), "right": (0, 1, 0), "front": (0, 0, 1), "hidden": (1, 1, 0), "nothing": (1, 1, 1)}
    flat = Volume(np.zeros(SHAPE, dtype=np.float32), geometry)
    canvas, pixel = surface_canvas(flat, segments, colors, (160, 160), ((0, 0, 0), (0, 0, 0)))
    red, green, blue = np.moveaxis(canvas, 2, 0)
    seen = {
        "left": (red > 0.15) & (red > 2 * green) & (red > 2 * blue),
        "right": (green > 0.15) & (green > 2 * red),
        "front": (blue > 0.15) & (blue > 2 * red),
    }
    cols = {name: np.argwhere(mask)[:, 1].mean() for name, mask in seen.items()}
    assert cols["right"] < cols["front"] < cols["left"]
    right, down, forward = view_directions()
    assert orientation_letters(right) == "L"
    assert orientation_letters(down) == "I"
    assert forward[1] < -0.8  # seen from the front
    # A ball's outline is a circle of its radius, whatever the voxels.
    for mask in seen.values():
        assert np.sqrt(mask.sum() / np.pi) * pixel == pytest.approx(9, abs=2)


def test_what_lies_behind_an_organ_is_hidden():
    geometry = grid()
    behind = -view_directions()[2] * -20
    segments = {"large": ball(geometry, (0, 0, 0), 14), "small": ball(geometry, behind, 5)}
    canvas, _ = surface_canvas(
        grey(geometry), segments, {"large": (0, 0, 1), "small": (1, 0, 0)}, (120, 120), ((0, 0, 0), (0, 0, 0))
    )
    assert (canvas[..., 2] > 0.4).sum() > 500
    assert not (canvas[..., 0] > canvas[..., 2] + 0.1).any()


def test_picture_shows_segments_and_box_where_they_are(tmp_path):
    geometry = grid(axes=(1, 0, 2), signs=(-1, 1, -1))
    segments = {"liver": ball(geometry, (20, 10, 2.5), 14), "spleen": ball(geometry, (-20, -15, 2.5), 9)}
    index = int(np.count_nonzero(segments["liver"], axis=(1, 2)).argmax())
    rows, cols = np.nonzero(segments["liver"][index])
    path = tmp_path / "overview.png"
    box = (0, index, (cols.min(), rows.min(), cols.max(), rows.max()))
    overview_picture(grey(geometry), segments, {"liver": 0.95, "spleen": None}, {"liver": box}, path, "Two organs")
    colors = segment_colors(list(segments))
    axial = panel(path, "axial")
    plane = screen_plane(geometry, "axial", index, (PANEL, PANEL))
    for name, centre in (("liver", (20, 10, 2.5)), ("spleen", (-20, -15, 2.5))):
        outline = pixels_of(axial, colors[name])
        assert len(outline) > 100
        assert np.abs((outline.min(axis=0) + outline.max(axis=0)) / 2 - plane.pixels_from_ras(centre)[:2]).max() < 16
    corners = plane.pixels_from_ras(slice_plane(geometry, 0, index).ras_from_pixels(np.reshape(box[2], (2, 2))))[:, :2]
    for col, row in corners.round().astype(int):
        assert axial[row, col].min() > 250  # the handles of the box are white
    # Both are in the 3D view and on their card too.
    picture = read(path)
    for color in colors.values():
        assert len(pixels_of(picture[:, 2 * (PANEL + GAP) + GAP :], color)) > 300


def test_the_file_is_the_same_each_time(tmp_path):
    geometry = grid()
    for name in ("a.png", "b.png"):
        overview_picture(grey(geometry), {"x": ball(geometry, (0, 0, 0), 15)}, {}, {}, tmp_path / name, "Same")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("shape", "spacing", "colour"),
    [
        ((1, 40, 48), 1.0, True),
        ((4, 40, 48), 1.0, True),
        ((1, 40, 48), 1.0, False),
        ((20, 1, 16), 1.0, False),
        ((1, 1, 1), 1.0, False),
        ((2, 2, 2), 1.0, False),
        ((12, 20, 24), 0.001, False),
        ((12, 20, 24), 1000.0, False),
    ],
)
def test_any_volume_gives_a_picture(tmp_path, shape, spacing, colour):
    geometry = VolumeGeometry(shape, np.diag([spacing, spacing, spacing, 1]))
    array = np.random.default_rng(1).integers(0, 255, (*shape, 3) if colour else shape).astype(np.uint8)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(n // 4, n - n // 4) for n in shape)] = True
    segments = {
        "nothing": np.zeros(shape, dtype=bool),
        "Läsion 肝臓 " + 20 * "long": mask,
        "everything": ~(mask & False),
    }
    boxes = {"nothing": (0, 0, (0, 0, 0, 0)), "nobody's": (9, 9, (0, 0, 0, 0))}
    path = tmp_path / "any.png"
    overview_picture(Volume(array, geometry), segments, {"nothing": 0.0, "everything": 1.0}, boxes, path, "Any é")
    image = read(path)
    assert image.shape[0] == HEADER + 2 * PANEL + 2 * GAP + 4
    assert len(pixels_of(image, segment_colors(list(segments))["everything"])) > 100


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [0, 1, 25])
def test_any_number_of_segments_fits(tmp_path, count):
    geometry = grid()
    rng = np.random.default_rng(2)
    segments = {f"organ_{n}": ball(geometry, rng.uniform(-15, 15, 3), 7) for n in range(count)}
    volume = Volume(np.zeros(SHAPE, dtype=np.int16), geometry)  # an image of one value
    overview_picture(volume, segments, dict.fromkeys(segments, 0.5), {}, tmp_path / "n.png", "Many")
    assert read(tmp_path / "n.png").shape[0] == HEADER + 2 * PANEL + 2 * GAP + 4


def test_colours_differ_and_stay_with_their_place():
    colors = segment_colors([f"s{n}" for n in range(14)])
    assert len(set(colors.values())) == 14
    assert segment_colors(["s0", "s1"]) == {name: colors[name] for name in ("s0", "s1")}


def test_mistakes_get_a_sentence_and_leave_no_file(tmp_path):
    geometry = grid()
    volume, mask = grey(geometry), ball(geometry, (0, 0, 0), 10)
    with pytest.raises(GeometryError, match='Segment "liver" has \\(2, 2, 2\\) voxels but its image \\(12, 40, 48\\)'):
        overview_picture(volume, {"liver": np.ones((2, 2, 2), bool)}, {}, {}, tmp_path / "p.png", "")
    with pytest.raises(GeometryError, match="Slice 99 is outside the volume"):
        overview_picture(volume, {"liver": mask}, {}, {"liver": (0, 99, (1, 1, 5, 5))}, tmp_path / "p.png", "")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StorageError, match="could not be written"):
        overview_picture(volume, {}, {}, {}, tmp_path / "missing" / "p.png", "")

"""One picture of a segmentation for people: three slices, the organs in 3D, and what each prompt led to.

Drawn with numpy and Pillow (which scikit-image brings): no display, no plotting library, the same on every machine.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import Plane, Volume, slice_plane
from AutoPromptSAMLib.geometry.grid import ANATOMICAL_AXES, BoolArray, FloatArray
from AutoPromptSAMLib.intensity import IntensityMapping, default_mapping
from AutoPromptSAMLib.picture.slices import (
    Canvas,
    Colour,
    blend,
    draw_box,
    draw_segments,
    orientation_letters,
    rectangle_distance,
    screen_plane,
    slice_canvas,
    view_of_axis,
)
from AutoPromptSAMLib.picture.surfaces import surface_canvas, view_directions

# Array axis, slice index, and (x0, y0, x1, y1) pixel centres on ``slice_plane(geometry, axis, index)``.
BoxPrompt = tuple[int, int, Sequence[float]]

# Okabe and Ito's colours for all kinds of colour vision (jfly.uni-koeln.de/color), those that stand out from dark
# first, then Tol's "light" and "bright" ones (SRON/EPS/TN/09-002); blue and vermilion made lighter for dark.
PALETTE = (
    "56B4E9", "E69F00", "00B584", "CC79A7", "F0E442", "E8703A", "4C8FD6",
    "FFAABB", "99DDFF", "BBCC33", "EE8866", "AAAA00", "AA88DD", "DDDDDD",
)  # fmt: skip
BACKGROUND, CARD, INK, MUTED, LETTER = "0F1318", "181E26", "EEF2F6", "8D99A8", "C3CCD6"
SKY = ((0.115, 0.140, 0.175), (0.030, 0.036, 0.046))  # behind the 3D view, top and bottom
PANEL, GAP, HEADER, CARD_WIDTH = 620, 16, 96, 560


def segment_colors(names: Sequence[str]) -> dict[str, Colour]:
    """Colours (red, green, blue from 0 to 1) by segment name, told apart by all kinds of colour vision."""
    return {name: _rgb(PALETTE[n % len(PALETTE)]) for n, name in enumerate(names)}


def overview_picture(
    volume: Volume,
    segments: Mapping[str, BoolArray],
    scores: Mapping[str, float | None],
    boxes: Mapping[str, BoxPrompt],
    path: str | os.PathLike[str],
    title: str,
) -> None:
    """Write a PNG that shows ``segments`` (bool (K, J, I) by name) on ``volume`` and in 3D.

    ``scores``: Dice against a reference, where there is one. ``boxes``: the box each segment was prompted with, where
    there was one. Slices are in radiological convention (patient left on the right), whatever the volume's
    orientation. Raises GeometryError for a segment of another shape, StorageError when the file cannot be written.
    """
    for name, mask in segments.items():
        if np.shape(mask) != volume.geometry.shape:
            raise GeometryError(
                f'Segment "{name}" has {np.shape(mask)} voxels but its image {volume.geometry.shape} (k, j, i).'
            )
    segments = {name: np.asarray(mask).astype(bool, copy=False) for name, mask in segments.items()}
    image = _Page(volume, segments, scores, boxes).draw(title)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


class _Page:
    """What all parts of the picture share."""

    def __init__(
        self,
        volume: Volume,
        segments: Mapping[str, BoolArray],
        scores: Mapping[str, float | None],
        boxes: Mapping[str, BoxPrompt],
    ) -> None:
        self.volume, self.geometry, self.segments = volume, volume.geometry, segments
        self.scores, self.boxes = scores, {n: b for n, b in boxes.items() if n in segments}
        self.corners = {name: self._box_corners(name) for name in self.boxes}
        self.mapping: IntensityMapping = default_mapping(volume)
        self.colors = segment_colors(list(segments))
        # Voxels of each segment on every slice along every array axis: where to look, and how large it is.
        self.areas = {
            name: [np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
            for name, mask in segments.items()
        }

    def draw(self, title: str) -> Image.Image:
        """The whole picture."""
        columns = 1 if len(self.segments) <= 7 else 2
        side = 2 * PANEL + GAP
        cards = columns * (CARD_WIDTH if columns == 1 else 420) + (columns - 1) * GAP
        width = GAP + side + GAP + (cards + GAP if self.segments else 0)
        height = HEADER + side + GAP + 4
        self.canvas: Canvas = np.broadcast_to(np.array(_rgb(BACKGROUND), dtype=np.float32), (height, width, 3)).copy()
        self.texts: list[tuple[float, float, str, int, str, str, int]] = []
        self._text(GAP + 4, HEADER / 2 - 12, title, 34)
        self._text(GAP + 4, HEADER / 2 + 24, self._description(), 18, MUTED)
        self._panels(GAP, HEADER)
        if self.segments:
            self._cards(GAP + side + GAP, HEADER, cards, side, columns)
        image = Image.fromarray(np.rint(np.clip(self.canvas, 0, 1) * 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for x, y, text, size, color, anchor, halo in self.texts:
            font = ImageFont.load_default(size)
            draw.text((x, y), text, f"#{color}", font, anchor, stroke_width=halo, stroke_fill="#05070A")
        return image

    def _description(self) -> str:
        geometry = self.geometry
        sizes = " x ".join(str(n) for n in reversed(geometry.shape))
        spacing = " x ".join(f"{s:.3g}" for s in geometry.spacing)
        parts = [self.volume.name, self.volume.modality or "", f"{sizes} voxels", f"{spacing} mm"]
        return "  ·  ".join(part for part in parts if part)

    def _panels(self, left: int, top: int) -> None:
        """Axial, coronal and sagittal slice and the 3D view; a single slice, as of a photograph, is shown alone."""
        thin = [view for view in ANATOMICAL_AXES if self.geometry.shape[self.geometry.array_axis(view)] == 1]
        if thin:
            self._slice_panel(left, top, 2 * PANEL + GAP, thin[0])
            return
        places = [(left + x, top + y) for y in (0, PANEL + GAP) for x in (0, PANEL + GAP)]
        for (x, y), view in zip([places[0], places[2], places[3]], ("axial", "coronal", "sagittal"), strict=True):
            self._slice_panel(x, y, PANEL, view)
        self._surface_panel(*places[1], PANEL)

    def _slice_panel(self, x: int, y: int, size: int, view: str) -> None:
        axis = self.geometry.array_axis(view)
        index = self._best_index(axis)
        plane = screen_plane(self.geometry, view, index, (size, size))
        image = slice_canvas(self.volume, self.mapping, plane)
        draw_segments(image, plane, self.segments, self.geometry, self.colors)
        for name, (box_axis, box_index, _) in self.boxes.items():
            if (box_axis, box_index) == (axis, index):
                draw_box(image, self._box_on(plane, name))
        self._paste(image, x, y)
        self._text(x + 18, y + 26, f"{view.capitalize()}  ·  {self._position(view, index)}", 20, halo=2)
        self._letters(x, y, size, plane.pixel_to_ras[:3, 0], plane.pixel_to_ras[:3, 1])
        self._scale_bar(x, y, size, plane.spacing[0])

    def _surface_panel(self, x: int, y: int, size: int) -> None:
        image, pixel = surface_canvas(self.volume, self.segments, self.colors, (size, size), SKY)
        self._paste(image, x, y)
        self._text(x + 18, y + 26, "3D", 20)
        if any(area[0].any() for area in self.areas.values()):
            self._letters(x, y, size, *view_directions()[:2])
            self._scale_bar(x, y, size, pixel)

    def _cards(self, left: int, top: int, width: int, height: int, columns: int) -> None:
        """The legend: one card a segment, with the slice it was prompted on."""
        rows = -(-len(self.segments) // columns)
        step = min((height + GAP) / rows, 240 + GAP)
        card_width = (width - (columns - 1) * GAP) // columns
        for n, name in enumerate(self.segments):
            x, y = left + n // rows * (card_width + GAP), top + round(n % rows * step)
            self._card(name, x, y, card_width, round(step) - GAP)

    def _card(self, name: str, x: int, y: int, width: int, height: int) -> None:
        area = self.canvas[y : y + height, x : x + width]
        edge = rectangle_distance(area.shape[:2], (0, 0), (width - 1, height - 1), 12)
        blend(area, _rgb(CARD), np.clip(0.5 - edge, 0, 1))
        pad = 12 if height > 90 else 5
        size = height - 2 * pad
        note = self._thumbnail(name, x + pad, y + pad, size)
        text = x + size + 2 * pad + 8
        room = x + width - pad - text
        large = int(np.clip(height / 8, 14, 28))
        middle = y + height / 2
        dot = rectangle_distance(
            self.canvas.shape[:2], *_square(text + large * 0.32, middle - 1.85 * large, large * 0.32), large * 0.32
        )
        blend(self.canvas, self.colors[name], np.clip(0.5 - dot, 0, 1))
        self._text(text + large, middle - 1.85 * large, name.replace("_", " "), large, INK, room=room - large)
        self._text(text, middle - 0.55 * large, note, int(0.68 * large) + 1, MUTED, room=room)
        volume = self.areas[name][0].sum() * np.prod(self.geometry.spacing) / 1000
        score = self.scores.get(name)
        self._text(text, middle + 0.85 * large, _millilitres(volume), large, INK)
        if score is not None:
            self._text(x + width - pad - 6, middle + 0.85 * large, f"Dice {score:.3f}", large, INK, "rm")
            self._bar(text, middle + 1.95 * large, room - 6, max(4.0, large / 4), score, self.colors[name])

    def _thumbnail(self, name: str, x: int, y: int, size: int) -> str:
        """The slice where the segment was prompted, around the prompt; returns what it shows in words."""
        if name in self.boxes:
            axis, index, _ = self.boxes[name]
        else:
            axis = self.geometry.array_axis("axial")
            index = int(self.areas[name][axis].argmax())
        view = view_of_axis(self.geometry, axis)
        points = [self.corners[name]] if name in self.boxes else []
        inside = np.argwhere(np.take(self.segments[name], index, axis=axis))
        if len(inside):
            ends = np.insert(np.array([inside.min(axis=0), inside.max(axis=0)]), axis, index, axis=1)
            points.append(self.geometry.ras_from_ijk(ends[:, ::-1]))
        field = None
        if points:
            corners = np.concatenate(points)
            lower, upper = corners.min(axis=0), corners.max(axis=0)
            field = ((lower + upper) / 2, float(max(1.35 * (upper - lower).max(), 24 * min(self.geometry.spacing))))
        plane = screen_plane(self.geometry, view, index, (size, size), field)
        image = slice_canvas(self.volume, self.mapping, plane)
        draw_segments(image, plane, {name: self.segments[name]}, self.geometry, self.colors)
        if name in self.boxes:
            draw_box(image, self._box_on(plane, name), width=1.6)
        self._paste(image, x, y, radius=8)
        place = f"{view} {self._position(view, index)}"
        if not self.areas[name][0].any():
            return "nothing found"
        return f"from one box, {place}" if name in self.boxes else place

    def _best_index(self, axis: int) -> int:
        """The slice that shows most of all segments, each counted in parts of its own largest area; or the middle.

        A slice with a prompt counts a little more, so that it is chosen where it shows as much.
        """
        merit = np.zeros(self.geometry.shape[axis])
        for areas in self.areas.values():
            merit += areas[axis] / max(areas[axis].max(), 1)
        for box_axis, box_index, _ in self.boxes.values():
            if box_axis == axis:
                merit[box_index] += 0.25
        return int(merit.argmax()) if merit.any() else len(merit) // 2

    def _box_corners(self, name: str) -> FloatArray:
        """Two opposite corners of the segment's box, RAS (2, 3)."""
        axis, index, (x0, y0, x1, y1) = self.boxes[name]
        return slice_plane(self.geometry, axis, index).ras_from_pixels([[x0, y0], [x1, y1]])

    def _box_on(self, plane: Plane, name: str) -> FloatArray:
        return plane.pixels_from_ras(self.corners[name])[:, :2]

    def _position(self, view: str, index: int) -> str:
        """Where a slice is in the world, as Slicer writes it: "S 112.5 mm"."""
        middle = (np.array(self.geometry.shape[::-1]) - 1) / 2
        middle[2 - self.geometry.array_axis(view)] = index
        axis = ANATOMICAL_AXES[view]
        value = float(self.geometry.ras_from_ijk(middle)[axis])
        return f"{'RAS'[axis] if value >= 0 else 'LPI'[axis]} {abs(value):.1f} mm"

    def _paste(self, image: Canvas, x: int, y: int, radius: float = 12) -> None:
        rows, cols = image.shape[:2]
        edge = rectangle_distance((rows, cols), (0, 0), (cols - 1, rows - 1), radius)
        opacity = np.clip(0.5 - edge, 0, 1)[..., None].astype(np.float32)
        area = self.canvas[y : y + rows, x : x + cols]
        area += opacity * (image - area)

    def _letters(self, x: int, y: int, size: int, right: FloatArray, down: FloatArray) -> None:
        for direction, at, anchor in (
            (right, (x + size - 16, y + size / 2), "rm"),
            (-right, (x + 16, y + size / 2), "lm"),
            (down, (x + size / 2, y + size - 20), "mm"),
            (-down, (x + size / 2, y + 26), "mm"),
        ):
            self._text(at[0], at[1], orientation_letters(direction), 22, LETTER, anchor, halo=2)

    def _scale_bar(self, x: int, y: int, size: int, pixel: float) -> None:
        length = _scale_length(size * pixel)
        left, bottom, pixels = x + 20, y + size - 24, length / pixel
        for grow, color, opacity in ((1.5, (0.0, 0.0, 0.0), 0.5), (0.0, _rgb(INK), 1.0)):
            self._rectangle(
                left - grow, bottom - 1.5 - grow, left + pixels + grow, bottom + 1.5 + grow, color, opacity
            )
        self._text(left, bottom - 17, f"{length:g} mm", 18, halo=2)

    def _bar(self, x: float, y: float, width: float, height: float, part: float, color: Colour) -> None:
        self._rectangle(x, y, x + width, y + height, _rgb("2C3541"), 1.0, height / 2)
        self._rectangle(x, y, x + max(width * min(max(part, 0), 1), height), y + height, color, 1.0, height / 2)

    def _rectangle(
        self, x0: float, y0: float, x1: float, y1: float, color: Colour, opacity: float, radius: float = 0
    ) -> None:
        left, top = int(x0) - 2, int(y0) - 2
        area = self.canvas[top : int(y1) + 3, left : int(x1) + 3]
        edge = rectangle_distance(area.shape[:2], (x0 - left, y0 - top), (x1 - left, y1 - top), radius)
        blend(area, color, opacity * np.clip(0.5 - edge, 0, 1))

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        color: str = INK,
        anchor: str = "lm",
        room: float = np.inf,
        halo: int = 0,
    ) -> None:
        """Note a text to be drawn; one longer than ``room`` pixels is cut. ``halo``: dark rim, for texts on images."""
        # Pillow's font has no accents and no other scripts: the letters below the accents are better than boxes.
        plain = unicodedata.normalize("NFKD", text)
        plain = "".join(c if c == "·" or " " <= c <= "~" else "?" for c in plain if not unicodedata.combining(c))
        font = ImageFont.load_default(size)
        if font.getlength(plain) > room:
            while plain and font.getlength(plain + "...") > room:
                plain = plain[:-1]
            plain = plain.rstrip() + "..."
        self.texts.append((x, y, plain, size, color, anchor, halo))


def _rgb(color: str) -> Colour:
    red, green, blue = (int(color[n : n + 2], 16) / 255 for n in (0, 2, 4))
    return red, green, blue


def _square(x: float, y: float, half: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (x - half, y - half), (x + half, y + half)


def _millilitres(volume: float) -> str:
    digits = 0 if volume >= 100 else 1 if volume >= 1 else 2
    return f"{volume:,.{digits}f} ml"


def _scale_length(field: float) -> float:
    """The round length in mm nearest below a quarter of the field of view."""
    power = 10.0 ** np.floor(np.log10(field / 4))
    return float(max(step * power for step in (1, 2, 5) if step * power <= field / 4 * (1 + 1e-9)))

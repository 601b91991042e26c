"""Organs in three dimensions, drawn by numpy alone: no display, GPU or system library is needed.

Parallel rays march through a smoothed mask up to its surface; light, occlusion and depth are added per pixel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.geometry.grid import BoolArray, FloatArray, transform_points
from AutoPromptSAMLib.picture.slices import Canvas, Colour, blend

FloatImage = NDArray[np.float32]

AZIMUTH, ELEVATION = 18.0, 12.0  # degrees from the front towards the patient's left, and upwards
LIGHT = np.array([-0.45, -0.65, -0.75])  # where it comes from: right, down, forward of the screen
GRID = 200  # voxels along a segment's longest side at most: beyond that a screen shows no difference
PROJECTION_STEP = 3  # pixels
HAZE, HAZE_OPACITY = (0.62, 0.72, 0.85), 0.45  # the projection behind the organs
BAND = 24  # rows marched at a time


@dataclass(frozen=True, eq=False)
class _Camera:
    """``screen_to_ras``: 4x4, maps (col, row, depth, 1) in pixels to RAS mm; depth grows away from the viewer."""

    screen_to_ras: FloatArray
    shape: tuple[int, int]
    pixel: float  # mm


@dataclass(frozen=True, eq=False)
class _Layer:
    """One segment on the screen: first pixel (row, col), light, depth in pixels and opacity, all (rows, cols)."""

    at: tuple[int, int]
    light: FloatImage
    gloss: FloatImage
    depth: FloatImage
    opacity: FloatImage


def view_directions() -> tuple[FloatArray, FloatArray, FloatArray]:
    """RAS unit vectors to the right, down and into the screen: from the front, patient left on the right."""
    azimuth, elevation = np.radians([AZIMUTH, ELEVATION])
    forward = -np.array([-np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return right, np.cross(forward, right), forward


def surface_canvas(
    volume: Volume,
    segments: Mapping[str, BoolArray],
    colors: Mapping[str, Colour],
    shape: tuple[int, int],
    background: tuple[Colour, Colour],
) -> tuple[Canvas, float]:
    """The segments (K, J, I) as lit surfaces on (rows, cols) pixels, and the size of a pixel in mm.

    Behind them is a faint projection of the volume's brightest voxels: bones in CT. ``background``: colours at the
    top and the bottom. Empty segments are left out.
    """
    ramp = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None, None]
    top, bottom = (np.array(c, dtype=np.float32) for c in background)
    canvas = np.broadcast_to(top + ramp * (bottom - top), (*shape, 3)).copy()
    crops = {name: crop for name, mask in segments.items() if not (crop := Crop.from_full(mask)).is_empty}
    if not crops:
        return canvas, 1.0
    geometry = volume.geometry
    camera = _camera(crops, geometry, shape)
    blend(canvas, HAZE, HAZE_OPACITY * _projection(volume, camera))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # scipy lets go of the interpreter while it interpolates
        marched = pool.map(lambda crop: _march(crop, geometry, camera), crops.values())
        layers = dict(zip(crops, marched, strict=True))
    far = max(float(layer.depth.max()) for layer in layers.values())
    near = min(float(layer.depth.min()) for layer in layers.values())
    depth = np.full((len(layers), *shape), np.inf, dtype=np.float32)
    seen = np.full(shape, np.inf, dtype=np.float32)
    for n, layer in enumerate(layers.values()):
        depth[n][_block(layer)] = np.where(layer.opacity > 0, layer.depth, np.inf)
        seen[_block(layer)] = np.minimum(seen[_block(layer)], np.where(layer.opacity > 0.5, layer.depth, np.inf))
    shade = _occlusion(seen)
    order = np.argsort(-depth, axis=0)  # the farthest first: every one covers those behind it
    paint = np.zeros((len(layers), *shape, 4), dtype=np.float32)
    for n, (name, layer) in enumerate(layers.items()):
        haze = 1 - 0.30 * (layer.depth - near) / max(far - near, 1.0)
        lit = (layer.light * haze)[..., None] * np.array(colors[name], dtype=np.float32)
        paint[n][_block(layer)] = np.concatenate(
            [np.minimum(lit + layer.gloss[..., None], 1), layer.opacity[..., None]], axis=2
        )
    for n in range(len(layers)):
        one = np.take_along_axis(paint, order[n][None, ..., None], axis=0)[0]
        canvas += one[..., 3:] * (one[..., :3] * shade[..., None] - canvas)
    return canvas, camera.pixel


def _block(layer: _Layer) -> tuple[slice, slice]:
    (row, col), (rows, cols) = layer.at, layer.depth.shape
    return slice(row, row + rows), slice(col, col + cols)


def _camera(crops: Mapping[str, Crop], geometry: VolumeGeometry, shape: tuple[int, int]) -> _Camera:
    """Parallel projection in which the segments fill three quarters of the screen."""
    directions = np.stack(view_directions())
    corners = np.concatenate([geometry.cropped(c.lower, c.mask.shape).corners for c in crops.values()]) @ directions.T
    lower, upper = corners.min(axis=0), corners.max(axis=0)
    pixel = float(max((upper[0] - lower[0]) / shape[1], (upper[1] - lower[1]) / shape[0]) / 0.86)
    matrix = np.eye(4)
    matrix[:3, :3] = directions.T * pixel
    middle = (lower + upper) / 2
    start = middle - pixel * np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0])
    start[2] = lower[2]
    matrix[:3, 3] = directions.T @ start
    return _Camera(matrix, shape, pixel)


def _projection(volume: Volume, camera: _Camera) -> FloatImage:
    """The brightest that each ray of the camera meets in the volume, (rows, cols) from 0 to 1."""
    grey = volume.array.mean(axis=3) if volume.is_colour else volume.array
    spacing = np.array(volume.geometry.spacing[::-1])
    coarse = PROJECTION_STEP * camera.pixel
    stride = np.maximum((coarse / spacing).astype(int), 1)
    field = grey[tuple(slice(None, None, s) for s in stride)].astype(np.float32)
    to_voxel = volume.geometry.ras_to_ijk @ camera.screen_to_ras
    scale, origin = to_voxel[2::-1, :3] / stride[:, None], to_voxel[2::-1, 3] / stride
    depths = transform_points(np.linalg.inv(camera.screen_to_ras), volume.geometry.corners)[:, 2]
    start = origin + scale[:, 2] * depths.min()
    matrix = scale[:, [1, 0, 2]] * PROJECTION_STEP
    shape = (*(-(-n // PROJECTION_STEP) + 1 for n in camera.shape), int(np.ptp(depths) / PROJECTION_STEP) + 1)
    rays = ndimage.affine_transform(field, matrix, start, shape, np.float32, order=1, cval=volume.minimum).max(axis=2)
    lower, upper = np.percentile(rays, [40, 99])
    rays = np.clip((rays - lower) / max(upper - lower, 1e-6), 0, 1)
    fine = ndimage.zoom(rays, PROJECTION_STEP, order=1)
    return fine[: camera.shape[0], : camera.shape[1]]


def _march(crop: Crop, geometry: VolumeGeometry, camera: _Camera) -> _Layer:
    """The surface of one segment as the camera sees it."""
    spacing = np.array(geometry.spacing[::-1])  # k, j, i
    size = np.array(crop.mask.shape) * spacing
    stride = np.maximum((size.max() / GRID / spacing).astype(int), 1)
    smooth = max(float((stride * spacing).max()), 1.5 * camera.pixel)  # mm; less shows the slices as terraces
    blur = np.minimum(smooth, np.maximum(size / 8, 0.4 * spacing)) / spacing  # a thin segment must not blur away
    pad = np.ceil(3 * blur).astype(int) + stride
    field = ndimage.gaussian_filter(np.pad(crop.mask, [(p, p) for p in pad]).astype(np.float32), blur, truncate=3)
    level = 0.5 * min(1.0, float(field.max()))
    field = field[tuple(slice(None, None, s) for s in stride)]
    to_voxel = geometry.ras_to_ijk @ camera.screen_to_ras  # (col, row, depth) -> (i, j, k)
    scale, origin = to_voxel[2::-1, :3] / stride[:, None], (to_voxel[2::-1, 3] - crop.lower + pad) / stride
    # Screen bounds of the field, in whole pixels.
    ends = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (np.array(field.shape) - 1)
    screen = (ends - origin) @ np.linalg.inv(scale).T
    lower, upper = np.floor(screen.min(axis=0)).astype(int), np.ceil(screen.max(axis=0)).astype(int) + 1
    lower[:2], upper[:2] = np.maximum(lower[:2], 0), np.minimum(upper[:2], camera.shape[::-1])
    cols, rows = upper[:2] - lower[:2]
    step = max(1.0, 0.4 * smooth / camera.pixel)  # pixels of depth
    depths = int(np.ceil((upper[2] - lower[2]) / step)) + 1
    matrix = scale[:, [1, 0, 2]] * [1, 1, step]  # (row, col, depth step) -> (k, j, i)
    start = origin + scale @ lower
    peak, hit = np.zeros((rows, cols), np.float32), np.zeros((rows, cols), np.float32)
    # Most rays cross much empty space: march each band of rows only where the segment is, with its blur around it.
    used = (np.argwhere(field[::2, ::2, ::2] > 0.05) * 2.0 - origin) @ np.linalg.inv(scale).T - lower
    reach = 3 * float(np.linalg.norm(stride * spacing)) / camera.pixel
    for top in range(0, rows, BAND):
        near = used[np.abs(used[:, 1] - top - BAND / 2) < BAND / 2 + reach]
        if not len(near):
            continue
        first = np.maximum(np.floor((near.min(axis=0) - reach) / [1, 1, step]), 0).astype(int)
        last = np.minimum(np.ceil((near.max(axis=0) + reach) / [1, 1, step]), [cols, rows, depths]).astype(int)
        band = slice(top, min(top + BAND, rows)), slice(first[0], last[0])
        corner = start + matrix @ [top, first[0], first[2]]
        size_of_band = (band[0].stop - top, last[0] - first[0], last[2] - first[2])
        block = ndimage.affine_transform(field, matrix, corner, size_of_band, np.float32, order=1)
        peak[band] = block.max(axis=2)
        hit[band] = _first_crossing(block, level) + first[2]
    slope = np.hypot(*np.gradient(peak))
    opacity = np.clip((peak - level) / np.maximum(slope, 1e-3) + 0.5, 0, 1)
    row, col = np.indices((rows, cols), dtype=np.float32)
    position = start[:, None, None] + np.tensordot(matrix, np.stack([row, col, hit]), axes=1)
    normal = _normals(field, position, scale, reach=max(1.5, 0.8 * smooth / camera.pixel))
    light, gloss = _light(normal)
    depth = (lower[2] + hit * step).astype(np.float32)
    return _Layer((int(lower[1]), int(lower[0])), light, gloss, depth, opacity.astype(np.float32))


def _first_crossing(block: NDArray[np.float32], level: float) -> FloatImage:
    """Where along the last axis the values first rise through ``level``; where they never do, their maximum."""
    inside = block > level
    first = np.where(inside.any(axis=2), inside.argmax(axis=2), block.argmax(axis=2))
    here = np.take_along_axis(block, first[..., None], axis=2)[..., 0]
    before = np.take_along_axis(block, np.maximum(first - 1, 0)[..., None], axis=2)[..., 0]
    part = np.clip((here - level) / np.maximum(here - before, 1e-6), 0, 1)
    return (first - part).astype(np.float32)


def _normals(field: FloatImage, position: FloatArray, scale: FloatArray, reach: float) -> FloatArray:
    """Outward unit normals (3: right, down, forward; rows, cols) by central differences over ``reach`` pixels."""
    normal = np.empty((3, *position.shape[1:]), dtype=np.float32)
    for axis in range(3):
        offset = (scale[:, axis] * reach)[:, None, None]
        after, before = (ndimage.map_coordinates(field, position + s * offset, np.float32, order=1) for s in (1, -1))
        normal[axis] = before - after
    return normal / np.maximum(np.linalg.norm(normal, axis=0), 1e-6)


def _light(normal: FloatArray) -> tuple[FloatImage, FloatImage]:
    """Brightness and gloss (rows, cols): wrapped Lambert light, darker where the surface turns away (Phong gloss)."""
    light = LIGHT / np.linalg.norm(LIGHT)
    diffuse = np.tensordot(light, normal, axes=1) * 0.5 + 0.5
    facing = np.clip(-normal[2], 0, 1)
    halfway = light + np.array([0.0, 0.0, -1.0])
    gloss = np.clip(np.tensordot(halfway / np.linalg.norm(halfway), normal, axes=1), 0, 1) ** 36
    brightness = (0.22 + 0.93 * diffuse**1.6) * (0.45 + 0.55 * facing**0.6)
    return brightness.astype(np.float32), (0.22 * gloss).astype(np.float32)


def _occlusion(depth: FloatImage) -> FloatImage:
    """How much light reaches each pixel, 0 to 1: less where the surroundings are nearer (Luft et al. 2006).

    ``depth``: (rows, cols) in pixels, infinite where there is nothing.
    """
    there = np.isfinite(depth)
    filled, weight = np.where(there, depth, 0), there.astype(np.float32)
    shade = np.ones_like(depth)
    for part in (0.008, 0.027):  # of the width: creases of one organ, and organs before others
        radius, reach = part * depth.shape[1], 4 * part * depth.shape[1]
        around = ndimage.gaussian_filter(filled, radius, truncate=2)
        around /= np.maximum(ndimage.gaussian_filter(weight, radius, truncate=2), 1e-3)
        shade -= np.clip(np.where(there, depth - around, 0) / reach, 0, 0.35)
    return ndimage.minimum_filter(shade, 3)  # edges are blends of two surfaces; the brighter one must not shine out

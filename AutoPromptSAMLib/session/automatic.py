"""Automatic prompting of a session's image by a set of supports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets import native_axis
from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane, VolumeGeometry, paste_mask, slab_thickness
from AutoPromptSAMLib.geometry.views import radiological_plane, view_of
from AutoPromptSAMLib.loops.automatic import AutomaticSlices, AutomaticStack, prompt_slices
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.prompts import PixelPrompts, Prompt, on_plane
from AutoPromptSAMLib.session.image import SessionImage, rules, united
from AutoPromptSAMLib.session.protocol import AutomaticResult
from AutoPromptSAMLib.session.seeds import seed_slices
from AutoPromptSAMLib.supports.pairs import SupportSet

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.supports.pool import SupportPool

OnSlice = Callable[[str, int, Crop, float], None]


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be prompted: ``objects`` on slices ``first`` to ``last`` of an image along array axis ``axis``.

    ``prompts`` are a person's, by object.
    """

    image: SessionImage
    axis: int
    first: int
    last: int
    objects: tuple[str, ...]
    prompts: Mapping[str, tuple[Prompt, ...]]

    @staticmethod
    def of(
        image: SessionImage,
        axis: int,
        first: int,
        last: int | None,
        objects: tuple[str, ...],
        prompts: Mapping[str, tuple[Prompt, ...]],
    ) -> Target:
        """Raises GeometryError for an axis that there is not or a range without any slice of the image."""
        if axis not in (0, 1, 2):
            raise GeometryError(f"A volume has array axes 0 (k), 1 (j) and 2 (i), not {axis}; choose one of them.")
        count = image.volume.geometry.shape[axis]
        lower, upper = max(first, 0), count - 1 if last is None else min(last, count - 1)
        if lower > upper:
            raise GeometryError(f"The slices {first} to {last} are outside the volume, which has 0 to {count - 1}.")
        return Target(image, axis, lower, upper, objects, prompts)


class Automatic:
    """A set of supports, made ready for a backbone by the first job that needs it. PromptError without any pair."""

    def __init__(self, supports: SupportSet) -> None:
        if not supports.pairs:
            raise PromptError(f'"{supports.name}" has no annotated image yet; add one.')
        self.supports = supports
        self._pool: SupportPool | None = None
        # What runs found on one image along one axis: a run over some slices is looked at together with the others.
        self._found: tuple[str, dict[str, dict[int, SliceMask]]] = ("", {})

    def checked_objects(self, objects: Sequence[str] | None) -> tuple[str, ...]:
        """The objects to look for, default all that are annotated; PromptError for one that is not."""
        annotated = {name for pair in self.supports.pairs for name in pair.objects}
        if objects is None:
            return tuple(name for name in self.supports.names if name in annotated)
        for name in objects:
            if name not in annotated:
                raise PromptError(f'No annotated image of "{self.supports.name}" shows "{name}"; add one that does.')
        if not objects:
            raise PromptError("No object is asked for; name at least one.")
        return tuple(dict.fromkeys(objects))

    def axis(self, geometry: VolumeGeometry) -> int:
        """The array axis whose slices are what most supports show, else the one that the image was taken along."""
        views = [pair.view for pair in self.supports.pairs if pair.view is not None]
        if not views or geometry.shape[0] == 1:
            return native_axis(geometry)
        return geometry.array_axis(max(sorted(set(views)), key=views.count))

    def run(
        self,
        target: Target,
        backbone: Backbone,
        cache: EmbeddingCache,
        memory: SliceMemory,
        control: Control,
        on_slice: OnSlice | None,
    ) -> AutomaticResult:
        """Find the target's objects; on the session's thread."""
        started = time.perf_counter()
        geometry = target.image.volume.geometry
        seconds = {"encode": 0.0, "prompt": 0.0}
        planes = [radiological_plane(geometry, target.axis, n) for n in range(geometry.shape[target.axis])]
        slab = slab_thickness(planes[0], geometry)

        def prompts(index: int) -> dict[str, PixelPrompts]:
            on = {name: on_plane(given, planes[index], slab) for name, given in target.prompts.items()}
            return {name: here for name, here in on.items() if not here.is_empty}

        @lru_cache(maxsize=1)  # a slice is asked for several times in a row
        def image(index: int) -> NDArray[np.uint8]:
            return target.image.pixels(planes[index])

        @lru_cache(maxsize=2)
        def encoded(index: int, as_learned: bool) -> Features:
            before = time.perf_counter()
            found = cache.get_or_encode(pool.prompter.backbone if as_learned else backbone, image(index))
            seconds["encode"] += time.perf_counter() - before
            return found

        def features(index: int, by: Backbone) -> Features:
            return encoded(index, by is not backbone)  # a task may have changed the model

        def show(name: str, index: int, answer: SliceMask) -> None:
            if on_slice is not None:
                on_slice(name, index, paste_mask(answer.mask, planes[index], geometry), answer.agreement)

        view = view_of(geometry, target.axis) if geometry.shape[0] > 1 else None
        pool = self._ready(backbone, cache, control, view)
        seconds["encode"] += time.perf_counter() - started
        prompted = {n for given in target.prompts.values() for n in seed_slices(given, geometry, target.axis)}
        known = {n: here for n in sorted(prompted) if (here := prompts(n))}
        identity = f"{target.image.identity}\n{target.axis}\n{backbone.fingerprint}\n{rules()}"
        stack = AutomaticStack(image, features, known, identity)
        wanted = range(target.first, target.last + 1)
        if self._found[0] != identity:
            self._found = (identity, {})
        around = self._found[1]
        found = prompt_slices(backbone, pool, stack, target.objects, wanted, memory, control, show, around)
        for name, slices in found.before.items():
            around.setdefault(name, {}).update({index: answer.lean for index, answer in slices.items()})
        seconds["total"] = time.perf_counter() - started
        seconds["prompt"] = seconds["total"] - seconds["encode"]
        return _result(found, planes, target, seconds)

    def _ready(self, backbone: Backbone, cache: EmbeddingCache, control: Control, view: str | None) -> SupportPool:
        """The supports to choose from for slices seen from ``view``, to which a run may add its own."""
        if self._pool is None:
            from AutoPromptSAMLib.supports import encode
            from AutoPromptSAMLib.supports.pool import SupportPool

            pool = SupportPool(*encode.prompter_for(backbone, self.supports))
            pairs = self.supports.pairs
            for number, pair in enumerate(pairs):
                control.check()
                control.report(number, len(pairs), "Reading the supports")
                support = encode.encode_pairs(pool.prompter.backbone, cache, [pair])[0]
                pool.add(support, pair.id, pair.objects, pair.view)
            self._pool = pool
        return self._pool.copy(view)


def _result(
    found: AutomaticSlices, planes: Sequence[Plane], target: Target, seconds: Mapping[str, float]
) -> AutomaticResult:
    geometry = target.image.volume.geometry
    masks, confidence = {}, {}
    for name, slices in found.slices.items():
        masks[name] = united(paste_mask(answer.mask, planes[n], geometry) for n, answer in slices.items())
        confidence[name] = {n: slices[n].agreement for n in sorted(slices) if not slices[n].is_empty}
    return AutomaticResult(
        masks, confidence, target.axis, found.complete, seconds, found.decoded, dict(found.corrected)
    )

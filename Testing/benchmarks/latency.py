"""From a prompt to a segment in the MRML scene, once the slice is encoded: median and its parts.

Twenty prompts on the sample CT, boxes a few pixels off around four organs and clicks in and beside them, go through
``LocalSession.segment`` and ``SegmentWriter.write`` on a scene of slicer-core, as in a host.

    python Testing/benchmarks/latency.py
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import common
import numpy as np
import torch

from AutoPromptSAMLib.geometry import Plane, slice_plane
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation, slice_region
from AutoPromptSAMLib.mrml.volumes import volume_from_node, volume_to_node
from AutoPromptSAMLib.prompts import Box, Point, Prompt

ORGANS = ["liver", "spleen", "kidney_right", "kidney_left"]
BOXES, CLICKS = 3, 2  # for each organ; a click comes after the first box, on the same slice
TARGET_MS = 250


def prompts(data: common.Labelled, name: str, rng: np.random.Generator) -> Iterator[tuple[Plane, list[Prompt]]]:
    """Planes and what is put on them: boxes, each on a slice of its own, then a box with clicks beside it."""
    truth = data.truth(name)
    areas = truth.sum(axis=(1, 2))
    indices = rng.permutation(np.flatnonzero(areas > 0.3 * areas.max()))[:BOXES]
    for number, index in enumerate(indices):
        plane = slice_plane(data.volume.geometry, 0, int(index))
        x0, y0, x1, y1 = np.array(common.tight_box(truth[index])) + rng.integers(-4, 5, 4)
        box = Box.on_plane(plane, (x0, y0, max(x1, x0 + 4), max(y1, y0 + 4)))
        yield plane, [box]
        if number == 0:
            for positive in (True, False)[:CLICKS]:
                rows, cols = np.nonzero(truth[index] == positive)
                near = (cols > x0 - 20) & (cols < x1 + 20) & (rows > y0 - 20) & (rows < y1 + 20)
                at = rng.choice(np.flatnonzero(near))
                click = Point(plane.ras_from_pixels([[float(cols[at]), float(rows[at])]])[0], positive=positive)
                yield plane, [box, click]


def main() -> None:
    arguments = common.parser(__doc__.split("\n")[0])
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    data = common.load(None, None)
    rng = np.random.default_rng(options.seed)
    cases = [(name, *case) for name in ORGANS for case in prompts(data, name, rng)]
    figures = []
    with create_scene() as context:
        volume_node = volume_to_node(data.volume, context.scene, "CT")
        volume = volume_from_node(volume_node)
        session = common.open_session(options.model, volume)
        writer = SegmentWriter(create_segmentation(volume_node), volume_node)
        segments = {name: writer.add_segment(name) for name in ORGANS}
        for warm_up in (True, False):  # the first round encodes every slice and warms torch up
            for number, (name, plane, given) in enumerate(cases):
                session.set_image(volume)
                for prompt in given[:-1]:
                    session.add_prompt(name, prompt)
                started = time.perf_counter()
                session.add_prompt(name, given[-1])
                result = session.segment(name, plane).result()
                segmented = time.perf_counter()
                assert plane.axis is not None
                assert plane.index is not None
                region = slice_region(volume.geometry, plane.axis, plane.index)
                writer.write(segments[name], result.mask, region=region)
                ended = time.perf_counter()
                if not warm_up:
                    ms = {stage: 1000 * seconds for stage, seconds in result.seconds.items()}
                    ms |= {"write": 1000 * (ended - segmented), "total": 1000 * (ended - started)}
                    kind = "box" if isinstance(given[-1], Box) else "click"
                    figures.append({"number": number, "name": name, "kind": kind, **ms})
        writer.close()
        session.close()
    stages = ["encode", "decode", "paste", "write", "total"]
    print(f"{options.model}, {common.machine()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}\n")
    print(f"| prompts | n | {' | '.join(stages)} (median ms) |\n|{' --- |' * (len(stages) + 2)}")
    for kind in ("box", "click", "all"):
        of = [f for f in figures if kind in (f["kind"], "all")]
        medians = [f"{np.median([f[stage] for f in of]):.0f}" for stage in stages]
        print(f"| {kind} | {len(of)} | {' | '.join(medians)} |")
    print(f"\nencode: reading the stored features from the cache. Target: {TARGET_MS} ms in all.")
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": common.machine(), "prompts": figures}, indent=1))


if __name__ == "__main__":
    main()

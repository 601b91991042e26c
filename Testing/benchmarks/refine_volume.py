"""What "Refine automatically" on all slices does to a segmentation of the sample CT: 3D Dice before and after.

From a good start (one tight box, propagated) and from a poor one (every slice from a box of its own, whose IoU with
the tight one is random), as ``bench uncertainty --parts human`` has them. Through ``LocalSession``, as a host does.

    python Testing/benchmarks/refine_volume.py
"""

from __future__ import annotations

import argparse

import common

from AutoPromptSAMLib.datasets import load_case, native_axis
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.uncertainty.draws import sample_set
from AutoPromptSAMLib.evaluation.uncertainty.volumes import STARTS, begun, finished
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.session.review import exchanged


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--model", default="lite-medsam")
    arguments.add_argument("--seed", type=int, default=0, help="of the poor start's boxes")
    options = arguments.parse_args()
    dataset = sample_set()
    case = load_case(dataset, dataset.pairs[0])
    axis = native_axis(case.volume.geometry)
    session = common.open_session(options.model, case.volume)
    print(f"{'organ':14s} {'start':7s} {'before':>6s} {'after':>6s}  slices that changed")
    for name, truth in case.masks.items():
        for start in STARTS:
            mask = begun(session, case, name, axis, start, options.seed)
            session.clear_prompts(name)  # a mask as it comes from anywhere
            found = finished(session.refine(name, Crop.from_full(mask), axis))
            better = {index: each.best.mask for index, each in found.slices.items() if each.improved}
            after = exchanged(Crop.from_full(mask), axis, better).to_full(mask.shape)
            numbers = f"{dice(mask, truth):6.3f} {dice(after, truth):6.3f}"
            print(f"{name:14s} {start:7s} {numbers}  {len(better)} of {len(found.slices)}", flush=True)
    session.close()


if __name__ == "__main__":
    main()

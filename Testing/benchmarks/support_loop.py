"""Organs of the sample CT from the labels of some of its slices: 3D Dice on all others, and seconds.

    python Testing/benchmarks/support_loop.py [--task FILE] [--organs liver,spleen] [--limit 24] [--model lite-medsam]

The slices that are supports do not count. "raw" is before the rule for all slices together.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.images import load_labels, load_volume
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.supports import SupportSet, pairs_from_volume
from AutoPromptSAMLib.supports.pairs import as_objects
from AutoPromptSAMLib.zoo import home, sample_ct


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", type=Path)
    parser.add_argument("--organs", default="spleen,kidney_right,kidney_left,liver,aorta")
    parser.add_argument("--limit", type=int, default=24, help="slices that are supports")
    parser.add_argument("--together", action="store_true", help="all organs at once, in place of one by one")
    parser.add_argument("--model", default="lite-medsam")
    given = parser.parse_args()
    ct = sample_ct()
    volume = load_volume(ct.image)
    labels = load_labels(ct.labels, volume.geometry)
    values = {name: value for value, name in ct.names.items()}
    session = LocalSession(load_backbone(given.model), EmbeddingCache(home() / "embeddings"))
    session.set_image(volume)
    organs = given.organs.split(",")
    tasks = {} if given.task is None else {given.model: given.task}
    print(
        f"{'organ':14} {'supports':>8} {'Dice':>6} {'raw':>6} {'wrongly filled':>15} {'s/slice':>8} {'prompting':>10}"
    )
    for names in [organs] if given.together else [[organ] for organ in organs]:
        truth = {name: labels == values[name] for name in names}
        pairs = pairs_from_volume(volume, truth, given.limit)
        used = {int(pair.name.split()[-1]) for pair in pairs}
        others = np.array([index not in used for index in range(len(labels))])
        session.set_supports(SupportSet("", "sample", as_objects(names), tuple(pairs), tasks))
        raw = {name: np.zeros(labels.shape, dtype=bool) for name in names}
        seen: set[tuple[str, int]] = set()

        def show(name: str, index: int, mask, sure: float) -> None:  # type: ignore[no-untyped-def]
            if (name, index) not in seen:  # noqa: B023 - called within this turn only
                seen.add((name, index))  # noqa: B023
                raw[name][mask.slices] |= mask.mask  # noqa: B023

        started = time.perf_counter()
        result = session.prompt_automatically(on_slice=show).result()
        seconds = (time.perf_counter() - started) / len(labels)
        for name in names:
            found = result.masks[name].to_full(labels.shape)
            there = truth[name].any(axis=(1, 2))
            wrong = int((found.any(axis=(1, 2)) & ~there & others).sum())
            print(
                f"{name:14} {len(pairs):8} {dice(found[others], truth[name][others]):6.3f} "
                f"{dice(raw[name][others], truth[name][others]):6.3f} {wrong:6} of {int((others & ~there).sum()):5} "
                f"{seconds:8.2f} {result.seconds['prompt'] / len(labels):10.2f}",
                flush=True,
            )
    session.close()


if __name__ == "__main__":
    main()

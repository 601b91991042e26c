"""Dice of the volume loop from one box a structure, and after simulated correction clicks.

Goes through ``LocalSession`` as a user would: the tight box on the slice of largest area, propagate; then, N times, a
click in the middle of the largest wrong region of the worst slice, propagate again. Without ``--image`` on the sample
CT. The first run encodes every slice that is visited (0.7 s each on two cores), later ones find them on disk.

    python Testing/benchmarks/volume_loop.py --clicks 5
    python Testing/benchmarks/volume_loop.py --axis sagittal --out sagittal.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import common

from AutoPromptSAMLib.evaluation.quality.volumes import segment_volume
from AutoPromptSAMLib.session.local import LocalSession

ORGANS = "spleen,kidney_right,kidney_left,liver,aorta"


@dataclass
class Figures:
    """A structure's Dice after 0, 1, ... clicks, with what was clicked and how long it took."""

    name: str
    dice: list[float]
    seconds: list[float]
    slices: list[tuple[int, int]]
    clicks: list[str]


def measure(session: LocalSession, data: common.Labelled, name: str, axis: int, clicks: int) -> Figures:
    """One box, then ``clicks`` corrections."""
    answer = segment_volume(session, name, data.truth(name), axis, clicks)
    at = [data.volume.geometry.ijk_from_ras(click.ras[None])[0].round().astype(int) for click in answer.clicks]
    signs = ["+" if click.positive else "-" for click in answer.clicks]
    return Figures(
        name,
        [round(value, 4) for value in answer.trace],
        [round(value, 2) for value in answer.seconds],
        answer.slices,
        [f"{sign}({', '.join(map(str, ijk))})" for sign, ijk in zip(signs, at, strict=True)],
    )


def table(figures: list[Figures], clicks: int) -> str:
    """Markdown: a row for each structure."""
    head = ["structure", "slices", *(f"{n} click{'s' * (n != 1)}" for n in range(clicks + 1)), "s for the box"]
    head += ["s per click"] * bool(clicks)
    rows = [head, ["---"] * len(head)]
    for f in figures:
        dice = [f"{value:.3f}" for value in f.dice] + [""] * (clicks + 1 - len(f.dice))
        row = [f.name, f"{f.slices[0][0]}-{f.slices[0][1]}", *dice, f"{f.seconds[0]:.0f}"]
        if clicks:
            row.append(f"{sum(f.seconds[1:]) / max(1, len(f.seconds) - 1):.0f}")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    arguments = common.parser(__doc__.split("\n")[0])
    arguments.add_argument("--axis", choices=["axial", "sagittal", "coronal"], default="axial")
    arguments.add_argument("--organs", default=ORGANS, help="structures, separated by commas")
    arguments.add_argument("--clicks", type=int, default=0, help="simulated corrections")
    arguments.add_argument("--image", type=Path, help="another image, with --labels; --organs then are name=number")
    arguments.add_argument("--labels", type=Path, help="label numbers on the grid of --image")
    options = arguments.parse_args()
    organs = dict(pair.partition("=")[::2] for pair in options.organs.split(","))
    numbers = {name: int(number) for name, number in organs.items()} if options.image is not None else None
    data = common.load(options.image, options.labels, numbers)
    axis = data.volume.geometry.array_axis(options.axis)
    session = common.open_session(options.model, data.volume)
    figures = []
    for name in organs:
        figures.append(measure(session, data, name, axis, options.clicks))
        print(figures[-1], flush=True)
        if options.out is not None:
            report = {"model": options.model, "axis": options.axis, "machine": common.machine()}
            options.out.write_text(json.dumps(report | {"structures": [asdict(f) for f in figures]}, indent=1))
    session.close()
    print(f"\n{options.model}, {options.axis}, {common.machine()}\n\n{table(figures, options.clicks)}")


if __name__ == "__main__":
    main()

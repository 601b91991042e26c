"""Whether what was hoped for holds, each with the figure that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from AutoPromptSAMLib.evaluation.uncertainty import summary
from AutoPromptSAMLib.evaluation.uncertainty.images import POINTS, STARTS
from AutoPromptSAMLib.evaluation.uncertainty.records import Record
from AutoPromptSAMLib.evaluation.uncertainty.runner import UNSCALED
from AutoPromptSAMLib.evaluation.uncertainty.summary import Group
from AutoPromptSAMLib.evaluation.uncertainty.volumes import GOALS
from AutoPromptSAMLib.evaluation.uncertainty.volumes import STARTS as REVIEWED

# Goals; Dice as parts of 1.
GAIN_POOR, GAIN_FAIR, LOSS_TIGHT = 0.12, 0.02, 0.005
GAIN_CLICK = 0.15
LEAST_AUROC, MOST_ERROR = 0.90, 0.05
LEAST_SHARE, LEAST_SAVED = 0.5, 0.4
MOST_DECODES, MOST_SECONDS = 4.0, 0.5


@dataclass(frozen=True)
class Verdict:
    """A goal, for which model, what was measured, and whether it holds; None where the goal is not about the model."""

    part: str
    model: str
    goal: str
    measured: str
    holds: bool | None


def verdicts(records: Sequence[Record]) -> list[Verdict]:
    """All goals that something was measured for, in the order of the parts."""
    found = []
    for judge in (_boxes, _points, _click, _errors, _slices, _cost, _human):
        found += judge(records)
    return found


def _boxes(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "boxes")
    rows = []
    for model, adapted in summary.models(found):

        def say(goal: str, text: str, holds: bool, model: str = model, adapted: bool = adapted) -> None:
            rows.append(Verdict("boxes", model, goal, text, holds if adapted else None))

        for way, what in (("guarded", "guarded UGPA"), ("ugpa", "UGPA alone")):
            gains = {start: summary.gains(found, model, f"{start}/{way}", f"{start}/single") for start in STARTS}
            for start, least in (("0.5", GAIN_POOR), ("0.75", GAIN_FAIR)):
                value = summary.mean(gains[start])
                if value is not None:
                    goal = f"boxes at IoU {start}: {what} at least {least:+.2f} over the plain model's single box"
                    say(goal, f"{value:+.3f} over {len(gains[start])} sets", value >= least)
            if gains["tight"]:
                worst = min(gains["tight"], key=lambda name: gains["tight"][name])
                value = gains["tight"][worst]
                goal = f"tight boxes: {what} costs at most {LOSS_TIGHT} on any set"
                say(goal, f"{value:+.3f} on {worst}", value >= -LOSS_TIGHT)
        means = {
            way: {
                start: summary.mean(summary.over_sets(found, model, partial(_mean, f"{start}/{way}")))
                for start in STARTS
            }
            for way in ("ugmp", "ugpa", "always")
        }
        if not any(value is None for each in means.values() for value in each.values()):
            refined = {start: (means["ugpa"][start] or 0) - (means["ugmp"][start] or 0) for start in STARTS}
            rows.append(
                Verdict(
                    "boxes", model, "E1: refining helps more at IoU 0.5 than at 0.75",
                    f"{refined['0.5']:+.3f} and {refined['0.75']:+.3f} over UGMP", refined["0.5"] > refined["0.75"],
                )
            )  # fmt: skip
            better = {start: (means["ugpa"][start] or 0) - (means["always"][start] or 0) for start in STARTS}
            text = ", ".join(f"{start} {value:+.3f}" for start, value in better.items())
            rows.append(
                Verdict(
                    "boxes", model, "E3: the acceptance rule is better than always accepting, on average",
                    f"{np.mean(list(better.values())):+.3f} ({text})", bool(np.mean(list(better.values())) > 0),
                )
            )  # fmt: skip
    return rows


def _points(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "points")
    rows = []
    for model, adapted in summary.models(found):
        changes = {
            (start, count): summary.mean(
                summary.over_sets(found, model, partial(_change, f"{start}/+{count}", f"{start}/+0"))
            )
            for start in STARTS[1:]
            for count in POINTS[1:]
        }
        known = {place: value for place, value in changes.items() if value is not None}
        if len(known) < len(changes):
            continue
        text = ", ".join(f"IoU {start} +{count}: {value:+.3f}" for (start, count), value in known.items())
        goal = f"E2: points beside a box {'help' if adapted else 'hurt without an adapter'}"
        rows.append(Verdict("points", model, goal, text, all((v > 0) == adapted and v != 0 for v in known.values())))
    return rows


def _click(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "click")
    rows = []
    for model, adapted in summary.models(found):
        if not adapted:
            continue
        for figure, base, goal, least in (
            ("raw", "raw", f"one click, one decode: at least {GAIN_CLICK:+.2f} over the plain model", GAIN_CLICK),
            ("raw", "interactive", "one click, one decode, against the plain model's search for a box", None),
            ("interactive", "interactive", "one click by the slice loop, with and without the adapter", None),
        ):
            values = summary.gains(found, model, figure, base)
            value = summary.mean(values)
            if value is not None:
                holds = None if least is None else value >= least
                rows.append(Verdict("click", model, goal, f"{value:+.3f} over {len(values)} sets", holds))
    return rows


def _errors(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "errors")
    rows = []
    for model, _ in summary.models(found):
        for mask, what in (("mean", "the mean map's mask"), ("single", "a single decode's mask")):
            for start in STARTS:
                values = summary.over_sets(found, model, partial(_mean, f"{start}/auroc/{mask}"))
                value = summary.mean(values)
                if value is not None:
                    goal = f"AUROC for wrong pixels of {what} at least {LEAST_AUROC}, box {start}"
                    text = f"{value:.3f} over {len(values)} sets (least {min(values.values()):.3f})"
                    rows.append(Verdict("errors", model, goal, text, value >= LEAST_AUROC))
        names = dict.fromkeys(
            name.split("/")[2] for g in found for name in g.records[0].tables if "/reliability/" in name
        )
        for name in names:
            values = summary.over_sets(found, model, partial(_calibration, name))
            value = summary.mean(values)
            if value is not None:
                goal = f"expected calibration error at most {MOST_ERROR}, temperature: {name}"
                text = f"{value:.3f} over {len(values)} sets (most {max(values.values()):.3f})"
                holds = None if name == UNSCALED else value <= MOST_ERROR
                rows.append(Verdict("errors", model, goal, text, holds))
    return rows


def _slices(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "slices")
    rows = []
    for model, _ in summary.models(found):
        for figure, what, is_goal in (
            ("share", "least sure", True),
            ("share/error", "with most expected wrong voxels", False),
            ("share/best", "truly worst", False),
        ):
            values = summary.over_sets(found, model, partial(_mean, figure))
            value = summary.mean(values)
            if value is not None:
                goal = f"the 20 % of slices {what} hold" + (f" at least {LEAST_SHARE:.0%}" if is_goal else "")
                text = f"{value:.1%} of the error over {len(values)} sets"
                rows.append(Verdict("slices", model, goal, text, value >= LEAST_SHARE if is_goal else None))
    return rows


def _cost(records: Sequence[Record]) -> list[Verdict]:
    rows = []
    for group in summary.groups(records, "cost"):
        seconds = {name: group.mean(f"512/{name}") for name in ("single", "round", "ugmp + round")}
        single, one, both = seconds.values()
        if single is None or one is None or both is None:
            continue
        for text, value, is_goal in (("one UGPA round", one, True), ("UGMP and one round", both, False)):
            goal = f"{text}: at most {MOST_DECODES:g} single decodes and {MOST_SECONDS} s"
            measured = f"{value / single:.2f} decodes, {value:.3f} s"
            is_cheap = value <= MOST_DECODES * single and value <= MOST_SECONDS
            rows.append(Verdict("cost", group.model, goal, measured, is_cheap if is_goal else None))
    return rows


def _human(records: Sequence[Record]) -> list[Verdict]:
    found = summary.groups(records, "human")
    rows = []
    for model, _ in summary.models(found):
        for start in REVIEWED:
            for goal in GOALS:
                counted = summary.counts(found, model, start, goal)
                if not counted.objects:
                    continue
                what = f"3D Dice {goal:.2f} from a {start} start: at least {LEAST_SAVED:.0%} fewer corrected slices"
                if counted.saved is None:
                    rows.append(Verdict("human", model, what, "there was nothing to correct", None))
                    continue
                word = "fewer" if counted.saved >= 0 else "more"
                text = (
                    f"{abs(counted.saved):.0%} {word} ({counted.ranked:g} against {counted.in_order:g} slices, "
                    f"{counted.objects} objects)"
                )
                holds = counted.saved >= LEAST_SAVED if goal == GOALS[0] else None
                rows.append(Verdict("human", model, what, text, holds))
    return rows


def _mean(name: str, group: Group) -> float | None:
    return group.mean(name)


def _calibration(temperature: str, group: Group) -> float | None:
    return summary.over_starts(partial(group.calibration, temperature=temperature))


def _change(name: str, before: str, group: Group) -> float | None:
    return summary.gain(group, name, group, before)

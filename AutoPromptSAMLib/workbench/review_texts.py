"""The review in the words of a panel that is made once: rows, labels, and which of its buttons can be pressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from AutoPromptSAMLib.workbench.language import tr as _

if TYPE_CHECKING:
    from AutoPromptSAMLib.workbench.review_desk import ReviewSummary


@dataclass(frozen=True)
class ReviewTexts:
    """What a panel shows. ``rows``: text, slice and explanation of each unsure slice.

    ``looked``: whether there is anything to accept or save. A label that is "" has nothing to say, and what it is
    about cannot be done.
    """

    looked: bool
    about: str
    rows: tuple[tuple[str, int, str], ...]
    carry: str
    can_carry: bool
    suggested: str
    step: str
    can_step_back: bool
    can_step_forward: bool


def review_texts(found: ReviewSummary | None) -> ReviewTexts:
    """What is known (``ReviewDesk.summary``) in words; None when nobody looked."""
    if found is None:
        nothing = _("Nothing was looked at yet.")
        return ReviewTexts(False, nothing, (), _("Carry to the neighbours"), False, "", "", False, False)
    row, flat = _("Slice {index} ({position}): {percent} %"), _("Slice {index}: {percent} %")
    carry = _("Carry {count} to the neighbours") if found.corrected else _("Carry to the neighbours")
    steps = found.steps
    return ReviewTexts(
        True,
        found.about,
        tuple(((row if each.position else flat).format(**vars(each)), each.index, each.text) for each in found.rows),
        carry.format(count=len(found.corrected)),
        bool(found.corrected),
        _("Suggested here: {what}").format(what=found.suggested) if found.suggested else "",
        "" if steps is None else f"{steps.title}. {steps.reason}",
        steps is not None and steps.number > 0,
        steps is not None and steps.number < steps.count - 1,
    )

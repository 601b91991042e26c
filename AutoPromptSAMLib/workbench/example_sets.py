"""The sets of examples: which is worked with, what is in it, new examples from an image or from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.segment_list import SegmentInfo, rgb
from AutoPromptSAMLib.names import free_name
from AutoPromptSAMLib.supports import SupportLibrary, SupportObject, SupportPair, SupportSet, pairs_from_files
from AutoPromptSAMLib.workbench.example_rows import PairRow, SetRow, count_text, listed, pair_row, set_row
from AutoPromptSAMLib.workbench.language import tr as _

MOST_LETTERS = 80  # of the name that a new set is given: a choice

Found = tuple[Sequence[SupportObject], Sequence[SupportPair]]


@dataclass(frozen=True)
class Added:
    """A set after examples were added: how many joined it (``added``), how many were ``there`` already."""

    set: SupportSet
    added: int
    there: int

    @property
    def text(self) -> str:
        """What happened, in a sentence."""
        if not self.added:
            return f'"{self.set.name}" has these examples already.'
        rest = f"; {self.there} {'were' if self.there > 1 else 'was'} in it already" if self.there else ""
        return f'{self.added} {"examples" if self.added > 1 else "example"} joined "{self.set.name}"{rest}.'


class ExampleSets:
    """The library of examples, and ``chosen``: the set that is worked with, as it was when it was last read.

    Belongs to the host's main thread but for the functions that it returns, ``import_`` and ``export``: those may run
    on any thread, and leave ``chosen`` as it is; ``choose`` what they made.
    """

    def __init__(self, library: SupportLibrary | None = None) -> None:
        self.library = SupportLibrary() if library is None else library
        self.chosen: SupportSet | None = None
        self._removed: tuple[str, SupportPair] | None = None  # the set and the pair that could be brought back

    def sets(self) -> tuple[list[SetRow], list[str]]:
        """All sets by name, a sentence for each that is damaged; reads the chosen one anew, or chooses the first."""
        sets, problems = self.library.listing()
        id = None if self.chosen is None else self.chosen.id
        self.chosen = next((each for each in sets if each.id == id), sets[0] if sets else None)
        return [set_row(each) for each in sets], problems

    def pairs(self) -> list[PairRow]:
        """The examples of the chosen set."""
        return [] if self.chosen is None else [pair_row(pair, self.chosen) for pair in self.chosen.pairs]

    def choose(self, set_id: str) -> SupportSet:
        """Work with another set."""
        self._removed = None
        self.chosen = self.library.get(set_id)
        return self.chosen

    def need(self) -> SupportSet:
        """The chosen set; PromptError when there is none."""
        if self.chosen is None:
            raise PromptError("There are no examples yet; make a set from this image or from files first.")
        return self.chosen

    def fresh(self) -> SupportSet | None:
        """The chosen set as it is on disk now: other programs may use the library, too."""
        if self.chosen is not None:
            self.chosen = self.library.get(self.chosen.id)
        return self.chosen

    def rename(self, name: str) -> None:
        """Give the chosen set another name."""
        self.chosen = self.library.rename(self.need().id, name)

    def rename_object(self, name: str, new: str) -> None:
        """Give an object another name: results go to the segment of that name."""
        self.chosen = self.library.change_object(self.need().id, name, new_name=new)

    def recolour(self, name: str, colour: str) -> None:
        """Give an object another colour, "#RRGGBB"."""
        self.chosen = self.library.change_object(self.need().id, name, colour=rgb(colour))

    def remove_set(self, segmenter: InteractiveSegmenter | None) -> None:
        """Delete the chosen set for good; ask before. PromptError while ``segmenter`` learns it."""
        learning = None if segmenter is None else segmenter.learner.learning
        if learning is not None and learning.set_id == self.need().id:
            raise PromptError(f'"{self.need().name}" is being learned; stop that, or wait for its end, to remove it.')
        gone, self.chosen, self._removed = self.need(), None, None
        self.library.remove(gone.id)

    def remove_pair(self, pair_id: str) -> None:
        """Take an example out of the chosen set; ``unremove_pair`` brings it back until another set is chosen."""
        chosen = self.need()
        pair = next((each for each in chosen.pairs if each.id == pair_id), None)
        if pair is not None:
            image, masks = pair.image, pair.masks  # read before its file goes
            kept = SupportPair.of(pair.name, image, masks, pair.spacing, pair.view, pair.source, pair.group)
            self.chosen = self.library.remove_pair(chosen.id, pair_id)
            self._removed = (chosen.id, kept)

    @property
    def removed(self) -> str:
        """The name of the example that ``unremove_pair`` would bring back; "" when there is none."""
        return "" if self._removed is None else self._removed[1].name

    def unremove_pair(self) -> None:
        """Bring back the example that was taken out last."""
        removed, self._removed = self._removed, None
        if removed is not None:
            self.chosen = self.library.add_pairs(removed[0], [removed[1]])

    def import_(self, path: Path) -> SupportSet:
        """A new set from a .apsupports file."""
        return self.library.import_(path)

    def imported_text(self, content: SupportSet) -> str:
        """What happened when a set was imported, in a sentence."""
        return f'"{content.name}" with {count_text(content)} was imported.'

    def export(self, set_id: str, path: Path) -> Path:
        """Write a set into one file; its path, which ends in .apsupports."""
        return self.library.export(set_id, path)

    # -- new examples -------------------------------------------------------------------------------------------------

    def free_name(self, wanted: str | Sequence[str]) -> str:
        """A name for a new set that none has yet, made of ``wanted``: a name, or those of its objects."""
        name = wanted if isinstance(wanted, str) else listed(wanted)
        return free_name(name or "Examples", {each.name for each in self.library.sets()}, "{} {}", most=MOST_LETTERS)

    @staticmethod
    def drawn(segmenter: InteractiveSegmenter) -> list[SegmentInfo]:
        """What examples can be made of: the segments that are visible and filled. PromptError when none is."""
        found = [info for info in segmenter.segments if info.visible and info.ml]
        if not found:
            raise PromptError(_("No segment is visible and filled; draw an object on a slice first."))
        return found

    def from_scene(
        self, segmenter: InteractiveSegmenter, segment_ids: Sequence[str], axis: int | None
    ) -> Callable[[], Found]:
        """Examples of the open image, for ``add``: these segments, on slices spread over them (``axis`` None).

        With an ``axis``: on the slices along it that a person prompted, painted or accepted. PromptError when there
        is nothing.
        """
        objects, make = segmenter.examples.new_pairs(segment_ids, axis)
        return lambda: (objects, make())

    def vouched(self, segmenter: InteractiveSegmenter, axis: int) -> Callable[[], Found]:
        """The slices of the open image that a person corrected or accepted, with what the chosen set shows."""
        names = self.need().names
        return self.from_scene(segmenter, [info.id for info in segmenter.segments if info.name in names], axis)

    def from_files(self, image: Path, mask: Path, objects: str = "") -> Callable[[], Found]:
        """Examples of an image file and its mask, for ``add``; ``objects``: "liver, spleen" for labels 1 and 2."""
        names = [name.strip() for name in objects.split(",") if name.strip()]
        return lambda: pairs_from_files(image, mask, names or None)

    def add(self, found: Callable[[], Found], name: str | None) -> Callable[[], Added]:
        """A function, for any thread, that adds what ``found`` gives to a new set called ``name``.

        None: to the chosen set, PromptError when there is none. "": the new set is called as its objects are.
        """
        chosen = self.need() if name is None else None

        def run() -> Added:
            objects, pairs = found()
            before = chosen
            if before is None:
                title = (name or "").strip() or listed([each.name for each in objects])[:MOST_LETTERS]
                before = self.library.create(title, list(objects))
            after = self.library.add_pairs(before.id, pairs, objects)
            added = len(after.pairs) - len(before.pairs)
            return Added(after, added, len(pairs) - added)

        return run

"""The gallery of examples: sets of annotated images, made from the open image or from files, kept and passed on."""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError, PromptError
from AutoPromptSAMLib.mrml.segment_list import hexadecimal, rgb
from AutoPromptSAMLib.supports import (
    SupportLibrary,
    SupportObject,
    SupportPair,
    SupportSet,
    pairs_from_files,
)
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.supports_templates import GALLERY

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

THUMBNAIL = 128  # pixels a side, on the page
QUALITY = 85

Found = tuple[Sequence[SupportObject], Sequence[SupportPair]]


class SupportsGallery(Panel):
    """A dialog over the library; ``chosen`` is the set that the page works with."""

    template = GALLERY

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.library = SupportLibrary()
        self.chosen: SupportSet | None = None
        self._removed: tuple[str, SupportPair] | None = None  # the set and the pair that undo would bring back
        self._files: dict[str, tuple[Path, Path]] = {}  # uploads by "image" and "mask", and the folders to remove
        app.server.trigger("examples_export")(self.export)
        self.list()

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Offer what is on the new image."""
        self.state.examples_form = ""

    def list(self) -> None:
        """Show the sets; the chosen one stays if it is still there."""
        sets, problems = self.library.listing()
        for problem in problems:
            self.app.say(problem, "warning")
        self.state.examples_sets = [_row(each) for each in sets]
        chosen = None if self.chosen is None else self.chosen.id
        self._choose(next((each for each in sets if each.id == chosen), sets[0] if sets else None))

    def show(self, changed: SupportSet) -> None:
        """A set was changed: choose it, and show it as it is now."""
        self.chosen = changed
        self.list()

    # -- sets ---------------------------------------------------------------------------------------------------------

    def on_examples_open(self) -> None:
        """Show the gallery."""
        self.list()
        self.state.update({"examples_open": True, "examples_confirm": False, "guide": "examples"})

    def on_examples_choose(self, set_id: str) -> None:
        """Work with another set."""
        self.state.update({"examples_confirm": False, "examples_removed": ""})
        if not self.state.examples_new:
            self.state.examples_form = ""
        self._choose(self.library.get(set_id))

    def on_examples_rename(self, name: str) -> None:
        """Give the chosen set another name."""
        self.show(self.library.rename(self.need().id, name))

    def on_examples_rename_object(self, name: str, new: str) -> None:
        """Give an object another name: results go to the segment of that name."""
        self.show(self.library.change_object(self.need().id, name, new_name=new))

    def on_examples_color(self, name: str, color: str) -> None:
        """Give an object another colour, "#rrggbb"."""
        self.show(self.library.change_object(self.need().id, name, colour=rgb(color)))

    def on_examples_remove_set(self) -> None:
        """Delete the chosen set; the page has asked before."""
        gone, self.chosen, self._removed = self.need(), None, None
        self.library.remove(gone.id)
        self.state.update({"examples_confirm": False, "examples_removed": ""})
        self.list()

    def on_examples_remove(self, pair_id: str) -> None:
        """Take an example out; it can be brought back while the gallery shows this set."""
        chosen = self.need()
        pair = next((each for each in chosen.pairs if each.id == pair_id), None)
        if pair is None:
            return
        image, masks = pair.image, pair.masks  # read before its file goes
        kept = SupportPair.of(pair.name, image, masks, pair.spacing, pair.view, pair.source)
        self.show(self.library.remove_pair(chosen.id, pair_id))
        self._removed = (chosen.id, kept)
        self.state.examples_removed = pair.name

    def on_examples_unremove(self) -> None:
        """Bring back the example that was taken out last."""
        removed, self._removed = self._removed, None
        self.state.examples_removed = ""
        if removed is not None:
            self.show(self.library.add_pairs(removed[0], [removed[1]]))

    # -- new examples -------------------------------------------------------------------------------------------------

    def on_examples_form(self, form: str, new: bool = False) -> None:
        """Ask where examples come from: "scene" or "files"; ``new`` for a set of their own. "" asks no more."""
        segmenter = self.app.segmenter
        rows = [] if segmenter is None else [s for s in segmenter.segments if s.visible and s.ml]
        if form == "scene" and not rows:
            raise PromptError("No segment is visible and filled; draw an object on a slice first.")
        names = [each["name"] for each in self.state.examples_sets]
        name, number = (_listed([row.name for row in rows]) or "Examples")[:80], 2
        start = name
        while name in names:
            name, number = f"{start} {number}", number + 1
        self.state.update(
            {
                "examples_open": True,
                "examples_form": form,
                "examples_new": new or self.chosen is None,
                "examples_name": name if form == "scene" else "",
                "examples_from": [row.id for row in rows],
                "examples_slices": "spread",
                "guide": "examples",
            }
        )

    def on_examples_add_scene(self) -> None:
        """Make examples of the open image: the ticked segments on the slices of the rule that was chosen."""
        axis = None if self.state.examples_slices == "spread" else self.app.supports.axis
        objects, make = self.app.need_segmenter().new_pairs(list(self.state.examples_from), axis)
        self._add("Making examples of this image…", lambda: (objects, make()))

    def on_examples_add_vouched(self) -> None:
        """The slices of this image that a person corrected or accepted join the chosen set."""
        segmenter, names = self.app.need_segmenter(), self.need().names
        ids = [info.id for info in segmenter.segments if info.name in names]
        objects, make = segmenter.new_pairs(ids, self.app.supports.axis)
        self.state.examples_new = False
        self._add("Adding these slices to the examples…", lambda: (objects, make()))

    def on_examples_add_files(self) -> None:
        """Make examples of the image and the mask that were uploaded."""
        if set(self._files) != {"image", "mask"}:
            raise ImageError("An example needs an image and its mask; choose both files.")
        names = [name.strip() for name in str(self.state.examples_file_objects).split(",") if name.strip()]
        image, mask = self._files["image"][0], self._files["mask"][0]
        self._add("Reading the image and its mask…", lambda: pairs_from_files(image, mask, names or None))

    def on_examples_uploaded(self, batch: str, purpose: str) -> None:
        """A file is here: "examples-import", "examples-image" or "examples-mask"."""
        self.state.opening = ""
        uploads = self.app.opening.uploads
        folder, what = uploads.folder / batch, purpose.removeprefix("examples-")

        def take(path: Path) -> None:
            if what in self._files:
                shutil.rmtree(self._files.pop(what)[1], ignore_errors=True)
            self._files[what] = (path, folder)
            self.state.examples_files = {**self.state.examples_files, what: path.name}

        def imported() -> SupportSet:
            try:
                return self.library.import_(uploads.finish(batch).path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        def done(new: SupportSet) -> None:
            self.show(new)
            self.state.update({"examples_open": True, "guide": "examples"})
            self.app.say(f'"{new.name}" with {_count(new)} was imported.')

        if what == "import":
            self.work("Importing examples…", imported, done)
        elif what in ("image", "mask"):
            self.work("Receiving the file…", lambda: uploads.finish(batch).path, take)

    async def export(self, set_id: str) -> str | None:
        """Write a set into one file; the one-time id to fetch it with, None when it cannot be written."""
        downloads = self.app.exporting.downloads
        try:
            chosen = self.library.get(set_id)
            path = downloads.path_for(f"{chosen.name}.apsupports")
            written = await asyncio.to_thread(self.library.export, set_id, path)
        except AutoPromptSAMError as error:
            self.app.say(str(error), "error")
            return None
        return downloads.offer(written)

    # -- inside -------------------------------------------------------------------------------------------------------

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

    def work(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on a thread and ``show`` with what it gave; says what is going on and what goes wrong."""
        if self.state.examples_busy:
            self.app.say("Examples are still being read; try again in a moment.", "warning")
            return
        self.state.examples_busy = text
        self.app.spawn(self._work(load, show))

    async def _work(self, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        try:
            loaded = await asyncio.to_thread(load)
            with self.state:
                show(loaded)
        except AutoPromptSAMError as error:
            text = str(error)
            for path, _ in self._files.values():  # a person knows the name of what they chose, not where it is
                text = text.replace(str(path), path.name)
            self.app.say(text, "error")
        finally:
            with self.state:
                self.state.examples_busy = ""

    def _add(self, text: str, find: Callable[[], Found]) -> None:
        """Add what ``find`` finds to the chosen set, or to a new one."""
        chosen = None if self.state.examples_new else self.need()
        name = str(self.state.examples_name).strip()

        def run() -> tuple[SupportSet, int, int]:
            objects, pairs = find()
            before = chosen or self.library.create(name or _listed([o.name for o in objects])[:80], list(objects))
            after = self.library.add_pairs(before.id, pairs, objects)
            added = len(after.pairs) - len(before.pairs)
            return after, added, len(pairs) - added

        def done(found: tuple[SupportSet, int, int]) -> None:
            after, added, there = found
            self._forget_files()
            self.state.update({"examples_form": "", "examples_removed": "", "examples_new": False})
            self.show(after)
            if added:
                rest = f"; {there} {'were' if there > 1 else 'was'} in it already" if there else ""
                self.app.say(f'{added} {"examples" if added > 1 else "example"} joined "{after.name}"{rest}.')
            else:
                self.app.say(f'"{after.name}" has these examples already.')

        self.work(text, run, done)

    def _forget_files(self) -> None:
        for _, folder in self._files.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._files.clear()
        self.state.update({"examples_files": {"image": "", "mask": ""}, "examples_file_objects": ""})

    def _choose(self, chosen: SupportSet | None) -> None:
        self.chosen = chosen
        self.state.examples_set = "" if chosen is None else chosen.id
        self.state.examples_pairs = [] if chosen is None else [_pair(each, chosen) for each in chosen.pairs]
        self.app.call(lambda: self.app.supports.chosen_changed())


def _row(content: SupportSet) -> dict[str, Any]:
    first = next((pair.thumbnail for pair in content.pairs if pair.thumbnail is not None), None)
    return {
        "id": content.id,
        "name": content.name,
        "about": _count(content),
        "objects": [{"name": each.name, "color": hexadecimal(each.colour)} for each in content.objects],
        "learned": content.task is not None,
        "thumb": "" if first is None else _picture(first),
    }


def _pair(pair: SupportPair, content: SupportSet) -> dict[str, Any]:
    shown = [each for each in content.objects if each.name in pair.objects]
    return {
        "id": pair.id,
        "name": pair.name,
        "thumb": "" if pair.thumbnail is None else _picture(pair.thumbnail),
        "colors": [hexadecimal(each.colour) for each in shown],
        "text": f"{pair.name}: {', '.join(each.name for each in shown)}",
    }


def _listed(names: Sequence[str]) -> str:
    """Names as a title: "liver, spleen and kidney"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _count(content: SupportSet) -> str:
    return f"{len(content.pairs)} example{'' if len(content.pairs) == 1 else 's'}"


def _picture(path: Path) -> str:
    """A thumbnail as a data address, small enough to go with the page's state; "" when it cannot be read."""
    try:
        return _encoded(path, path.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=512)
def _encoded(path: Path, _changed: int) -> str:
    from PIL import Image

    with Image.open(path) as image:
        return data_address(image.convert("RGB"), THUMBNAIL)


def data_address(image: Any, side: int) -> str:
    """A PIL image as a JPEG of at most ``side`` pixels a side, in an address that a page can show."""
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()

"""The gallery of examples: sets of annotated images, made from the open image or from files, kept and passed on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.supports import SupportSet
from AutoPromptSAMLib.web.panel import Panel, for_page
from AutoPromptSAMLib.web.templates import NO_SCENE, page
from AutoPromptSAMLib.workbench.example_rows import PairRow, SetRow
from AutoPromptSAMLib.workbench.example_sets import Added, Found
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk
from AutoPromptSAMLib.workbench.thumbnails import thumbnail

if TYPE_CHECKING:
    from AutoPromptSAMLib.errors import AutoPromptSAMError
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


class SupportsGallery(Panel):
    """A dialog over the library; ``desk`` knows which set the page works with."""

    template = page("gallery", no_scene=NO_SCENE)

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.desk = ExamplesDesk()
        self._files: dict[str, tuple[Path, Path]] = {}  # uploads by "image" and "mask", and the folders to remove
        app.server.trigger("examples_export")(self.export)
        self.list()

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Offer what is on the new image."""
        self.state.examples_form = ""

    def list(self) -> None:
        """Show the sets; the chosen one stays if it is still there."""
        sets, problems = self.desk.sets()
        for problem in problems:
            self.app.say(problem, "warning")
        self.state.examples_sets = [_set(row) for row in sets]
        self._show_chosen()

    # -- sets ---------------------------------------------------------------------------------------------------------

    def on_examples_open(self) -> None:
        """Show the gallery."""
        self.list()
        self.state.update({"examples_open": True, "examples_confirm": False, "guide": "examples"})

    def on_examples_choose(self, set_id: str) -> None:
        """Work with another set."""
        self.state.examples_confirm = False
        if not self.state.examples_new:
            self.state.examples_form = ""
        self.desk.choose(set_id)
        self._show_chosen()

    def on_examples_rename(self, name: str) -> None:
        """Give the chosen set another name."""
        self.desk.rename(name)
        self.list()

    def on_examples_rename_object(self, name: str, new: str) -> None:
        """Give an object another name: results go to the segment of that name."""
        self.desk.rename_object(name, new)
        self.list()

    def on_examples_color(self, name: str, color: str) -> None:
        """Give an object another colour, "#rrggbb"."""
        self.desk.recolour(name, color)
        self.list()

    def on_examples_remove_set(self) -> None:
        """Delete the chosen set; the page has asked before."""
        self.state.examples_confirm = False
        self.desk.remove_set(self.app.segmenter)
        self.list()

    def on_examples_remove(self, pair_id: str) -> None:
        """Take an example out; it can be brought back while the gallery shows this set."""
        self.desk.remove_pair(pair_id)
        self.list()

    def on_examples_unremove(self) -> None:
        """Bring back the example that was taken out last."""
        self.desk.unremove_pair()
        self.list()

    # -- new examples -------------------------------------------------------------------------------------------------

    def on_examples_form(self, form: str, new: bool = False) -> None:
        """Ask where examples come from: "scene" or "files"; ``new`` for a set of their own. "" asks no more."""
        rows = self.desk.drawn(self.app.need_segmenter()) if form == "scene" else []
        self.state.update({
            "examples_open": True,
            "examples_form": form,
            "examples_new": new or self.desk.chosen is None,
            "examples_name": self.desk.free_name([row.name for row in rows]) if form == "scene" else "",
            "examples_from": [row.id for row in rows],
            "examples_slices": "spread",
            "guide": "examples",
        })  # fmt: skip

    def on_examples_add_scene(self) -> None:
        """Make examples of the open image: the ticked segments on the slices of the rule that was chosen."""
        axis = None if self.state.examples_slices == "spread" else self.app.propagate.axis
        found = self.desk.from_scene(self.app.need_segmenter(), list(self.state.examples_from), axis)
        self._add("Making examples of this image…", found)

    def on_examples_add_vouched(self) -> None:
        """The slices of this image that a person corrected or accepted join the chosen set."""
        found = self.desk.vouched(self.app.need_segmenter(), self.app.propagate.axis)
        self.state.examples_new = False
        self._add("Adding these slices to the examples…", found)

    def on_examples_add_files(self) -> None:
        """Make examples of the image and the mask that were uploaded."""
        if set(self._files) != {"image", "mask"}:
            raise ImageError("An example needs an image and its mask; choose both files.")
        image, mask = self._files["image"][0], self._files["mask"][0]
        found = self.desk.from_files(image, mask, str(self.state.examples_file_objects))
        self._add("Reading the image and its mask…", found)

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
            path = uploads.finish(batch).path  # ends here for a batch that is none: the page may have sent any path
            try:
                return self.desk.import_(path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        def done(new: SupportSet) -> None:
            self.desk.choose(new.id)
            self.list()
            self.state.update({"examples_open": True, "guide": "examples"})
            self.app.say(self.desk.imported_text(new))

        if what == "import":
            self.work("Importing examples…", imported, done)
        elif what in ("image", "mask"):
            self.work("Receiving the file…", lambda: uploads.finish(batch).path, take)

    async def export(self, set_id: str) -> str | None:
        """Write a set into one file; the one-time id to fetch it with, None when it cannot be written."""
        name = next((row["name"] for row in self.state.examples_sets if row["id"] == set_id), "Examples")
        return await self.app.exporting.write(
            f"{name}.apsupports", lambda path: partial(self.desk.export, set_id, path), "exporting", "Writing the set…"
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def work(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on a thread and ``show`` with what it gave; says what is going on and what goes wrong."""
        if self.state.examples_busy:
            self.app.say("Examples are still being read; try again in a moment.", "warning")
            return
        self.state.examples_busy = text  # now: the next click may come before the work begins
        self.app.spawn(self.load("examples_busy", text, load, show))

    def tell(self, error: AutoPromptSAMError) -> None:
        """Say what went wrong: a person knows the name of what they chose, not where it is."""
        self.app.say(self.app.opening.uploads.named(str(error)), "error")

    def _add(self, text: str, found: Callable[[], Found]) -> None:
        """Add what is found to the chosen set, or to a new one."""

        def done(added: Added) -> None:
            self._forget_files()
            self.state.update({"examples_form": "", "examples_new": False})
            self.desk.choose(added.set.id)
            self.list()
            self.app.say(added.text)

        self.work(text, self.desk.add(found, str(self.state.examples_name) if self.state.examples_new else None), done)

    def _forget_files(self) -> None:
        for _, folder in self._files.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._files.clear()
        self.state.update({"examples_files": {"image": "", "mask": ""}, "examples_file_objects": ""})

    def _show_chosen(self) -> None:
        chosen = self.desk.chosen
        self.state.update({
            "examples_set": "" if chosen is None else chosen.id,
            "examples_pairs": [_pair(row) for row in self.desk.pairs()],
            "examples_removed": self.desk.removed,
        })  # fmt: skip
        self.app.call(lambda: self.app.supports.chosen_changed())


def _set(row: SetRow) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "about": row.about, "objects": [for_page(each) for each in row.objects],
        "learned": ", ".join(row.learned), "thumb": thumbnail(row.thumbnail),
    }  # fmt: skip


def _pair(row: PairRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "thumb": thumbnail(row.thumbnail), "text": row.text}

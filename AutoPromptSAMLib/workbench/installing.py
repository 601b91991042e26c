"""Installing the packages inside an application: when a person presses Install, one after another, on its main thread.

Making an ``Installer`` installs nothing.
"""

from __future__ import annotations

import datetime
import importlib
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.workbench.language import tr as _
from AutoPromptSAMLib.workbench.packages import Plan, check_disk, is_there, kept_as_they_are, torch_versions
from AutoPromptSAMLib.workbench.pip_output import InstallError, explain, listening
from AutoPromptSAMLib.workbench.requirements import TORCH, Requirement

Progress = Callable[[str, int, int], None]
Cancel = Callable[[], bool]
OnLine = Callable[[str], None]
InstallTorch = Callable[[str, str], None]
MOST_LETTERS = 100_000  # of the log that is copied: its last part


class Application(Protocol):
    """What of the application an ``Installer`` needs. All methods run on its main thread."""

    def log_path(self) -> Path:
        """The file that all installations are noted in."""

    def pip_install(self, arguments: list[str], constraints: Path, on_line: OnLine) -> None:
        """Run pip until it ends, while the application handles events; ``on_line`` may get its output.

        Raises InstallError when pip cannot be run now, any other exception when pip failed.
        """

    def torch_installer(self) -> InstallTorch:
        """What installs PyTorch and torchvision, given the versions of both (">=2.4"); InstallError without it."""


class Installer:
    """Installs what a plan lists into ``application``."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.running = False
        self._lines: list[str] = []
        self._on_line: OnLine | None = None

    def install(
        self,
        plan: Plan,
        on_progress: Progress | None = None,
        cancelled: Cancel | None = None,
        on_line: OnLine | None = None,
    ) -> bool:
        """Install what of the ``plan`` is not there yet; returns whether the application has to be restarted.

        ``on_progress(package, done, total)`` is called before each package, in megabytes; ``cancelled()`` is asked
        before each; ``on_line`` gets pip's output. The application handles events meanwhile. Raises InstallError, and
        Cancelled when ``cancelled``; doing it again goes on from there.
        """
        if self.running:
            raise InstallError(_("Packages are being installed already; wait until they are there."))
        self.running, self._on_line = True, on_line
        try:
            return self._install(plan, on_progress, cancelled)
        except (InstallError, Cancelled) as error:
            self._note(str(error))
            raise
        finally:
            self.running, self._on_line = False, None

    def log(self) -> str:
        """The last part of what was noted, in this session or before."""
        try:
            return self.application.log_path().read_text(encoding="utf-8", errors="replace")[-MOST_LETTERS:]
        except OSError:
            return _("Nothing was installed yet.")

    def _install(self, plan: Plan, on_progress: Progress | None, cancelled: Cancel | None) -> bool:
        names = ", ".join(requirement.wanted for requirement in plan.requirements)
        self._note(f"--- {datetime.datetime.now():%Y-%m-%d %H:%M}: {names or 'nothing'} ---")
        self._note(f"{platform.platform()}, Python {platform.python_version()}, {sys.prefix}")
        if "torch" in plan.needs_restart:
            raise InstallError(
                _(
                    "Slicer is using an older PyTorch, which cannot be replaced meanwhile; restart Slicer and press "
                    "Install before using other modules."
                )
            )
        check_disk(plan)
        needs_torch = any(requirement.package in TORCH for requirement in plan.requirements)
        install_torch = self.application.torch_installer() if needs_torch else None
        done = 0
        for step in plan.steps:
            if cancelled is not None and cancelled():
                raise Cancelled(_("Stopped; press Install to go on from here."))
            wanted = [requirement for requirement in step if not is_there(requirement)]
            if wanted:
                name = " + ".join(requirement.package for requirement in wanted)
                if on_progress is not None:
                    on_progress(name, done, plan.total_mb)
                self._one_step(name, wanted, install_torch if wanted[0].package in TORCH else None)
            done += sum(requirement.about_mb for requirement in step)
        if on_progress is not None:
            on_progress("", plan.total_mb, plan.total_mb)
        self._note("All packages are there.")
        return bool(plan.needs_restart)

    def _one_step(self, name: str, wanted: list[Requirement], install_torch: InstallTorch | None) -> None:
        self._lines.clear()
        self._note(f"Installing {name}")
        try:
            with listening(self._hear):
                if install_torch is not None:
                    install_torch(*torch_versions())
                else:
                    self._pip_install(wanted[0].wanted)
        except InstallError:
            raise
        except Exception as error:  # what other extensions and versions of Slicer raise is theirs to choose
            self._hear(f"{type(error).__name__}: {error}")
            failure: InstallError | None = explain(name, self._lines)
            cause: Exception | None = error
        else:
            importlib.invalidate_caches()
            failure = None if all(is_there(r) for r in wanted) else explain(name, self._lines)
            cause = None
        if failure is None:
            return
        if all(requirement.optional for requirement in wanted):
            self._note(f"{failure} Nothing else depends on {name}: going on without it.")
            return
        raise failure from cause

    def _pip_install(self, wanted: str) -> None:
        """One run of pip, which never compiles: all packages have wheels."""
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(kept_as_they_are(wanted)))
            self.application.pip_install([wanted, "--only-binary", ":all:"], constraints, self._hear)

    def _hear(self, line: str) -> None:
        line = line.rstrip()
        # A version of Slicer that prints and logs a line has said it once.
        if line and self._lines[-1:] != [line]:
            self._lines.append(line)
            self._note(line)

    def _note(self, line: str) -> None:
        try:
            path = self.application.log_path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError:  # the log is worth less than the installation
            pass
        if self._on_line is not None:
            self._on_line(line)

"""What only Slicer knows of installing packages: how pip and PyTorch's installer are run, and where the log goes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from AutoPromptSAMLib.workbench.language import tr as _
from AutoPromptSAMLib.workbench.pip_output import InstallError

NAME = "AutoPromptSAM"


def translated(context: str, text: str) -> str:
    """The text in Slicer's language; as it is where there is no Slicer."""
    if "slicer" not in sys.modules:
        return text
    try:
        from slicer.i18n import translate
    except ImportError:  # the wheel of Slicer's core
        return text
    return str(translate(context, text))


class Application:
    """Slicer, for ``workbench.installing.Installer``."""

    def log_path(self) -> Path:
        """Beside Slicer's settings."""
        try:
            import slicer

            settings = str(slicer.app.slicerUserSettingsFilePath)
        except (ImportError, AttributeError):
            settings = ""
        folder = Path(settings).parent if settings else Path(tempfile.gettempdir())
        return folder / f"{NAME}-install.log"

    def pip_install(self, arguments: list[str], constraints: Path, on_line: Callable[[str], None]) -> None:
        """Run pip as this version of Slicer does. Raises CalledProcessError when it fails."""
        import slicer

        try:
            from slicer import packaging  # Slicer 5.12
        except ImportError:
            slicer.util.pip_install([*arguments, "--constraint", str(constraints)])
            return
        if packaging.isPipInstallInProgress():
            raise InstallError(_("Another module is installing packages; wait until it is done, then go on."))
        # Its own waiting shows a dialog that blocks Slicer, and a second one for a failure. In Slicer's test mode it
        # waits without, and calls nothing back.
        waits = bool(slicer.app.testingEnabled())
        codes: list[int] = []
        packaging.pip_install(
            arguments,
            constraints=str(constraints),
            blocking=waits,
            show_progress=False,
            requester=NAME,
            logCallback=on_line,
            completedCallback=codes.append,
        )
        while not waits and not codes:
            slicer.app.processEvents()
            time.sleep(0.01)
        if codes and codes[0] != 0:
            raise subprocess.CalledProcessError(codes[0], "pip install")

    def torch_installer(self) -> Callable[[str, str], None]:
        """What the extension PyTorch installs with."""
        try:
            import PyTorchUtils
        except ImportError as error:
            raise InstallError(
                _(
                    "PyTorch is installed by Slicer's extension of that name; install the extension PyTorch from the "
                    "Extensions Manager, restart Slicer and press Install again."
                )
            ) from error
        logic = PyTorchUtils.PyTorchUtilsLogic()
        return lambda torch, vision: logic.installTorch(
            askConfirmation=False, torchVersionRequirement=torch, torchvisionVersionRequirement=vision
        )

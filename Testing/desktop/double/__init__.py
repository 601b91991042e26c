"""A test double of the 3D Slicer application: its Qt side over the real scene of slicer-core.

``qt`` is PySide6 with PythonQt's manners, the widgets of CTK and Slicer are made from the interface facts in ``facts``
(an unknown property, signal or method is an error), and scripted modules and parameter nodes behave as documented.
"""

from .check_names import unknown_names
from .desktop import Desktop, DesktopError
from .dialogs import Dialog
from .installing import Request, missing
from .ui_values import UiError

__all__ = ["Desktop", "DesktopError", "Dialog", "Request", "UiError", "missing", "unknown_names"]

"""The panels of AutoPromptSAM in 3D Slicer's application: Qt widgets and nothing else.

What they say and do is in ``AutoPromptSAMLib.workbench``, what they do it to in ``AutoPromptSAMLib.mrml``. Those need
packages that Slicer does not bring, so they are imported inside functions, once ``workbench.packages`` misses none.
"""

from AutoPromptSAMDesktop.application import translated
from AutoPromptSAMLib.workbench import language

language.use(translated)  # before a panel says anything

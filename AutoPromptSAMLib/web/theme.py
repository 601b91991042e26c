"""Colours and defaults of the page; sizes and layout are in ``static/app.css``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from AutoPromptSAMLib import __version__

ACCENT = "#35B6FF"
VUETIFY: dict[str, Any] = {
    "theme": {
        "defaultTheme": "autoprompt",
        "themes": {
            "autoprompt": {
                "dark": True,
                "colors": {
                    "background": "#0E1216",
                    "surface": "#161B21",
                    "primary": ACCENT,
                    "secondary": "#8D99A8",
                    "error": "#FF7A6B",
                    "warning": "#F2B84B",
                    "success": "#4CC38A",
                    "info": ACCENT,
                },
            }
        },
    },
    "defaults": {
        "VBtn": {"ripple": False},
        "VSelect": {"density": "compact", "variant": "outlined", "hideDetails": True},
        "VTooltip": {"openDelay": 350, "location": "bottom"},
    },
}

_STATIC = Path(__file__).with_name("static")
_BASE = f"autopromptsam_{__version__}"
# What trame serves beside its own files: the style sheet and the script, of this package, from no other host.
MODULE: dict[str, Any] = {
    "serve": {_BASE: str(_STATIC)},
    "styles": [f"{_BASE}/app.css"],
    "scripts": [f"{_BASE}/app.js"],
}

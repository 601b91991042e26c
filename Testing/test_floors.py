"""Imports only point down: the floors of the house, checked on the source of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "AutoPromptSAMLib"

# From the ground up: floor, and modules or whole folders of the package. An entry sees its own names and those of the
# entries before it.
FLOORS: list[tuple[str, list[str]]] = [
    ("ground", ["__init__", "errors", "atomic", "names"]),
    ("ground", ["geometry", "intensity"]),
    ("ground", ["prompts"]),
    ("ground", ["images"]),
    ("ground", ["files"]),
    ("ground", ["zoo"]),
    ("ground", ["datasets"]),
    ("models", ["backbones"]),
    ("models", ["prompters", "refiners"]),
    ("models", ["training"]),
    ("models", ["supports"]),
    ("loops", ["loops"]),
    ("session", ["session"]),
    ("commands", ["command_prompts", "console"]),
    ("evaluation", ["evaluation"]),
    ("mrml", ["mrml"]),
    ("workbench", ["workbench"]),
    ("hosts", ["picture", "server", "web"]),
    (
        "hosts",
        [
            "demo",
            "doctor",
            "learning_commands",
            "review_commands",
            "serve_command",
            "support_commands",
            "cli",
        ],
    ),
]
LEVELS = {name: level for level, (_, names) in enumerate(FLOORS) for name in names}
FLOOR = {name: floor for floor, names in FLOORS for name in names}

SLICER = {"slicer", "vtk", "vtkmodules", "qt", "ctk", "PythonQt"}
QT = {"qt", "ctk", "PythonQt", "PyQt5", "PyQt6", "PySide2", "PySide6"}
TORCH = {"torch", "torchvision", "timm", "segment_anything", "sam2", "safetensors"}


@dataclass(frozen=True)
class Import:
    """One imported module by its full name; ``inside`` a function, or for the type checker only."""

    name: str
    line: int
    inside: bool
    typing: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def imports_of(source: str, module: str) -> Iterator[Import]:
    """All imports of a module's source, relative ones resolved; ``module`` is its full name."""

    def visit(node: ast.AST, inside: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, inside, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield Import(start, node.lineno, inside, typing)
            if start == PACKAGE:  # from AutoPromptSAMLib import session, __version__
                modules = [alias.name for alias in node.names if is_module(alias.name)]
                yield from (Import(f"{start}.{name}", node.lineno, inside, typing) for name in modules)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant):
                yield Import(str(first.value), node.lineno, inside, typing)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        body = node.body if is_typing and isinstance(node, ast.If) else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside, typing or child in body)

    yield from visit(ast.parse(source), False, False)


def violations(source: str, module: str) -> list[str]:
    """What is wrong with the imports of a module of the package, a line each."""
    place = place_of(module)
    wrong = []
    for found in imports_of(source, module):
        where = f"{module}:{found.line} imports {found.name}"
        if found.top == PACKAGE and found.name != PACKAGE:
            other = found.name.split(".")[1]
            if other not in LEVELS:
                wrong.append(f"{where}, which is on no floor")
            elif LEVELS[other] > LEVELS[place]:
                wrong.append(f"{where}, which is on a floor above")
        if found.top == "AutoPromptSAM":
            wrong.append(f"{where}, the desktop module")
        if FLOOR[place] in ("mrml", "workbench") and found.top in TORCH | QT:
            wrong.append(f"{where}: there is neither torch nor Qt in what hosts share")
        if FLOOR[place] not in ("mrml", "hosts") and found.top in SLICER | QT:
            wrong.append(f"{where}: below mrml nothing knows Slicer")
        if FLOOR[place] != "models" and found.top in TORCH and not found.inside and not found.typing:
            wrong.append(f"{where} at module scope: it takes seconds when Slicer starts")
    return wrong


def place_of(module: str) -> str:
    """The entry of ``FLOORS`` that a module of the package belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_module(name: str) -> bool:
    """Whether ``from AutoPromptSAMLib import name`` means a module, and no attribute as ``__version__`` is."""
    return (ROOT / PACKAGE / name).exists() or (ROOT / PACKAGE / f"{name}.py").exists()


def module_name(path: Path) -> str:
    """Full name; that of a package ends in ``__init__``, so that its relative imports resolve like all others."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
IDS = [module_name(path) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_file_is_on_a_floor(path: Path) -> None:
    place = place_of(module_name(path))
    assert place in LEVELS, f"put {place} on a floor in {Path(__file__).name}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_only_point_down(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8"), module_name(path)) == []


def test_the_hosts_are_thin() -> None:
    """What a person touches in Slicer and in a browser, templates included, is less than 15 % of the code."""
    desktop, browser = ROOT / "AutoPromptSAM", ROOT / PACKAGE / "web"
    library = sum(map(lines_of, FILES))
    templates = sum(map(lines_of, (browser / "pages").glob("*.html")))
    module = sum(map(lines_of, desktop.rglob("*.py")))
    hosts = module + templates + sum(lines_of(path) for path in FILES if browser in path.parents)
    assert hosts < 0.15 * (library + module + templates)


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_floor_is_made_up() -> None:
    there = {path.stem if path.is_file() else path.name for path in (ROOT / PACKAGE).iterdir()}
    assert set(LEVELS) <= there


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("geometry.grid", "from AutoPromptSAMLib.geometry import Plane", ""),
        ("geometry.grid", "from AutoPromptSAMLib.zoo import home", "above"),
        ("geometry", "import AutoPromptSAMLib.session.local", "above"),
        ("geometry", "from AutoPromptSAMLib import session", "above"),
        ("geometry", "from AutoPromptSAMLib import __version__", ""),
        ("geometry", "def f():\n    from AutoPromptSAMLib.loops import job", "above"),
        ("geometry", "if TYPE_CHECKING:\n    from AutoPromptSAMLib.loops import job", "above"),
        ("zoo.store", "from ..session import local", "above"),
        ("zoo.store", "from .card import get_card", ""),
        ("zoo.__init__", "from ..session import local", "above"),
        ("zoo.store", "from AutoPromptSAMLib.nowhere import x", "on no floor"),
        ("session.local", "from AutoPromptSAMLib.loops import job", ""),
        ("session.local", "import torch", "module scope"),
        ("session.local", "class A:\n    import torch.nn", "module scope"),
        ("session.local", "try:\n    import timm\nexcept ImportError:\n    pass", "module scope"),
        ("session.local", "def f():\n    import torch", ""),
        ("session.local", "if TYPE_CHECKING:\n    import torch", ""),
        ("session.local", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch", "module scope"),
        ("session.local", "def f():\n    import slicer", "below mrml"),
        ("session.local", "import vtkmodules.util", "below mrml"),
        ("session.local", "importlib.import_module('qt')", "below mrml"),
        ("session.local", "import AutoPromptSAM", "desktop"),
        ("backbones.base", "import torch", ""),
        ("mrml.scene", "import slicer", ""),
        ("mrml.scene", "def f():\n    import torch", "neither torch"),
        ("mrml.scene", "from qt import QTimer", "neither torch"),
        ("workbench.ranges", "def f():\n    import torch", "neither torch"),
        ("mrml.scene", "from AutoPromptSAMLib.workbench import ranges", "above"),
        ("cli", "def f():\n    import slicer", ""),
    ],
)
def test_the_check_itself(module: str, source: str, word: str) -> None:
    wrong = violations(source, f"{PACKAGE}.{module}")
    assert len(wrong) == bool(word)
    assert word in "".join(wrong)

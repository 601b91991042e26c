"""The packages that an application lacks: those that the library asks for, found without importing any."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from AutoPromptSAMLib.workbench import packages
from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS, Requirement

ROOT = Path(__file__).parents[2]


def test_bounds_are_those_of_the_library():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    library = {re.match(r"[\w-]+", wish)[0]: wish.partition(";")[0].strip() for wish in project["dependencies"]}
    extra = {re.match(r"[\w-]+", wish)[0]: wish for wish in extras["web"] + extras["mamba"]}
    ours = {requirement.package: requirement.wanted for requirement in REQUIREMENTS}
    from_extras = {name: extra[name] for name in ("py-undo-stack", "mambapy")}
    left_out = {"typer", "rich", "SimpleITK"}  # the reasons are told beside the list
    assert ours == {name: wish for name, wish in (library | from_extras).items() if name not in left_out}


def test_what_the_desktop_imports_is_installed():
    """Every package that a module below the command line imports at all is in the list, in Slicer or optional."""
    commands = {"cli", "console", "command_prompts", "demo", "doctor", "evaluation", "picture", "server", "web"}
    slicers = {"SimpleITK", "packaging", "slicer", "vtk", "vtkmodules"}
    # Asked for by name when they are needed.
    optional = {"sam2", "hydra", "omegaconf", "peft", "mamba_ssm", "monai", "triton"}
    ours = {requirement.module for requirement in REQUIREMENTS}
    known = ours | slicers | optional | set(sys.stdlib_module_names) | {"AutoPromptSAMLib"}
    unknown = set()
    for path in (ROOT / "AutoPromptSAMLib").rglob("*.py"):
        place = path.relative_to(ROOT / "AutoPromptSAMLib").parts[0].removesuffix(".py")
        if place in commands or place.endswith(("_command", "_commands")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            unknown |= {f"{path.name}: {name}" for name in names if name.partition(".")[0] not in known}
    assert not unknown


def test_nothing_is_imported_or_installed_by_looking():
    program = (
        "import sys\nbefore = set(sys.modules)\n"
        "from AutoPromptSAMDesktop.application import Application\n"
        "from AutoPromptSAMLib.workbench import installing, packages\n"
        "from AutoPromptSAMLib.workbench import automatic_texts, engines, models_desk, review_texts, timers, turns\n"
        "installing.Installer(Application()); packages.missing(); packages.plan().rows\n"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'AutoPromptSAM'}", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"AutoPromptSAMDesktop", "AutoPromptSAMLib", "packaging"}


def test_versions_are_read_from_pips_notes(monkeypatch, tmp_path):
    for name, version in (("aps_old", "0.9"), ("aps_dev", "1.1.dev3"), ("aps_local", "1.0+cu128"), ("aps_broken", "")):
        notes = tmp_path / f"{name}-{version or 0}.dist-info"
        notes.mkdir()
        (notes / "METADATA").write_text(f"Name: {name}\n" + (f"Version: {version}\n" if version else ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("aps_old", "aps_dev", "aps_local", "aps_broken", "aps_absent")
    wishes = [Requirement(name, f"{name}>=1.0", "", 1, "MIT", name) for name in names]
    monkeypatch.setattr(packages, "REQUIREMENTS", wishes)
    assert [requirement.package for requirement in packages.missing()] == ["aps_old", "aps_broken", "aps_absent"]


def test_what_is_in_memory_counts_only_when_pip_would_replace_it(monkeypatch):
    wishes = [Requirement(name, f"{name}>=99", "", 1, "MIT", name) for name in ("pytest", "filelock")]
    monkeypatch.setattr(packages, "REQUIREMENTS", wishes)
    monkeypatch.delitem(sys.modules, "filelock", raising=False)
    assert packages.plan().needs_restart == ("pytest",)

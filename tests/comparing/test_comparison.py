"""What differs between runs, and which of their figures say which is better."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from llm_timecycle.comparing.comparison import RunComparison, compare_runs, list_curves
from llm_timecycle.comparing.details import read_details
from llm_timecycle.comparing.side_by_side import explain_comparability, write_comparison
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.runs.directory import Run
from tests.comparing.made_runs import make_run


def compare(*runs: Run) -> RunComparison:
    return compare_runs([read_details(run.path) for run in runs])


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    a, b, c = (make_run(tmp_path / name, hidden_units=6 + (name == "b")) for name in "abc")
    found = compare(a, b, c)
    assert found.differences == {
        "data.train": tuple(str(tmp_path / name / "novel.txt") for name in "abc"),
        "model.hidden_units": (6, 7, 6),
    }


def test_the_same_tokens_and_text_make_all_figures_comparable(tmp_path: Path) -> None:
    # A word that both do not know costs both the same.
    found = compare(*(make_run(tmp_path / name, level="word", unknown=3) for name in "ab"))
    judged = found.comparability
    assert (judged.has_comparable_loss, judged.has_comparable_bits) == (True, True)
    assert "all figures can be compared" in explain_comparability(found)


def test_other_tokens_leave_the_bits_comparable(tmp_path: Path) -> None:
    found = compare(make_run(tmp_path / "a"), make_run(tmp_path / "b", level="byte"))
    judged = found.comparability
    assert (judged.has_comparable_loss, judged.has_comparable_bits) == (False, True)
    assert "bits per character and per byte can." in explain_comparability(found)


def test_unknown_words_that_cost_nothing_make_bits_too_low_to_compare(tmp_path: Path) -> None:
    words = make_run(tmp_path / "my words", level="word", unknown=3)
    found = compare(make_run(tmp_path / "a"), words)
    judged = found.comparability
    assert (judged.has_comparable_loss, judged.has_comparable_bits) == (False, False)
    assert explain_comparability(found).endswith(f"evaluate '{words.path}'")


def test_scores_on_other_texts_compare_nothing(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", valid_sha256=64 * "c")
    found = compare(make_run(tmp_path / "a"), other)
    judged = found.comparability
    assert (judged.has_comparable_loss, judged.has_comparable_bits) == (False, False)
    assert "--data TEXT" in explain_comparability(found)


def test_a_run_without_a_score_is_named(tmp_path: Path) -> None:
    found = compare(make_run(tmp_path / "a"), make_run(tmp_path / "b", losses=()))
    assert explain_comparability(found) == f"No validation score yet: {tmp_path}/b."
    assert "no weights yet" in write_comparison(found, 200)


def test_fewer_than_two_runs_and_one_given_twice_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with pytest.raises(UsageError, match="expected two runs or more to compare, received 1"):
        compare(run)
    with pytest.raises(UsageError, match="was given twice"):
        compare(run, run)


def test_curves_of_the_same_tokens_are_in_nats(tmp_path: Path) -> None:
    found = compare(*(make_run(tmp_path / name) for name in "ab"))
    (curve, _), unit = list_curves(found, "steps")
    assert unit == "nats per token"
    assert curve.valid == ((10, 2.0), (20, 1.5), (30, 1.25))
    assert curve.train == ((10, 1.5), (20, 1.0), (30, 0.75))
    (curve, _), _ = list_curves(found, "minutes")
    assert [place for place, _ in curve.valid] == [0.25, 0.5, 0.75]
    (curve, _), _ = list_curves(found, "tokens")
    assert [place for place, _ in curve.valid] == [1200, 2400, 3600]


def test_curves_of_other_tokens_are_in_bits_per_character(tmp_path: Path) -> None:
    found = compare(make_run(tmp_path / "a"), make_run(tmp_path / "b", level="byte"))
    (curve, _), unit = list_curves(found, "steps")
    assert unit == "bits per character"
    # 100 predictions over 100 characters; in the training text, 900 over 900
    assert curve.valid[0] == (10, pytest.approx(2.0 / math.log(2)))
    assert curve.train[0] == (10, pytest.approx(1.5 / math.log(2)))


def test_runs_without_a_log_have_no_curves(tmp_path: Path) -> None:
    found = compare(*(make_run(tmp_path / name, losses=()) for name in "ab"))
    with pytest.raises(UsageError, match="no curve to draw"):
        list_curves(found, "steps")


def test_details_are_refused_where_a_file_was_changed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.samples_path.write_text(run.samples_path.read_text().replace("Once", "Twice"))
    with pytest.raises(RunError, match=r"samples\.txt is not what the manifest says"):
        read_details(run.path)


def test_details_say_speed_parts_sizes_and_origin(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", origin={"run": "demo", "added_tokens": 3, "best": {"step": 1}})
    (run.checkpoints_path / "step-20").mkdir()
    (run.checkpoints_path / "step-20/state.json").write_bytes(bytes(70))
    (run.checkpoints_path / "step-20/tensors.safetensors").write_bytes(bytes(500))
    details = read_details(run.path)
    # 3,600 tokens in three times 2 + 9 + 1 s, validations aside
    assert details.tokens_per_s == 100.0
    assert details.stages_s["validation"] == 9.0
    assert sum(details.weights_by_part.values()) == details.summary.weights
    assert details.weights_by_part["lstm_1"] == (4 + 6 + 1) * 4 * 6
    assert details.files["checkpoints/step-20"] == 570
    assert details.files["samples.txt"] == run.samples_path.stat().st_size
    assert details.origin == {"run": "demo", "added_tokens": 3}
    assert details.changed["model.hidden_units"] == (512, 6)
    assert details.sample is not None
    assert details.sample.text == "Once upon"
    run.weights_path.unlink()
    assert read_details(run.path).files["model.safetensors"] is None


def test_a_row_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with run.metrics_path.open("a") as file:
        file.write("40,4")
    assert [row["step"] for row in read_details(run.path).history] == [10, 20, 30]

"""What differs between runs: settings as text, metrics against a reference."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from explorer.analysis.comparison import metric_table, settings_table, wide_metric_table
from explorer.analysis.settings import NOT_SET, STATISTICS, better_direction, pick_statistic, setting_text

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_only_the_settings_that_differ_are_shown() -> None:
    table = settings_table({"a": {"lr": 0.1, "seed": 1}, "b": {"lr": 0.2, "seed": 1}})
    assert list(table.index) == ["lr"]
    assert list(table.loc["lr"]) == ["0.1", "0.2"]


def test_all_settings_are_shown_on_request_sorted_by_name() -> None:
    table = settings_table({"a": {"seed": 1, "lr": 0.1}, "b": {"lr": 0.1, "seed": 1}}, only_differences=False)
    assert list(table.index) == ["lr", "seed"]


def test_a_setting_that_one_run_lacks_is_a_difference_and_is_not_null() -> None:
    table = settings_table({"a": {"dropout": None}, "b": {}})
    assert list(table.loc["dropout"]) == ["null", NOT_SET]


def test_runs_keep_the_order_they_were_given_in() -> None:
    assert list(settings_table({"z": {"k": 1}, "a": {"k": 2}, "m": {"k": 3}}).columns) == ["z", "a", "m"]


def test_one_run_alone_has_no_differences() -> None:
    assert settings_table({"a": {"lr": 0.1}}).empty


def test_no_runs_make_an_empty_table() -> None:
    assert settings_table({}).shape == (0, 0)


def test_one_and_one_point_zero_are_the_same_setting_but_true_is_not() -> None:
    table = settings_table({"a": {"k": 1}, "b": {"k": 1.0}, "c": {"k": True}}, only_differences=False)
    assert list(table.loc["k"]) == ["1", "1", "true"]


def test_a_text_that_looks_like_a_number_is_told_from_the_number() -> None:
    assert list(settings_table({"a": {"k": "1"}, "b": {"k": 1}}).loc["k"]) == ['"1"', "1"]


def test_a_text_that_reads_not_set_is_told_from_a_missing_setting() -> None:
    assert list(settings_table({"a": {"k": NOT_SET}, "b": {}}).loc["k"]) == [f'"{NOT_SET}"', NOT_SET]


@given(JSON_VALUES, JSON_VALUES)
def test_two_settings_have_one_text_only_if_they_are_equal(left: object, right: object) -> None:
    same_text = setting_text(left) == setting_text(right)
    if same_text:
        assert json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True) or left == right


def test_nan_settings_are_equal_to_each_other() -> None:
    assert settings_table({"a": {"k": math.nan}, "b": {"k": math.nan}}).empty


@pytest.mark.parametrize("name", ["loss", "train/loss", "val/loss_epoch", "valLoss", "eval/perplexity", "test/MSE"])
def test_losses_and_errors_improve_downwards(name: str) -> None:
    assert better_direction(name) == "lower"


@pytest.mark.parametrize("name", ["acc", "val/accuracy", "train/acc_top5", "eval/f1", "valAccuracy", "rollout/reward"])
def test_accuracies_and_scores_improve_upwards(name: str) -> None:
    assert better_direction(name) == "higher"


@pytest.mark.parametrize("name", ["lr", "grad_norm", "lossless", "", "acc_loss", "epoch", "日本", "system/cpu_percent"])
def test_a_name_that_does_not_tell_is_not_guessed(name: str) -> None:
    assert better_direction(name) is None


def test_the_last_part_of_a_name_decides() -> None:
    assert better_direction("accuracy/loss") == "lower"


@pytest.mark.parametrize(("better", "expected"), [("lower", 0.5), ("higher", 2.0), (None, None)])
def test_best_follows_the_direction_and_is_unknown_without_one(better: str | None, expected: float | None) -> None:
    assert pick_statistic("best", last=1.0, low=0.5, high=2.0, better=better) == expected  # type: ignore[arg-type]


def test_every_statistic_can_be_picked() -> None:
    picked = [pick_statistic(which, last=1.0, low=0.5, high=2.0, better="higher") for which in STATISTICS]
    assert picked == [1.0, 2.0, 0.5, 2.0]


def test_differences_to_the_reference_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    numbers = {f"r{i}": {f"m{j}": float(v) for j, v in enumerate(rng.normal(size=5))} for i in range(4)}
    table = metric_table(numbers, "r2").set_index(["run", "metric"])
    base = np.array(list(numbers["r2"].values()))
    for run in ("r0", "r1", "r3"):
        value = np.array(list(numbers[run].values()))
        np.testing.assert_array_equal(table.loc[run]["difference"].to_numpy(), value - base)
        np.testing.assert_allclose(table.loc[run]["percent"].to_numpy(), 100 * (value - base) / np.abs(base))


def test_the_reference_has_no_difference_to_itself() -> None:
    table = metric_table({"a": {"loss": 1.0}, "b": {"loss": 2.0}}, "a", better={"loss": "lower"})
    own = table[table["run"] == "a"].iloc[0]
    assert math.isnan(own["difference"])
    assert math.isnan(own["percent"])
    assert own["verdict"] == ""


def test_the_percentage_of_a_negative_reference_keeps_the_sign_of_the_difference() -> None:
    row = metric_table({"a": {"m": -2.0}, "b": {"m": -1.0}}, "a").iloc[1]
    assert (row["difference"], row["percent"]) == (1.0, 50.0)


def test_a_reference_of_zero_gives_a_difference_but_no_percentage() -> None:
    row = metric_table({"a": {"m": 0.0}, "b": {"m": 1.0}}, "a").iloc[1]
    assert row["difference"] == 1.0
    assert math.isnan(row["percent"])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_value_that_is_missing_or_not_finite_has_no_difference_and_no_verdict(value: float | None) -> None:
    table = metric_table({"a": {"m": 1.0}, "b": {"m": value}, "c": {}}, "a", better={"m": "lower"})
    for run in ("b", "c"):
        row = table[table["run"] == run].iloc[0]
        assert math.isnan(row["difference"])
        assert math.isnan(row["percent"])
        assert row["verdict"] == ""


def test_a_value_that_is_nan_is_told_from_one_that_is_missing() -> None:
    table = metric_table({"a": {"m": math.nan}, "b": {"m": None}, "c": {}}, "a")
    assert list(table["recorded"]) == [True, False, False]


def test_an_infinite_value_is_still_shown() -> None:
    assert metric_table({"a": {"m": math.inf}}, "a")["value"].item() == math.inf


@pytest.mark.parametrize(
    ("direction", "verdicts"), [("lower", ["better", "same", "worse"]), ("higher", ["worse", "same", "better"])]
)
def test_better_and_worse_follow_the_direction(direction: str, verdicts: list[str]) -> None:
    numbers = {"ref": {"m": 1.0}, "low": {"m": 0.5}, "same": {"m": 1.0}, "high": {"m": 2.0}}
    table = metric_table(numbers, "ref", better={"m": direction})  # type: ignore[dict-item]
    assert list(table["verdict"]) == ["", *verdicts]


def test_without_a_direction_nothing_is_called_better() -> None:
    assert set(metric_table({"a": {"loss": 1.0}, "b": {"loss": 0.5}}, "a")["verdict"]) == {""}


def test_a_reference_that_is_not_compared_is_named() -> None:
    with pytest.raises(ValueError, match="'c' is none of the compared runs: a, b"):
        metric_table({"a": {}, "b": {}}, "c")


def test_runs_without_metrics_make_an_empty_table() -> None:
    assert metric_table({"a": {}}, "a").empty


def test_the_wide_table_has_one_row_per_metric_and_the_fields_of_each_run_side_by_side() -> None:
    table = metric_table({"b": {"loss": 1.0, "acc": 0.5}, "a": {"loss": 3.0}}, "b")
    wide = wide_metric_table(table, ["b", "a"], ["value", "difference"])
    assert list(wide.index) == ["acc", "loss"]
    assert list(wide.columns) == [("b", "value"), ("b", "difference"), ("a", "value"), ("a", "difference")]
    assert wide.loc["loss", ("a", "difference")] == 2.0
    assert pd.isna(wide.loc["acc", ("a", "value")])


def test_the_wide_table_of_no_metrics_still_has_its_columns() -> None:
    wide = wide_metric_table(metric_table({"a": {}}, "a"), ["a"], ["value"])
    assert wide.shape == (0, 1)


def test_half_a_character_in_a_name_is_compared_like_any_other() -> None:
    table = metric_table({"a": {"\ud800": 1.0}, "b": {"\ud800": 3.0}}, "a")
    assert wide_metric_table(table, ["a", "b"], ["value"]).iloc[0].tolist() == [1.0, 3.0]
    assert settings_table({"a": {"\ud800": "\ud800"}, "b": {}}).shape == (1, 2)

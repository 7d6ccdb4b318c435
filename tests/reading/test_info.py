from pathlib import Path

import pandas as pd

from explorer.reading.info import MetricSummary, RunInfo, flatten, runs_table


def metric(last, low=0.0, high=1.0):
    return MetricSummary(3, last, 2, low, 0, high, 1, 0, 0)


def test_a_flat_config_has_dotted_keys_and_keeps_lists_whole():
    nested = {"lr": 0.1, "model": {"width": 32, "layers": [1, {"a": 2}], "none": {}, "deep": {"er": None}}}
    assert flatten(nested) == {
        "lr": 0.1, "model.width": 32, "model.layers": [1, {"a": 2}], "model.none": {}, "model.deep.er": None,
    }  # fmt: skip


def test_the_table_of_runs_has_a_column_for_each_setting_and_statistic():
    infos = [
        RunInfo("a", Path("a"), config={"lr": 0.1, "model": {"width": 32}}, metrics={"loss": metric(0.5)}, last_step=9),
        RunInfo("b", Path("b"), config={"lr": 0.2}, metrics={"acc": metric(0.9, None, None)}),
    ]
    table = runs_table(infos)
    assert table.index.tolist() == ["a", "b"]
    assert table.index.name == "run_id"
    assert table["config.lr"].tolist() == [0.1, 0.2]
    assert table.loc["a", "config.model.width"] == 32
    assert pd.isna(table.loc["b", "config.model.width"])
    assert table.loc["a", "last.loss"] == 0.5
    assert pd.isna(table.loc["b", "last.loss"])
    assert pd.isna(table.loc["b", "min.acc"])
    assert table["last_step"].tolist() == [9, pd.NA]


def test_no_runs_are_a_table_without_rows():
    assert len(runs_table([])) == 0


def test_settings_of_mixed_types_stay_what_they_are():
    values = [1, "1", None, [1], True]
    infos = [RunInfo(str(at), Path(str(at)), config={"x": value}) for at, value in enumerate(values)]
    shown = runs_table(infos)["config.x"].tolist()
    assert [type(value) for value in shown] == [type(value) for value in values]

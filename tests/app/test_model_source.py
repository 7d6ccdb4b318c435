"""What is known of a model: tensors of several names count once, frozen and buffers apart, what never runs is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import vl_convert
from torch import nn

from explorer import Recorder
from explorer.app import model_drawing
from explorer.app.colours import LIGHT, LIGHT_RAMP
from explorer.app.model_compare import differences
from explorer.app.model_paint import Painting
from explorer.app.model_source import Architecture, architecture
from explorer.charts.export import standalone
from explorer.inference.folding import fold
from explorer.reading.catalogue import Catalogue


class Net(nn.Module):
    """A normalised layer, one that is never called, and a head that shares its weight."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.body = nn.Linear(4, width)
        self.spare = nn.Linear(7, 7)
        self.back = nn.Linear(width, 4, bias=False)
        if width == 4:
            self.back.weight = self.body.weight
        self.norm.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 4] -> [N, 4]."""
        found: torch.Tensor = self.back(torch.relu(self.body(self.norm(x))))
        return found


def record(root: Path, name: str, model: nn.Module, *, watch: bool = True) -> None:
    with Recorder(name, root=root, quiet=True, system_every_s=None) as rec:
        if watch:
            rec.watch(model)
        rec.log({"loss": model(torch.randn(3, 4)).mean()}, step=0)
        rec.program(model, torch.randn(3, 4))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Architecture]:
    root = tmp_path_factory.mktemp("source") / "logs"
    torch.manual_seed(0)
    record(root, "net", Net())
    record(root, "again", Net())
    record(root, "wide", Net(5))
    record(root, "unwatched", Net(), watch=False)
    return {info.name: architecture(info) for info in Catalogue(root).refresh()}


def test_a_tensor_of_two_names_counts_once_and_in_both_its_modules(models: dict[str, Architecture]) -> None:
    model = models["net"]
    assert model.rows["body"].num_parameters == 20
    assert model.rows["back"].num_parameters == 16
    assert model.root.num_parameters == sum(parameter.numel() for parameter in Net().parameters())
    assert {model.tied["body.weight"], model.tied["back.weight"]} == {("back.weight",), ("body.weight",)}


def test_frozen_parameters_and_buffers_are_counted_apart(models: dict[str, Architecture]) -> None:
    norm = models["net"].rows["norm"]
    assert (norm.num_parameters, norm.num_frozen) == (8, 4)
    assert norm.num_buffers >= 8
    assert models["unwatched"].rows["norm"].num_frozen is None


def test_a_module_that_is_never_called_is_there_with_no_calls(models: dict[str, Architecture]) -> None:
    spare = models["net"].rows["spare"]
    assert (spare.num_calls, spare.num_nodes, spare.num_parameters) == (0, 0, 56)
    assert models["unwatched"].rows["spare"].num_calls == 0


def test_every_module_is_followed_by_what_is_in_it(models: dict[str, Architecture]) -> None:
    assert next(iter(models["net"].rows)) == ""
    assert set(models["net"].rows) == {name for name, _ in Net().named_modules()}


def test_the_same_architecture_differs_in_nothing_and_another_in_what_it_has(models: dict[str, Architecture]) -> None:
    assert differences(models["net"], models["again"]) == []
    found = {one.path: one for one in differences(models["net"], models["wide"])}
    assert found.keys() == {"body", "back"}
    assert found["body"].before == "Linear, weight 4 × 4, bias 4 → N × 4"
    assert found["body"].after == "Linear, weight 5 × 4, bias 5 → N × 5"


def test_a_picture_of_the_graph_can_be_taken_away(models: dict[str, Architecture]) -> None:
    model, painted = models["net"], Painting("none", "")
    graph = fold(model.program) if model.program is not None else None
    assert graph is not None
    drawn = model_drawing.picture(model, graph, painted)
    spec = model_drawing.spec(drawn, painted, None, False)
    tables = model_drawing.tables(model, graph, painted, False, "")
    svg = vl_convert.vegalite_to_svg(standalone(spec, tables, LIGHT, LIGHT_RAMP, "Graph", "all of it", 600))
    assert all(f">{name}<" in svg for name in ("norm", "body", "back", "relu", "BatchNorm1d"))

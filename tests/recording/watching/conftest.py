"""Small trainings that are watched, and what is on disk of them."""

import pytest
import torch

from explorer.storage import layout, records
from explorer.storage.tensors import open_tensor_segment


@pytest.fixture
def rows_of_kind():
    """`rows_of_kind(recorder, kind)` is {(step, name): {column: value}} of everything of a kind on disk."""

    def read(recorder, kind):
        found = {}
        for file in layout.list_segments(recorder.path, "tensors"):
            with open_tensor_segment(file.path) as segment:
                for row in segment.read(segment_columns(), kinds=[kind]).to_pylist():
                    key = (row["step"], row["name"])
                    assert key not in found
                    found[key] = row
        return found

    return read


def segment_columns():
    from explorer.storage.tensor_rows import COLUMNS

    return COLUMNS


@pytest.fixture
def record_of_model():
    """`record_of_model(recorder)` is the content of its model file."""

    def read(recorder):
        return records.read_record(next((recorder.path / "model").iterdir()))

    return read


@pytest.fixture
def metrics_of(rows_of):
    """`metrics_of(recorder)` is {step: {metric: value}}, the rows of a step together."""

    def read(recorder):
        found = {}
        for _, _, step, row in rows_of(recorder.path):
            found.setdefault(step, {}).update(row)
        return found

    return read


@pytest.fixture
def train():
    """`train(model, optimizer, steps)` trains on fixed noise and gives back the losses."""

    def run(model, optimizer, num_steps, *, after=None, make_input=None):
        generator = torch.Generator().manual_seed(7)
        losses = []
        for step in range(num_steps):
            optimizer.zero_grad()
            inputs = make_input() if make_input else torch.randn(16, 8, generator=generator)
            loss = model(inputs).square().mean()
            loss.backward()
            if after:
                after(step)
            optimizer.step()
            losses.append(loss.item())
        return losses

    return run


@pytest.fixture
def mlp():
    """A fresh small network with dropout and batch normalisation, the same one each time."""

    def make():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Linear(8, 24),
            torch.nn.BatchNorm1d(24),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(24, 4),
        )

    return make

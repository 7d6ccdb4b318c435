"""Three small trained models with what was captured of them (images, a table, characters), and recorded runs."""

import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn
from torch.nn import functional

from explorer import Recorder
from explorer.inference.edits.apply import Subject
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.disk import Disk
from explorer.storage.program import Program
from explorer.storage.program_document import parse_program
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot

TEXT = (
    "the cat sat on the mat and the dog sat on the log while the rain ran down the lane and the train in spain "
    "was late again so the man made tea and read a tale of ten tall ships that sailed at the end of the long day. "
)


@dataclass
class Case:
    """A trained model in evaluation mode, its program, and examples it knows."""

    model: nn.Module
    document: dict
    program: Program
    interpreter: Interpreter
    constants: dict[str, Tensor]
    weights: dict[str, Tensor]
    inputs: Tensor  # the probe batch
    labels: Tensor
    first: dict[str, Tensor]  # weights before the training
    vocabulary: str = ""
    halfway: dict[str, Tensor] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.program.inputs[0].path

    def subject(self, **changes) -> Subject:
        facts = {"weights": self.weights, "probe": {self.path: self.inputs}, "snapshots": Snapshots(self)}
        return Subject(self.interpreter, **{**facts, **changes})

    def node(self, op: str, which: int = 0) -> str:
        """The name of the how-manieth node with an operator."""
        return [node.name for node in self.program.graph.nodes if node.op.startswith(f"aten.{op}.")][which]

    def eager(self, inputs: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """What the author's own model gives, with other weights if given."""
        with torch.no_grad():
            given = (self.inputs if inputs is None else inputs,)
            return torch.func.functional_call(self.model, weights or self.weights, given)


@dataclass
class Snapshots:
    """The steps of a case: 0 and 50 beside the last one."""

    case: Case

    def weights(self, run, step):
        return {None: self.case.first, 0: self.case.first, 50: self.case.halfway, 100: self.case.weights}[step]


class DigitsCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.norm(self.conv1(x))), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


class Characters(nn.Module):
    """A causal transformer of one block over characters."""

    def __init__(self, num_tokens, width=24, heads=4, length=32):
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(num_tokens, width)
        self.place = nn.Embedding(length, width)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.head = nn.Linear(width, num_tokens, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1], device=tokens.device))
        b, t, d = x.shape
        q, k, v = (
            part.reshape(b, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        x = x + self.down(torch.relu(self.up(self.norm2(x))))
        return self.head(x)


def train(model, batches, loss, *, steps=100, lr=1e-2):
    first = copied(model)
    halfway = {}
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        inputs, labels = batches(step)
        optimizer.zero_grad()
        loss(model(inputs), labels).backward()
        optimizer.step()
        if step == steps // 2:
            halfway = copied(model)
    model.eval()
    return first, halfway


def copied(model):
    """The weights by name; what is one tensor in the model is one here."""
    clones = {}
    return {name: clones.setdefault(id(t), t.detach().clone()) for name, t in model.state_dict(keep_vars=True).items()}


def make_case(model, inputs, labels, *, batches, loss, lr=1e-2, vocabulary=""):
    first, halfway = train(model, batches, loss, lr=lr)
    found = capture(model, (inputs[:4],), {})
    assert found.document is not None, found.why
    program = parse_program(found.document)
    interpreter = Interpreter(program, found.constants)
    return Case(
        model, found.document, program, interpreter, found.constants, copied(model), inputs, labels, first, vocabulary,
        halfway,
    )  # fmt: skip


@pytest.fixture(scope="session")
def digits() -> Case:
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    labels = torch.tensor(labels)
    torch.manual_seed(1)

    def batches(step):
        chosen = torch.arange(step * 64, step * 64 + 64) % 1500
        return images[chosen], labels[chosen]

    return make_case(DigitsCNN(), images[1500:1564], labels[1500:1564], batches=batches, loss=functional.cross_entropy)


@pytest.fixture(scope="session")
def diabetes() -> Case:
    rows, targets = load_diabetes(return_X_y=True)
    rows = torch.tensor(rows / rows.std(axis=0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)[:, None]
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    return make_case(
        model, rows[400:], targets[400:], batches=lambda _: (rows[:400], targets[:400]), loss=functional.mse_loss
    )


class Signals(nn.Module):
    """Channels are convolved, then turned into the last dimension."""

    def __init__(self):
        super().__init__()
        self.convolved, self.mixed = nn.Conv1d(8, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, rows):
        return self.mixed(torch.relu(self.convolved(rows)).transpose(1, 2)).mean(1)


@pytest.fixture(scope="session")
def signals() -> Case:
    images, labels = load_digits(n_class=4, return_X_y=True)
    images, labels = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 8, 8), torch.tensor(labels)
    torch.manual_seed(4)
    return make_case(
        Signals(), images[600:650], labels[600:650], batches=lambda _: (images[:600], labels[:600]),
        loss=functional.cross_entropy,
    )  # fmt: skip


@pytest.fixture(scope="session")
def characters() -> Case:
    vocabulary = "".join(sorted(set(TEXT)))
    text = torch.tensor([vocabulary.index(letter) for letter in TEXT * 4])
    torch.manual_seed(3)

    def batches(step):
        generator = np.random.default_rng(step)
        starts = generator.integers(0, len(text) - 20, 32)
        rows = torch.stack([text[start : start + 17] for start in starts])
        return rows[:, :-1], rows[:, 1:]

    def loss(logits, labels):
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    inputs, labels = batches(1000)
    return make_case(Characters(len(vocabulary)), inputs, labels, batches=batches, loss=loss, vocabulary=vocabulary)


def put_snapshot(run_dir, step, state):
    """A snapshot of a state dict, tied tensors once."""
    rows, seen = [], set()
    for name, tensor in state.items():
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        data = memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        dtype = str(tensor.dtype).removeprefix("torch.")
        role = "param" if tensor.is_floating_point() else "buffer"
        rows.append(SnapshotTensor(name, role, dtype, tuple(tensor.shape), data, None, zlib.crc32(data)))
    write_snapshot(snapshot_path(run_dir, step, 1, 0), step, rows, attempt=1, rank=0, disk=Disk(), sync=False)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """`recorded(model, *inputs)` is a run with the model's program, and its weights at step 0."""

    def record(model, *inputs, **options):
        root = tmp_path_factory.mktemp("runs")
        with Recorder("t", root=root, quiet=True, system_every_s=None) as rec:
            rec.log({"loss": 1.0}, step=0)
            rec.program(model, *inputs, **options)
        put_snapshot(rec.path, 0, model.state_dict())
        return rec.path

    return record

"""Which tensors a model has, and under which names, compared with torch's own `state_dict`."""

import pytest
import torch
from torch import nn

from explorer.recording.snapshots.inventory import take_inventory


class Tied(nn.Module):
    """An embedding whose weight the last layer uses too, and a buffer that `state_dict` leaves out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.ones(2, 2), persistent=False)
        self.register_parameter("absent", None)

    def forward(self, x):
        return self.head(self.norm(self.embed(x)))


def tensors(inventory):
    return {each.name: each.tensor for each in inventory.found}


def test_names_and_tensors_are_those_of_state_dict_and_the_buffers_that_it_leaves_out():
    model = Tied()
    inventory = take_inventory(model)
    found = tensors(inventory)
    found |= {name: found[first] for name, first in inventory.ties.items()}
    assert found.keys() == model.state_dict().keys() | {"mask"}
    for name, tensor in model.state_dict().items():
        assert found[name].data_ptr() == tensor.data_ptr()
    assert inventory.skipped == []


def test_a_tied_tensor_is_found_once_and_its_other_name_is_known():
    inventory = take_inventory(Tied())
    assert inventory.ties == {"head.weight": "embed.weight"}


def test_a_module_used_twice_is_found_once():
    layer = nn.Linear(2, 2)
    inventory = take_inventory(nn.Sequential(layer, nn.ReLU(), layer))
    assert list(tensors(inventory)) == ["0.weight", "0.bias"]
    assert inventory.ties == {"2.weight": "0.weight", "2.bias": "0.bias"}


def test_parameters_and_buffers_have_their_roles():
    roles = {each.name: each.role for each in take_inventory(Tied()).found}
    assert roles["norm.weight"] == "param"
    assert roles["norm.running_mean"] == roles["norm.num_batches_tracked"] == roles["mask"] == "buffer"


def compiled(model):
    return torch.compile(model, backend="eager")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize(
    "wrap",
    [
        compiled,
        nn.DataParallel,
        lambda model: nn.DataParallel(compiled(model)),
        lambda model: compiled(nn.DataParallel(model)),
    ],
    ids=["compiled", "parallel", "parallel over compiled", "compiled over parallel"],
)
def test_a_wrapped_model_has_the_names_of_the_plain_one(wrap):
    model = Tied()
    plain, wrapped = take_inventory(model), take_inventory(wrap(model))
    assert list(tensors(wrapped)) == list(tensors(plain))
    assert wrapped.ties == plain.ties


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_layer_within_a_model_has_its_plain_name():
    model = nn.Sequential(nn.Linear(2, 2), compiled(nn.Linear(2, 2)))
    assert list(tensors(take_inventory(model))) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_layer_that_somebody_calls_module_keeps_its_name():
    model = nn.Module()
    model.module = nn.Linear(2, 2)
    assert list(tensors(take_inventory(model))) == ["module.weight", "module.bias"]


def test_a_module_within_itself_is_looked_at_once():
    model = nn.Linear(2, 2)
    model.add_module("me", model)
    inventory = take_inventory(model)
    assert list(tensors(inventory)) == ["weight", "bias"]
    assert inventory.ties == {}


class Half(torch.Tensor):
    """A tensor of somebody's own, which answers every operation itself."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("nobody may look at me")


def test_what_has_no_plain_values_is_left_out_with_the_reason():
    model = nn.Module()
    model.lazy = nn.LazyLinear(3)
    for name, buffer in {
        "meta": torch.zeros(3, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_coo().coalesce(),
        "own": torch.zeros(3).as_subclass(Half),
        "good": torch.zeros(3),
    }.items():
        model.register_buffer(name, buffer)
    inventory = take_inventory(model)
    reasons = dict(inventory.skipped)
    assert list(tensors(inventory)) == ["good"]
    assert reasons["lazy.weight"].startswith("has no values yet")
    assert reasons["meta"] == "is on the meta device and has no values"
    assert reasons["sparse"] == reasons["rows"] == "is sparse (torch.sparse_coo)"
    assert reasons["own"] == "is a Half, whose values have no plain form"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_quantised_tensor_is_left_out():
    model = nn.Module()
    model.register_buffer("quantised", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    assert take_inventory(model).skipped == [("quantised", "is quantised (torch.qint8)")]


@pytest.fixture
def mesh(tmp_path):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_sharded_tensor_is_left_out_and_a_replicated_one_is_its_local_tensor(mesh):
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    model = nn.Module()
    values = torch.arange(6.0).reshape(2, 3)
    model.sharded = nn.Parameter(distribute_tensor(values, mesh, [Shard(0)]))
    model.replicated = nn.Parameter(distribute_tensor(values, mesh, [Replicate()]))
    inventory = take_inventory(model)
    assert inventory.skipped == [("sharded", "is spread over several processes (DTensor)")]
    assert torch.equal(tensors(inventory)["replicated"], values)
    assert type(tensors(inventory)["replicated"]) is torch.Tensor


@pytest.mark.filterwarnings("ignore")
def test_a_model_wrapped_for_data_parallelism_has_the_names_of_the_plain_one(mesh):
    model = Tied()
    wrapped = nn.parallel.DistributedDataParallel(model)
    assert list(tensors(take_inventory(wrapped))) == list(tensors(take_inventory(model)))


def stepped(optimizer_class, model, **options):
    optimizer = optimizer_class(model.parameters(), **options)
    sum((parameter**2).sum() for parameter in model.parameters()).backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.Adagrad, torch.optim.Rprop])
def test_the_state_of_an_optimizer_is_named_after_its_parameters(optimizer_class):
    model = nn.Linear(3, 2)
    optimizer = stepped(optimizer_class, model)
    found = {each.name: each.tensor for each in take_inventory(model, optimizer).found if each.role == "optimizer"}
    expected = {}
    for name, parameter in model.named_parameters():
        expected |= {f"{name}.{key}": torch.as_tensor(value) for key, value in optimizer.state[parameter].items()}
    assert found.keys() == expected.keys()
    assert len(found) >= 4
    for name, value in expected.items():
        assert torch.equal(found[name].double(), value.double())


def test_numbers_in_the_state_become_tensors_and_anything_else_is_left_out():
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.state[model.weight] = {"count": 3, "scale": 0.1, "none": None, "blocks": [torch.ones(2)]}
    inventory = take_inventory(model, optimizer)
    found = tensors(inventory)
    assert found["weight.count"].dtype == torch.int64
    assert found["weight.count"].item() == 3
    assert found["weight.scale"].dtype == torch.float64
    assert found["weight.scale"].item() == 0.1
    assert inventory.skipped == [("weight.blocks", "is a list, not a tensor or a number")]


def test_state_of_a_parameter_that_is_not_in_the_model_is_left_out():
    model, other = nn.Linear(1, 1), nn.Linear(1, 1)
    inventory = take_inventory(model, stepped(torch.optim.Adam, other))
    assert [reason for _, reason in inventory.skipped] == ["its parameter is not in the model"] * 2

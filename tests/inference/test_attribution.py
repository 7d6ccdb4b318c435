"""Captum on the program gives the numbers of Captum on the author's model; and closed forms."""

import numpy as np
import pytest
import torch
from captum import attr
from scipy import stats
from torch import nn
from torch.nn import functional

from explorer.errors import UsageError
from explorer.inference.attribution import REFUSED, attribute
from explorer.inference.edited_module import EditedModule, predicted_class
from explorer.inference.edits.apply import Subject, apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.randomisation import randomisation_check, rank_correlation
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.program_document import parse_program

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def plain(case, examples=slice(0, 3), recipe=()):
    return apply(parse_recipe(recipe), case.subject(), {case.path: case.inputs[examples]})


def test_integrated_gradients_saliency_occlusion_and_ablation_are_those_of_the_authors_model(digits):
    x = digits.inputs[:3]
    zero = torch.zeros_like(x)
    wanted = {
        "integrated_gradients": attr.IntegratedGradients(digits.model).attribute(
            x, zero, target=4, n_steps=20, method="gausslegendre"
        ),
        "saliency": attr.Saliency(digits.model).attribute(x, target=4, abs=False),
        "occlusion": attr.Occlusion(digits.model).attribute(x, (1, 3, 3), baselines=zero, target=4),
        "feature_ablation": attr.FeatureAblation(digits.model).attribute(x, baselines=zero, target=4),
    }
    for method, theirs in wanted.items():
        ours = attribute(plain(digits), method, target=4)
        assert np.array_equal(ours.values, theirs.detach().numpy()), method
        assert (ours.values < 0).any(), method
        assert (ours.values > 0).any(), method


def test_maps_of_layers_are_those_of_the_authors_model(digits):
    x, node = digits.inputs[:3], digits.node("conv2d", 1)
    cam = attr.LayerGradCam(digits.model, digits.model.conv2).attribute(x, target=4)
    conductance = attr.LayerConductance(digits.model, digits.model.conv2).attribute(
        x, torch.zeros_like(x), target=4, n_steps=20
    )
    assert np.array_equal(attribute(plain(digits), "grad_cam", target=4, node=node).values, cam.detach().numpy())
    ours = attribute(plain(digits), "layer_conductance", target=4, node=node)
    assert np.array_equal(ours.values, conductance.detach().numpy())
    assert ours.relative_gap() < 0.3


def test_tokens_have_integrated_gradients_at_their_embedding(characters):
    tokens = characters.inputs[:1]
    ours = attribute(
        plain(characters, slice(0, 1)), "integrated_gradients", target=(15, 3), node=characters.node("embedding")
    )
    theirs = attr.LayerIntegratedGradients(characters.model, characters.model.embed).attribute(
        tokens, torch.zeros_like(tokens), target=(15, 3), n_steps=20
    )
    assert np.array_equal(ours.values, theirs.detach().numpy())
    finer = attribute(
        plain(characters, slice(0, 1)),
        "integrated_gradients",
        target=(15, 3),
        node=characters.node("embedding"),
        num_steps=300,
    )
    assert abs(finer.gap()[0]) < abs(ours.gap()[0]) / 2
    ablated = attribute(plain(characters, slice(0, 1)), "feature_ablation", target=(15, 3))
    changed = tokens.clone()
    changed[0, 7] = 0
    effect = characters.eager(tokens)[0, 15, 3] - characters.eager(changed)[0, 15, 3]
    assert ablated.values[0, 7] == pytest.approx(float(effect), abs=1e-6)


def test_a_linear_model_is_attributed_its_weights_times_its_inputs():
    torch.manual_seed(0)
    model = nn.Linear(5, 3).double()
    x, x0 = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    found = capture(model, (x,), {})
    program = parse_program(found.document)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    subject = Subject(Interpreter(program, found.constants), weights)
    edited = apply((), subject, {program.inputs[0].path: x})
    closed = (weights["weight"][1] * (x - x0)).numpy()
    for method in ("integrated_gradients", "occlusion", "feature_ablation"):
        ours = attribute(edited, method, target=1, baseline=x0)
        assert np.allclose(ours.values, closed, atol=1e-12), method
    assert np.allclose(attribute(edited, "saliency", target=1).values, weights["weight"][1].numpy())
    assert np.abs(attribute(edited, "integrated_gradients", target=1, baseline=x0).gap()).max() < 1e-7


def test_the_gap_is_what_the_sum_lacks_and_shrinks_with_steps(digits):
    few, many = (
        attribute(plain(digits), "integrated_gradients", target=4, num_steps=steps) for steps in (2, 200)
    )  # fmt: skip
    fx, fx0 = (digits.eager(found)[:, 4] for found in (digits.inputs[:3], torch.zeros(3, 1, 8, 8)))
    by_hand = many.values.sum(axis=(1, 2, 3), dtype=np.float64) - (fx - fx0).numpy()
    assert np.allclose(many.gap(), by_hand, atol=1e-5)
    assert many.relative_gap() < 0.02
    assert few.relative_gap() > many.relative_gap()
    assert attribute(plain(digits), "saliency", target=4).relative_gap() is None


def test_a_baseline_equal_to_the_input_attributes_nothing(digits):
    found = attribute(plain(digits), "integrated_gradients", target=4, baseline=digits.inputs[:3])
    assert not found.values.any()
    assert found.relative_gap() == 0.0


def test_baselines_are_zero_the_mean_of_the_probe_or_a_blur(digits):
    baselines = {
        name: attribute(plain(digits), "feature_ablation", target=4, baseline=name).baseline
        for name in ("zero", "mean", "blur")
    }
    assert not baselines["zero"].any()
    assert np.allclose(baselines["mean"][0], digits.inputs.mean(0).numpy(), atol=1e-6)
    assert 0.2 < np.corrcoef(baselines["blur"].ravel(), digits.inputs[:3].numpy().ravel())[0, 1] < 0.99


def test_an_edited_model_is_the_one_that_is_attributed(digits):
    recipe = [{"edit": "scale", "target": "fc.weight", "factor": 2}]
    edited, original = (attribute(plain(digits, recipe=r), "saliency", target=4).values for r in (recipe, []))
    assert np.allclose(edited, 2 * original, rtol=1e-5)
    dead = [{"edit": "ablate", "node": digits.node("flatten"), "by": "zero"}]
    for method, node in (("saliency", None), ("integrated_gradients", None), ("grad_cam", digits.node("conv2d", 1))):
        with pytest.raises(UsageError, match="nothing of the input reaches this output"):
            attribute(plain(digits, recipe=dead), method, target=4, node=node)


def test_a_regression_needs_no_target(diabetes):
    found = attribute(plain(diabetes), "integrated_gradients", baseline="mean", num_steps=200)
    assert found.values.shape == (3, 10)
    assert found.relative_gap() < 0.05


@pytest.mark.parametrize("method", REFUSED)
def test_methods_that_would_be_wrong_are_refused_by_name(digits, method):
    with pytest.raises(UsageError, match=rf"{method} is not offered: it replaces the gradients"):
        attribute(plain(digits), method, target=4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"method": "magic"}, "one of integrated_gradients, saliency"),
        ({"method": "grad_cam"}, "should be told the node"),
        ({"method": "grad_cam", "node": "nowhere"}, "found 'nowhere'"),
        ({"method": "saliency", "target": 10}, r"an index into outputs \(10,\) of an example; found 10"),
        ({"method": "saliency", "target": None}, "an index into outputs"),
        ({"method": "saliency", "path": "x"}, "the input should be one of"),
        ({"method": "integrated_gradients", "num_steps": 0}, "from 1 to 1,000"),
        ({"method": "occlusion", "baseline": "median"}, "zero, mean, blur or a tensor"),
        ({"method": "occlusion", "baseline": torch.zeros(2)}, r"the shape \(3, 1, 8, 8\); found \(2,\)"),
        ({"method": "occlusion", "window": (1, 9, 3)}, r"fit into \(1, 8, 8\)"),
    ],
)
def test_what_cannot_be_done_is_said(digits, arguments, text):
    with pytest.raises(UsageError, match=text):
        attribute(plain(digits), **{"target": 4, **arguments})


def test_gradients_of_tokens_are_refused_with_what_to_use(characters):
    with pytest.raises(UsageError, match="use feature_ablation, or integrated_gradients at the node"):
        attribute(plain(characters), "saliency", target=(0, 0))


class Deciding(nn.Module):
    """Its path depends on its values, so it is captured as a tape, with the sizes of the example."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(torch.tanh(x) if x.sum() > -1e9 else x)


def test_a_model_of_fixed_sizes_is_integrated_one_step_at_a_time():
    torch.manual_seed(0)
    model, x = Deciding().eval(), torch.randn(2, 6)
    found = capture(model, (x,), {})
    program = parse_program(found.document)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    subject = Subject(Interpreter(program, found.constants), weights)
    edited = apply((), subject, {program.inputs[0].path: x})
    assert program.route in ("strict", "tape")
    ours = attribute(edited, "integrated_gradients", target=1)
    theirs = attr.IntegratedGradients(model).attribute(x, target=1, n_steps=20)
    assert np.allclose(ours.values, theirs.detach().numpy(), atol=1e-6)
    assert ours.relative_gap() < 0.01


class TwoInputs(nn.Module):
    """An image, and a word for each."""

    def __init__(self):
        super().__init__()
        self.conv, self.words, self.fc = nn.Conv2d(1, 3, 3), nn.Embedding(5, 3), nn.Linear(6, 2)

    def forward(self, image, word):
        return self.fc(torch.cat([torch.tanh(self.conv(image)).mean((2, 3)), self.words(word).mean(1)], 1))


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency", "occlusion", "layer_conductance"])
@pytest.mark.parametrize("count", [1, 3])
def test_any_of_several_inputs_is_attributed_with_the_others_as_they_are(method, count):
    torch.manual_seed(0)
    model, image, word = TwoInputs().eval(), torch.randn(4, 1, 5, 5), torch.randint(0, 5, (4, 2))
    found = capture(model, (image, word), {})
    program = parse_program(found.document)
    subject = Subject(Interpreter(program, found.constants), dict(model.state_dict()))
    edited = apply((), subject, {"args[0]": image[:count], "args[1]": word[:count]})
    node = next(node.name for node in program.graph.nodes if node.op.startswith("aten.conv2d"))
    ours = attribute(edited, method, target=1, path="args[0]", node=node if method == "layer_conductance" else None)
    given = {"target": 1, "additional_forward_args": (word[:count],)}
    x = image[:count]
    theirs = {
        "integrated_gradients": lambda: attr.IntegratedGradients(model).attribute(x, n_steps=20, **given),
        "saliency": lambda: attr.Saliency(model).attribute(x, abs=False, **given),
        "occlusion": lambda: attr.Occlusion(model).attribute(x, (1, 3, 3), **given),
        "layer_conductance": lambda: attr.LayerConductance(model, model.conv).attribute(x, n_steps=20, **given),
    }[method]()
    assert np.allclose(ours.values, theirs.detach().numpy(), atol=1e-7)
    words = attribute(edited, "feature_ablation", target=1, path="args[1]")
    assert words.values.shape == (count, 2)


def test_a_run_can_be_stopped_and_counted(digits):
    runs = []
    attribute(plain(digits), "feature_ablation", target=4, on_run=lambda: runs.append(1))
    assert len(runs) >= 64


def test_shuffled_weights_change_an_attribution(digits):
    table = randomisation_check(
        plain(digits), lambda edited: attribute(edited, "integrated_gradients", target=4).values, num_stages=3
    )
    assert list(table["num_shuffled"]) == [3, 5, 8]
    assert (table["signed_rank_correlation"].abs() < 0.7).all()
    assert table["absolute_rank_correlation"].iloc[-1] > table["signed_rank_correlation"].iloc[-1]


def test_a_rank_correlation_is_spearmans():
    one, other = np.random.default_rng(0).integers(0, 9, (2, 50)).astype(float)
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert np.isnan(rank_correlation(one, np.ones(50)))


def test_the_program_as_a_module_has_the_gradients_of_the_authors_model(digits):
    ours, theirs = (digits.inputs[:3].clone().requires_grad_() for _ in range(2))
    functional.cross_entropy(EditedModule(plain(digits))(ours), digits.labels[:3]).backward()
    functional.cross_entropy(digits.model(theirs), digits.labels[:3]).backward()
    assert torch.equal(ours.grad, theirs.grad)
    assert predicted_class(plain(digits)) == int(digits.eager()[0].argmax())

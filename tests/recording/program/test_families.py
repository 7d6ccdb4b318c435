"""Every family of models is captured by the route that is said, and gives to the last bit what the model gives."""

import copy

import pytest
import torch

from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.recording.program.encoding import leaves, output_paths
from explorer.recording.program.staging import plain
from explorer.storage.program_document import parse_program
from explorer.storage.records import encode
from tests.program_models import FAMILIES, make

transformers = pytest.importorskip("transformers", reason="optional: models of other people")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of PyTorch and transformers about themselves


def outputs_of(model, args, kwargs):
    """What a model gives in evaluation mode, by path, drawing from seed 0."""
    model = copy.deepcopy(getattr(model, "_orig_mod", model)).eval().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        found = plain(model(*args, **kwargs))
    return dict(zip(output_paths(found), leaves([found], {}), strict=True))


def run(found, model, args, kwargs):
    program = parse_program(found.document)
    weights = {name.removeprefix("_orig_mod."): tensor for name, tensor in model.state_dict().items()}
    given = dict(zip([each.path for each in program.inputs], leaves(args, kwargs), strict=True))
    with torch.no_grad():
        return Interpreter(program, found.constants).run(given, weights).outputs


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for path, value in found.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(wanted[path])), path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_program_is_its_model(name):
    route, *_ = FAMILIES[name]
    model, (args, kwargs), other = make(name)
    found = capture(model, args, kwargs)
    assert (found.document or {}).get("route") == route, found.why
    encode(found.document)  # strict JSON can hold it
    assert_equal(found.outputs, outputs_of(model, args, kwargs))
    assert_equal(run(found, model, args, kwargs), outputs_of(model, args, kwargs))
    assert all(apart == 0 for apart in found.document["check"].values())
    if other:
        assert_equal(run(found, model, *other), outputs_of(model, *other))


def tiny(kind, config, **sizes):
    common = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return lambda: getattr(transformers, kind)(getattr(transformers, config)(**{**common, **sizes}))


def tokens(batch, length):
    return {"input_ids": torch.randint(3, 50, (batch, length)), "attention_mask": torch.ones(batch, length).long()}


def pictures(batch):
    return {"pixel_values": torch.randn(batch, 3, 16, 16)}


IMAGE = {"image_size": 16, "patch_size": 8}
TEXT = {"vocab_size": 50, "max_position_embeddings": 32}
WHISPER = {
    "vocab_size": 50, "num_mel_bins": 4, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "max_source_positions": 10, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip


def clip():
    common = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {**common, **TEXT, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    config = transformers.CLIPConfig(text_config=text, vision_config={**common, **IMAGE}, projection_dim=8)
    return transformers.CLIPModel(config)


HUGGING_FACE = {
    "GPT-2": (tiny("GPT2LMHeadModel", "GPT2Config", **TEXT), lambda b: tokens(b, 4 + b)),
    "BERT": (tiny("BertForSequenceClassification", "BertConfig", **TEXT), lambda b: tokens(b, 4 + b)),
    "Llama": (tiny("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1, **TEXT), lambda b: tokens(b, 4 + b)),
    "ViT": (tiny("ViTForImageClassification", "ViTConfig", num_labels=3, **IMAGE), pictures),
    "T5": (
        tiny(
            "T5ForConditionalGeneration",
            "T5Config",
            vocab_size=50,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
        ),
        lambda b: {"input_ids": ids(b, 4 + b), "decoder_input_ids": ids(b, 2 + b)},
    ),
    "Whisper": (
        lambda: transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER)),
        lambda b: {"input_features": torch.randn(b, 4, 20), "decoder_input_ids": ids(b, 2 + b)},
    ),
    "CLIP": (clip, lambda b: tokens(b + 1, 4 + b) | pictures(b)),
}


def ids(*shape):
    return torch.randint(3, 50, shape)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_program_is_its_model_of_hugging_face(name):
    build, inputs = HUGGING_FACE[name]
    torch.manual_seed(0)
    model = build()
    found = capture(model, (), inputs(2))
    assert (found.document or {}).get("route") == "export", found.why
    other = inputs(3)
    assert_equal(run(found, model, (), other), outputs_of(model, (), other))

"""Tiny models of Hugging Face: name to (how to make it, named inputs for a batch size)."""

import torch
import transformers


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

"""The demo's text: Python's own help pages, and a small transformer that learns to continue them letter by letter."""

from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

CONTEXT = 64
NUM_VAL_CHARS = 20_000


def load_text() -> tuple[list[str], Tensor, Tensor]:
    """The help pages of Python's keywords and types, which ship with Python.

    Returns:
        The vocabulary in the order of its tokens, and the tokens int64 ``[N]`` for training and for validation.
    """
    text = "\n\n".join(topics[name] for name in sorted(topics))
    vocabulary = sorted(set(text))
    token_of = {char: token for token, char in enumerate(vocabulary)}
    tokens = torch.tensor([token_of[char] for char in text], dtype=torch.int64)
    return vocabulary, tokens[:-NUM_VAL_CHARS], tokens[-NUM_VAL_CHARS:]


class Block(nn.Module):
    """Attention to what came before, then two layers for each position. ``[N, T, width] -> [N, T, width]``."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add what attention and the two layers find."""
        batch, time, width = x.shape
        parts = self.attention_in(self.norm1(x)).view(batch, time, 3, self.num_heads, width // self.num_heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_out(found.transpose(1, 2).reshape(batch, time, width))
        out: Tensor = x + self.mlp_out(self.activation(self.mlp_in(self.norm2(x))))
        return out


class CharTransformer(nn.Module):
    """The next letter at every position: tokens int64 ``[N, T]``, T at most 64, to logits ``[N, T, vocabulary]``."""

    def __init__(self, num_tokens: int, width: int, num_heads: int, num_blocks: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(num_tokens, width)
        self.position_embedding = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, num_heads) for _ in range(num_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the letter that comes next."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token_embedding(tokens) + self.position_embedding(positions)
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def draw_batch(tokens: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces of text at random places and the letters that follow each of theirs: int64 ``[size, 64]``, twice."""
    starts = torch.randint(len(tokens) - CONTEXT - 1, (size, 1), generator=generator)
    found = tokens[starts + torch.arange(CONTEXT + 1)]
    return found[:, :-1], found[:, 1:]


@torch.no_grad()
def evaluate_text(model: nn.Module, tokens: Tensor) -> tuple[float, float]:
    """Mean loss (nats a letter) and share of letters guessed right (0 to 1) on the whole text."""
    model.eval()
    whole = tokens[: len(tokens) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    logits, wanted = model(whole[:, :-1]).flatten(0, 1), whole[:, 1:].flatten()
    loss = nn.functional.cross_entropy(logits, wanted)
    return loss.item(), (logits.argmax(1) == wanted).double().mean().item()

"""Models of many families, small: name to (route by which they are captured, model, example, another example).

An example is (positional, named) inputs. The other one has other sizes where the route lets them vary.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def example(*args, **kwargs):
    return args, kwargs


class Residual(nn.Module):
    """As torchvision writes it: in place."""

    def __init__(self, width=8):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        return self.relu(y)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x, time):
        a = functional.silu(self.down(x)) + time[:, None, None, None]
        y = self.up(functional.silu(self.mid(functional.max_pool2d(a, 2))))
        return self.out(torch.cat([a, y], 1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.tokens, self.rnn = nn.Embedding(20, 8), kind(8, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, ids):
        return self.head(self.rnn(self.tokens(ids))[0][:, -1])


class Attention(nn.Module):
    """Either the fused kernel, or by hand with a mask in a buffer that is in no state dict."""

    def __init__(self, fused, width=16, heads=2):
        super().__init__()
        self.qkv, self.out, self.heads, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), heads, fused
        self.register_buffer("mask", torch.tril(torch.ones(32, 32)), persistent=False)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(k.shape[-1])
            scores = scores.masked_fill(self.mask[:length, :length] == 0, float("-inf"))
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class GPT(nn.Module):
    def __init__(self, fused=True, depth=2, width=16):
        super().__init__()
        self.tokens, self.places = nn.Embedding(30, width), nn.Embedding(32, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "attention": Attention(fused, width),
                    "mlp": nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
                }
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 30, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids, targets=None):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = x + block["attention"](block["norm"](x))
            x = x + block["mlp"](x)
        logits = self.head(x)
        if targets is None:
            return logits[:, [-1]], None
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(10, 8), nn.Linear(4, 10)

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return {"image": self.decoder(code).sigmoid(), "mean": mean}


class GivenNoise(VAE):
    """The noise is an input, as for tests and for sampling from a chosen place."""

    def forward(self, x, noise):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return {"image": self.decoder(mean + noise * (0.5 * log_variance).exp()).sigmoid(), "mean": mean}


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x, edges):
        source, target = edges
        messages = torch.zeros_like(x).index_add_(0, target, x[source])
        degree = torch.zeros(x.shape[0]).scatter_add_(0, target, torch.ones(target.shape[0]))
        return self.layer(messages / degree.clamp(min=1)[:, None])


class Chosen(nn.Module):
    """`torch.cond`: both branches are in the program."""

    def __init__(self):
        super().__init__()
        self.positive, self.negative = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return torch.cond(x.sum() > 0, self.positive, self.negative, (x,))


class DecidesInPython(nn.Module):
    def __init__(self):
        super().__init__()
        self.positive, self.negative = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.positive(x) if x.sum() > 0 else self.negative(x)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.rnn(packed)[1][0][-1]


class ThroughNumpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x / float(x.detach().abs().max().numpy()))


class CountsCalls(nn.Module):
    """Writes into a buffer and keeps an activation with its history."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), None
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        self.last = self.layer(x)
        return self.last + 0 * self.calls


class CastsInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x)


class Twice(nn.Module):
    """One module that is called twice."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(self.body(x).relu()))


class CompiledInside(nn.Module):
    """Only the blocks are compiled, which is quicker than to compile the whole."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(torch.compile(Residual(), backend="eager") for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.MaxPool2d(2),
        Residual(),
        Residual(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 5),
    )


def mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(2), nn.Linear(36, 2))


def ids(*shape, high=30):
    return torch.randint(0, high, shape)


def edges(nodes, count):
    return torch.randint(0, nodes, (2, count))


def weight_normed():
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    )


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


def rows(count):
    return example(torch.randn(count, 4))


FAMILIES = {
    "mlp": ("export", mlp, lambda: rows(3), lambda: rows(7)),
    "cnn": ("export", cnn, lambda: example(torch.randn(2, 1, 8, 8)), lambda: example(torch.randn(5, 1, 8, 8))),
    "resnet": (
        "export",
        resnet,
        lambda: example(torch.randn(2, 3, 16, 16)),
        lambda: example(torch.randn(1, 3, 24, 20)),
    ),
    "unet": (
        "export",
        UNet,
        lambda: example(torch.randn(2, 1, 8, 8), torch.rand(2)),
        lambda: example(torch.randn(3, 1, 16, 12), torch.rand(3)),
    ),
    "lstm": (
        "export",
        lambda: Recurrent(nn.LSTM),
        lambda: example(ids(3, 5, high=20)),
        lambda: example(ids(2, 9, high=20)),
    ),
    "gru": (
        "export",
        lambda: Recurrent(nn.GRU),
        lambda: example(ids(3, 5, high=20)),
        lambda: example(ids(2, 9, high=20)),
    ),
    "gpt": ("export", GPT, lambda: example(ids(2, 6)), lambda: example(ids(3, 11))),
    "gpt with a loss": (
        "export",
        GPT,
        lambda: example(ids(2, 6), targets=ids(2, 6)),
        lambda: example(ids(3, 11), targets=ids(3, 11)),
    ),
    "gpt with a mask": ("export", lambda: GPT(False), lambda: example(ids(2, 6)), lambda: example(ids(3, 11))),
    "batch of one": ("export", GPT, lambda: example(ids(1, 6)), lambda: example(ids(3, 11))),
    "vae": ("export", VAE, lambda: example(torch.randn(3, 10)), lambda: example(torch.randn(5, 10))),
    "vae with given noise": (
        "export",
        GivenNoise,
        lambda: example(torch.randn(3, 10), noise=torch.randn(3, 4)),
        lambda: example(torch.randn(5, 10), noise=torch.randn(5, 4)),
    ),
    "graph": (
        "export",
        Graph,
        lambda: example(torch.randn(5, 6), edges(5, 9)),
        lambda: example(torch.randn(8, 6), edges(8, 13)),
    ),
    "weight norm": ("export", weight_normed, lambda: rows(3), lambda: rows(5)),
    "cond": ("export", Chosen, lambda: example(torch.ones(3, 4)), lambda: example(-torch.ones(5, 4))),
    "counts calls": ("export", CountsCalls, lambda: rows(3), lambda: rows(5)),
    "autocast inside": ("export", CastsInside, lambda: rows(3), lambda: rows(5)),
    "called twice": ("export", Twice, lambda: rows(3), lambda: rows(5)),
    "bfloat16": (
        "export",
        lambda: mlp().bfloat16(),
        lambda: example(torch.randn(3, 4).bfloat16()),
        lambda: example(torch.randn(5, 4).bfloat16()),
    ),
    "gpt in bfloat16": (
        "export",
        lambda: GPT(False).bfloat16(),
        lambda: example(ids(2, 6)),
        lambda: example(ids(3, 11)),
    ),
    "cnn in float16": (
        "export",
        lambda: cnn().half(),
        lambda: example(torch.randn(2, 1, 8, 8).half()),
        lambda: example(torch.randn(5, 1, 8, 8).half()),
    ),
    "compiled": ("export", lambda: torch.compile(mlp()), lambda: rows(3), lambda: rows(5)),
    "compiled inside": (
        "export",
        CompiledInside,
        lambda: example(torch.randn(2, 8, 6, 6)),
        lambda: example(torch.randn(3, 8, 9, 7)),
    ),
    "numpy": ("strict", ThroughNumpy, lambda: rows(3), lambda: rows(5)),
    "decides in Python": ("tape", DecidesInPython, lambda: example(torch.ones(3, 4)), None),
    "packed": ("tape", Packed, lambda: example(torch.randn(3, 5, 4), torch.tensor([5, 3, 2])), None),
}


def make(name):
    """(model in training mode, example, other example or None), the same at each call."""
    torch.manual_seed(0)
    _, build, one, other = FAMILIES[name]
    return build(), one(), other() if other else None

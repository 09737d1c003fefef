"""The inputs of every weight matrix of small models, worked out from the weights alone, in float64."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

Array = NDArray[np.float64]
Rows = list[list[int]]


class Expected:
    """Sums of squares and counts by tensor name; experts have a row each."""

    def __init__(self) -> None:
        self.squares: dict[str, Array] = {}
        self.counts: dict[str, NDArray[np.int64]] = {}

    def add(self, name: str, inputs: Array, expert: int = 0, experts: int = 1) -> None:
        squares = self.squares.setdefault(name, np.zeros((experts, inputs.shape[-1])))
        counts = self.counts.setdefault(name, np.zeros(experts, np.int64))
        squares[expert] += (inputs**2).sum(0)
        counts[expert] += len(inputs)


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    normed: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight
    return normed


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    result: Array = shifted / shifted.sum(-1, keepdims=True)
    return result


def causal(q: Array, k: Array, v: Array) -> Array:
    """Attention of heads (heads, tokens, size); gives (tokens, heads × size)."""
    tokens = q.shape[1]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    scores = np.where(np.tri(tokens, dtype=bool), scores, -np.inf)
    mixed: Array = (softmax(scores) @ v).transpose(1, 0, 2).reshape(tokens, -1)
    return mixed


def rotate(x: Array, theta: float) -> Array:
    """Rotary positions, with the halves of a head as real and imaginary part (Su et al. 2021, as in transformers)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def silu(x: Array) -> Array:
    result: Array = x / (1 + np.exp(-x))
    return result


def heads(x: Array, count: int) -> Array:
    return x.reshape(len(x), count, -1).transpose(1, 0, 2)


def weights_of(folder: Path) -> dict[str, Array]:
    with safe_open(folder / "model.safetensors", "np") as opened:
        return {name: opened.get_tensor(name).astype(np.float64) for name in opened.keys()}  # noqa: SIM118


def llama_sums(folder: Path, config: Any, rows: Rows) -> Expected:
    """A Llama or Mixtral, one row after the other."""
    weights = weights_of(folder)
    found = Expected()
    theta = config.rope_parameters["rope_theta"]
    for row in rows:
        x = weights["model.embed_tokens.weight"][row]
        for layer in range(config.num_hidden_layers):
            own = {name.removeprefix(f"model.layers.{layer}."): value for name, value in weights.items()}
            block = f"blk.{layer}"
            h = rms_norm(x, own["input_layernorm.weight"], config.rms_norm_eps)
            for name in ("attn_q", "attn_k", "attn_v"):
                found.add(f"{block}.{name}.weight", h)
            q, k, v = (
                heads(h @ own[f"self_attn.{part}_proj.weight"].T, count)
                for part, count in (("q", config.num_attention_heads), ("k", config.num_key_value_heads),
                                    ("v", config.num_key_value_heads))
            )  # fmt: skip
            groups = config.num_attention_heads // config.num_key_value_heads
            k, v = (np.repeat(part, groups, 0) for part in (k, v))
            mixed = causal(rotate(q, theta), rotate(k, theta), v)
            found.add(f"{block}.attn_output.weight", mixed)
            x = x + mixed @ own["self_attn.o_proj.weight"].T
            h = rms_norm(x, own["post_attention_layernorm.weight"], config.rms_norm_eps)
            x = x + (experts if "block_sparse_moe.gate.weight" in own else dense)(h, own, block, found, config)
    return found


def dense(h: Array, own: dict[str, Array], block: str, found: Expected, _config: Any) -> Array:
    found.add(f"{block}.ffn_gate.weight", h)
    found.add(f"{block}.ffn_up.weight", h)
    inner = silu(h @ own["mlp.gate_proj.weight"].T) * (h @ own["mlp.up_proj.weight"].T)
    found.add(f"{block}.ffn_down.weight", inner)
    return inner @ own["mlp.down_proj.weight"].T


def experts(h: Array, own: dict[str, Array], block: str, found: Expected, config: Any) -> Array:
    share = softmax(h @ own["block_sparse_moe.gate.weight"].T)
    found.add(f"{block}.ffn_gate_inp.weight", h)
    total = np.zeros_like(h)
    for position, token in enumerate(h):
        chosen = np.argsort(-share[position])[: config.num_experts_per_tok]
        for expert in chosen:
            name = f"block_sparse_moe.experts.{expert}"
            for part in ("gate", "up"):
                found.add(f"{block}.ffn_{part}_exps.weight", token[None], expert, config.num_local_experts)
            inner = silu(own[f"{name}.w1.weight"] @ token) * (own[f"{name}.w3.weight"] @ token)
            found.add(f"{block}.ffn_down_exps.weight", inner[None], expert, config.num_local_experts)
            weight = share[position, expert] / share[position, chosen].sum()
            total[position] += weight * (own[f"{name}.w2.weight"] @ inner)
    return total


def gpt2_sums(folder: Path, config: Any, rows: Rows) -> Expected:
    """A GPT-2: queries, keys and values in one matrix, weights the other way round, learned positions."""
    weights = weights_of(folder)
    found = Expected()

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_epsilon)
        result: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return result

    def affine(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    for row in rows:
        x = weights["transformer.wte.weight"][row] + weights["transformer.wpe.weight"][: len(row)]
        for layer in range(config.n_layer):
            torch_block, block = f"transformer.h.{layer}", f"blk.{layer}"
            h = norm(x, f"{torch_block}.ln_1")
            found.add(f"{block}.attn_qkv.weight", h)
            q, k, v = (heads(part, config.n_head) for part in np.split(affine(h, f"{torch_block}.attn.c_attn"), 3, -1))
            mixed = causal(q, k, v)
            found.add(f"{block}.attn_output.weight", mixed)
            x = x + affine(mixed, f"{torch_block}.attn.c_proj")
            h = norm(x, f"{torch_block}.ln_2")
            found.add(f"{block}.ffn_up.weight", h)
            h = affine(h, f"{torch_block}.mlp.c_fc")
            inner = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
            found.add(f"{block}.ffn_down.weight", inner)
            x = x + affine(inner, f"{torch_block}.mlp.c_proj")
    return found

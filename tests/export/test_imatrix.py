"""The matrix against sums worked out from the weights alone, layer by layer, in float64."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from arte_export import gguf, gguf_header, imatrix, schemes
from arte_export.activations import Sum
from arte_export.errors import BadModel, ChildDied, ExportError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open

Array = NDArray[np.float64]
# two of equal length, which share a batch; one longer than a chunk of 16, which is cut into 16 + 5; one of one token
ROWS = [[5, 17, 300, 42, 42, 9, 120], [250, 8, 8], [7, 6, 5, 4, 3, 2, 1], list(range(20, 41)), [77]]
CHUNK = 16
PIECES = [ROWS[0], ROWS[1], ROWS[2], ROWS[3][:16], ROWS[3][16:], ROWS[4]]
TOKENS = 7 + 3 + 7 + 21 + 1


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


def llama_sums(folder: Path, config: Any) -> Expected:
    """A Llama or Mixtral, one row after the other."""
    weights = weights_of(folder)
    found = Expected()
    theta = config.rope_parameters["rope_theta"]
    for row in PIECES:
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


def gpt2_sums(folder: Path, config: Any) -> Expected:
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

    for row in PIECES:
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


class Case:
    """A model folder, its GGUF file and the matrix collected on ROWS."""

    def __init__(self, folder: Path, out: Path, home: Path) -> None:
        with gguf.converted(folder, out, folder.name, home) as source:
            self.source = Path(shutil.copy(source, out / "source.gguf"))
        self.folder = folder
        self.matrix = out / "imatrix.gguf"
        self.seen: list[tuple[int, int]] = []
        self.summary = imatrix.collect(
            folder, self.source, ROWS, self.matrix, "five rows", CHUNK, lambda *done: self.seen.append(done)
        )

    def agrees_with(self, expected: Expected) -> None:
        """Every sum, count and mean is that of the other computation, for the same tensors."""
        from gguf import GGUFReader

        names = sorted(set(expected.squares) - {name for name in expected.squares if "ffn_gate_inp" in name})
        reader = GGUFReader(self.matrix)
        stored = {tensor.name: tensor for tensor in reader.tensors}
        assert [tensor.name for tensor in reader.tensors] == [
            f"{name}.{part}" for name in names for part in ("in_sum2", "counts")
        ]
        found = imatrix.read(self.matrix)
        assert (found.datasets, found.chunks) == (["five rows"], 3)  # 39 tokens in chunks of 16
        for name in names:
            squares, counts = expected.squares[name], expected.counts[name]
            assert list(stored[f"{name}.in_sum2"].shape) == [squares.shape[1], squares.shape[0]]
            np.testing.assert_allclose(stored[f"{name}.in_sum2"].data, squares, rtol=2e-4, atol=1e-7 * squares.max())
            assert stored[f"{name}.counts"].data.tolist() == [[float(count)] for count in counts]
            means = np.where(counts[:, None] > 0, squares / np.maximum(counts, 1)[:, None], 1)
            np.testing.assert_allclose(found.means[name], means.ravel(), rtol=2e-4, atol=1e-7 * means.max())


def tokenizer_only(model: Path, into: Path) -> Path:
    shutil.copytree(model, into, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "generation*"))
    return into


@pytest.fixture(scope="module")
def llama(tiny_model: Path, converter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tiny_model, tmp_path_factory.mktemp("llama"), converter_home)


def test_a_llama_has_the_sums_of_its_own_equations(llama: Case) -> None:
    from transformers import AutoConfig

    expected = llama_sums(llama.folder, AutoConfig.from_pretrained(llama.folder))
    assert len(expected.squares) == 14
    assert {count for counts in expected.counts.values() for count in counts.tolist()} == {TOKENS}
    llama.agrees_with(expected)
    summary = llama.summary
    assert (summary.tensors, summary.rows, summary.tokens, summary.chunks) == (14, 5, TOKENS, 3)
    assert (summary.uncalibrated, summary.idle_experts) == ([], 0)
    # five batches (16; 7 and 7; 5; 3; 1), six pieces
    assert llama.seen == [(1, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_the_file_is_of_llama_imatrix_s_form(llama: Case) -> None:
    header = gguf_header.read(llama.matrix)
    assert header.keys == {
        "general.type": "imatrix", "imatrix.datasets": ["five rows"], "imatrix.chunk_count": 3,
        "imatrix.chunk_size": CHUNK,
    }  # fmt: skip
    assert {tensor.kind for tensor in header.tensors.values()} == {0}
    assert header.tensors["blk.1.ffn_down.weight.in_sum2"].shape == (128, 1)
    assert header.tensors["blk.1.ffn_down.weight.counts"].shape == (1, 1)


def test_the_quantizer_takes_it(llama: Case, tmp_path: Path) -> None:
    files = [tmp_path / "without.gguf", tmp_path / "with.gguf"]
    for file, matrix in zip(files, (None, llama.matrix), strict=True):
        gguf.quantize(llama.source, [gguf.Wanted(file, schemes.load("q4_0"), matrix)])
    without, with_matrix = (gguf_header.read(file) for file in files)
    keys = {key: value for key, value in with_matrix.keys.items() if key.startswith("quantize.imatrix")}
    assert keys == {
        "quantize.imatrix.file": "imatrix.gguf", "quantize.imatrix.dataset": "five rows",
        "quantize.imatrix.entries_count": 14, "quantize.imatrix.chunks_count": 3,
    }  # fmt: skip
    assert set(with_matrix.keys) - set(keys) == set(without.keys)
    data = [file.read_bytes() for file in files]
    changed = 0
    for name, tensor in with_matrix.tensors.items():
        other = without.tensors[name]
        one = data[1][tensor.start : tensor.start + tensor.bytes]
        changed += one != data[0][other.start : other.start + other.bytes]
    assert changed == 14


def test_fused_queries_keys_and_values_have_their_own_names(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tokenizer_only(tiny_model, tmp_path / "gpt2")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)), n_embd=64, n_layer=2, n_head=4, n_positions=64, n_ctx=64,
        initializer_range=0.2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    case = Case(folder, tmp_path / "out", converter_home)
    expected = gpt2_sums(folder, config)
    assert len(expected.squares) == 8
    case.agrees_with(expected)
    assert (case.summary.tensors, case.summary.uncalibrated) == (8, [])


def test_every_expert_has_the_sums_of_the_tokens_that_it_saw(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    folder = tokenizer_only(tiny_model, tmp_path / "mixtral")
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)), hidden_size=64, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, num_local_experts=24, num_experts_per_tok=2,
        max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2, sliding_window=None,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(folder)
    case = Case(folder, tmp_path / "out", converter_home)
    expected = llama_sums(folder, config)
    case.agrees_with(expected)
    names = [f"blk.{layer}.ffn_{part}_exps.weight" for layer in (0, 1) for part in ("gate", "up", "down")]
    assert [int(expected.counts[name].sum()) for name in names] == [2 * TOKENS] * 6
    idle = sum(int((expected.counts[name] == 0).sum()) for name in names)
    assert idle > 0
    assert case.summary.idle_experts == idle
    assert (case.summary.tensors, case.summary.uncalibrated) == (14, [])


def test_what_the_model_cannot_read_is_refused(llama: Case, tmp_path: Path) -> None:
    out = tmp_path / "imatrix.gguf"
    with pytest.raises(ExportError, match=r"none: no tokens to calibrate on; give at least one row"):
        imatrix.collect(llama.folder, llama.source, [[], []], out, "none")
    with pytest.raises(
        ExportError, match=r"its embedding has 353 rows, the rows to calibrate on have token ids up to 9"
    ):
        imatrix.collect(llama.folder, llama.source, [[1, 2], [3, 999]], out, "strange")
    with pytest.raises(BadModel, match=r"nowhere: transformers cannot load it"):
        imatrix.collect(tmp_path / "nowhere", llama.source, [[1, 2]], out, "x")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_collection_leaves_nothing(llama: Case, tmp_path: Path) -> None:
    def kill(_done: int, _total: int) -> None:
        for process in psutil.Process().children():
            process.kill()

    rows = [list(range(10, 10 + length)) for length in range(1, 200)]
    with pytest.raises(ChildDied, match="killed by SIGKILL"):
        imatrix.collect(llama.folder, llama.source, rows, tmp_path / "imatrix.gguf", "x", progress=kill)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("small") / "imatrix.gguf"
    sums = {
        "blk.0.attn_q.weight": Sum(np.array([[4.0, 6.0, 0.0]]), np.array([2])),
        "blk.0.ffn_up_exps.weight": Sum(np.array([[8.0, 0.5], [0.0, 0.0]]), np.array([4, 0])),
    }
    imatrix._write(file, sums, "rows", 1, 512)
    return file


def test_means_are_sums_by_counts_and_an_idle_expert_has_ones(small: Path) -> None:
    found = imatrix.read(small)
    assert {name: mean.tolist() for name, mean in found.means.items()} == {
        "blk.0.attn_q.weight": [2.0, 3.0, 0.0],
        "blk.0.ffn_up_exps.weight": [2.0, 0.125, 1.0, 1.0],
    }
    assert (found.datasets, found.chunks) == (["rows"], 1)


@pytest.mark.parametrize(
    ("squares", "counts", "message"),
    [
        ([[1.0, np.nan]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, np.inf]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, -1.0]], [1], "in_sum2 holds values that are negative or not finite"),
        ([[1.0, 1.0]], [-1], "counts holds values that are negative or not finite"),
        ([[0.0, 0.0]], [0], "blk.0.attn_q.weight saw no token"),
        ([[1.0, 2.0, 3.0]], [1, 1], "has 3 sums for 2 counts"),
    ],
)
def test_values_that_no_quantizer_should_be_given_are_refused(
    squares: list[list[float]], counts: list[int], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "imatrix.gguf"
    imatrix._write(file, {"blk.0.attn_q.weight": Sum(np.array(squares), np.array(counts))}, "rows", 1, 512)
    with pytest.raises(BadModel, match=message):
        imatrix.read(file)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_still_a_matrix(small: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = small.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)), "kept")])
    for _ in range(data.draw(st.integers(0, 3), "flips") if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1), "at")] = data.draw(st.integers(0, 255), "byte")
    file = tmp_path / "damaged.gguf"
    file.write_bytes(damaged)
    try:
        found = imatrix.read(file)
    except BadModel:
        return
    assert all(np.isfinite(mean).all() and len(mean) for mean in found.means.values())

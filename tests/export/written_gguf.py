"""GGUF files written for tests of the quantizer: a model without tokens, its importance matrix, and a large one."""

import os
from pathlib import Path

import numpy as np
from arte_export import gguf_header, imatrix
from arte_export.activations import Sum


def wide_model(file: Path, columns: int = 256) -> Path:
    """A Llama of 2 layers in bf16 as GGUF, without tokens: the quantizer asks for none."""
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    writer = GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(columns)
    writer.add_feed_forward_length(2 * columns)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(32)
    random = np.random.default_rng(0)
    kinds = GGMLQuantizationType
    shapes = {"token_embd": (512, columns), "output": (512, columns), "output_norm": (columns,)}
    for block in ("blk.0", "blk.1"):
        shapes |= {f"{block}.{norm}": (columns,) for norm in ("attn_norm", "ffn_norm")}
        shapes |= {f"{block}.{name}": (columns, columns) for name in ("attn_q", "attn_output")}
        shapes |= {f"{block}.{name}": (columns // 2, columns) for name in ("attn_k", "attn_v")}
        shapes |= {f"{block}.{name}": (2 * columns, columns) for name in ("ffn_gate", "ffn_up")}
        shapes[f"{block}.ffn_down"] = (columns, 2 * columns)
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", values)
        else:
            writer.add_tensor(f"{name}.weight", quantize(values, kinds.BF16), raw_dtype=kinds.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def importance_of(of: Path, file: Path, leave_out: str = "nothing", longer: int = 0) -> Path:
    """A matrix for every block weight but those whose name holds `leave_out`."""
    random = np.random.default_rng(1)
    header = gguf_header.read(of)
    sums = {}
    for name in imatrix._quantizable(header):
        if leave_out not in name:
            columns = header.tensors[name].shape[0] + longer
            sums[name] = Sum(100 * random.random((1, columns)), np.array([100]))
    imatrix._write(file, sums, "some rows", 3, 512)
    return file


def eight_billion(file: Path) -> Path:
    """Llama-3.1-8B in bf16 without its data: a file of 16 GB that takes no room on the disk."""
    from gguf import GGUFWriter

    vocabulary, width, inner, layers, keys = 128256, 4096, 14336, 32, 1024
    writer = GGUFWriter(file, "llama")
    for add, value in (
        (writer.add_block_count, layers), (writer.add_context_length, 8192), (writer.add_embedding_length, width),
        (writer.add_feed_forward_length, inner), (writer.add_head_count, 32), (writer.add_head_count_kv, 8),
        (writer.add_vocab_size, vocabulary), (writer.add_file_type, 32),
    ):  # fmt: skip
        add(value)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes = {"token_embd": (vocabulary, width), "output": (vocabulary, width), "output_norm": (width,)}
    for block in range(layers):
        shapes |= {f"blk.{block}.{name}": shape for name, shape in {
            "attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width), "attn_k": (keys, width),
            "attn_v": (keys, width), "attn_output": (width, width), "ffn_gate": (inner, width),
            "ffn_up": (inner, width), "ffn_down": (width, inner)}.items()}  # fmt: skip
    size = 0
    for name, shape in shapes.items():
        numbers = int(np.prod(shape)) * (2 if len(shape) > 1 else 4)
        kind = np.dtype(np.float16 if len(shape) > 1 else np.float32)
        writer.add_tensor_info(f"{name}.weight", shape, kind, numbers)
        size += numbers
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(file, file.stat().st_size + size + 4096)
    return file

import time
from collections.abc import Callable

import pytest
import torch

from arte import machine, models
from arte.generation.int8 import Int8Linear, is_faster, to_int8
from arte.models import ModelFolder


def test_a_product_by_hand() -> None:
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.27, -0.5], [0.0, 2.54]]))
        layer.bias.copy_(torch.tensor([10.0, 0.0]))
    # A step of the weights is 0.01 in the first row and 0.02 in the second, so all four are kept as they are. A step of
    # the inputs is 2 / 127 in the first row, and 1.0 becomes 64 of them; it is 4 / 127 in the second, where 0 is exact.
    given = torch.tensor([[1.0, 2.0], [4.0, 0.0]])
    one = 64 * 2 / 127
    made = Int8Linear(layer)(given)
    assert made[0].tolist() == pytest.approx([10.0 + 1.27 * one - 1.0, 5.08])
    assert made[1].tolist() == pytest.approx([10.0 + 5.08, 0.0])


def test_rows_are_rounded_each_by_itself() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(torch.nn.Linear(16, 8))
    rows = torch.randn(2, 300, 16)  # more than are computed at once
    made = layer(rows)
    large = rows.clone()
    large[0, 5] *= 1000
    large[1, 7] = 0
    after = layer(large)
    others = torch.ones(2, 300, dtype=torch.bool)
    others[0, 5] = others[1, 7] = False
    assert made.shape == (2, 300, 8)
    assert torch.equal(after[others], made[others])
    assert torch.equal(after[1, 7], layer.bias)


def test_every_linear_layer_is_rounded_and_the_text_model_hardly_moves(tiny_teacher: ModelFolder) -> None:
    model, tokenizer = models.load(tiny_teacher.path, "float32", "cpu")
    ids = torch.tensor([tokenizer("How many cups are there?")["input_ids"]])
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        linear = sum(type(layer) is torch.nn.Linear for layer in model.modules())
        rounded = to_int8(model)
        after = rounded(input_ids=ids).logits
    assert linear == 2 * 7 + 1  # two layers of seven, and the output layer
    assert sum(type(layer) is Int8Linear for layer in rounded.modules()) == linear
    assert not any(type(layer) is torch.nn.Linear for layer in rounded.modules())
    away = (after - before).norm() / before.norm()
    assert 0 < away < 0.2


def test_the_quickest_call_counts() -> None:
    left = [0.03, 0.02, 0.005]
    assert 0.005 <= machine.quickest_s(lambda: time.sleep(left.pop(0) if len(left) > 1 else left[0])) < 0.02
    assert machine.quickest_s(lambda: time.sleep(0.02)) >= 0.02


@pytest.mark.parametrize(("rounded", "whole", "faster"), [(0.001, 0.05, True), (0.05, 0.001, False)])
def test_8_bits_are_taken_where_they_are_faster(
    monkeypatch: pytest.MonkeyPatch, rounded: float, whole: float, faster: bool
) -> None:
    timed = []

    def slowed(call: Callable[[], torch.Tensor]) -> float:
        timed.append(call().dtype)
        return rounded if len(timed) == 1 else whole

    monkeypatch.setattr(machine, "quickest_s", slowed)
    assert is_faster("bfloat16") == faster
    assert timed == [torch.float32, torch.bfloat16]  # 8-bit weights take and give float32

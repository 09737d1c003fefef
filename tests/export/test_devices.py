from pathlib import Path

import pytest
from arte_export import devices
from arte_export.bench import Measurement, Timings
from arte_export.devices import Budget, Device
from arte_export.errors import ExportError
from arte_export.spread import spread


def measured(device: str = "this-machine") -> Measurement:
    values = Timings(load_s=[0.5], ttft_s=[0.8, 1.0, 3.0], pp_tok_s=[600.0], tg_tok_s=[20.0, 30.0, 40.0], threads=2)
    return Measurement(
        file="m.gguf", bytes=100, device=device, threads=2, prompt_tokens=512, generated_tokens=128,
        load_s=spread(values.load_s), ttft_s=spread(values.ttft_s), pp_tok_s=spread(values.pp_tok_s),
        tg_tok_s=spread(values.tg_tok_s), peak_rss_bytes=1000, values=values,
    )  # fmt: skip


def device(**budget: float) -> Device:
    return Device(name="this-machine", about="", budget=Budget.model_validate(budget))


def test_every_profile_loads_and_names_the_source_of_each_number() -> None:
    names = devices.names()
    assert names == ["pixel-8", "raspberry-pi-5", "this-machine"]
    for name in names:
        profile = devices.load(name)
        assert profile.name == name
        numbers = ("cores", "memory_bytes", "app_memory_bytes", "memory_bandwidth_bytes_s", "threads")
        stated = {field for field in numbers if getattr(profile, field) is not None}
        stated |= {"budget"} if profile.budget != Budget() else set()
        assert stated == set(profile.sources), name


def test_this_machine_is_asked_of_the_system() -> None:
    profile = devices.load("this-machine")
    assert profile.cores is not None
    assert profile.memory_bytes is not None
    assert profile.memory_bytes > 1 << 28
    assert profile.budget == Budget()


def test_unknown_device_names_the_nearest() -> None:
    with pytest.raises(ExportError, match=r"no device is called 'pixel8'; did you mean pixel-8\?"):
        devices.load("pixel8")


def test_a_broken_profile_tells_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nabout: y\ncores: 0\nbudget: {ttft_ms: 3, tg_tok_s: -1}\n")
    with pytest.raises(ExportError) as caught:
        devices.read(file)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "cores", "budget.tg_tok_s", "budget.ttft_ms",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a: [", "\xff\xfe"])
def test_a_profile_that_is_no_yaml_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ExportError, match="cannot be read as YAML"):
        devices.read(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("budget", "loss", "result", "why"),
    [
        ({}, None, "pass", "no budget set"),
        ({"ttft_s": 1.0, "tg_tok_s": 30}, None, "pass", "ttft_s 1 holds <= 1; tg_tok_s 30 holds >= 30"),
        ({"ttft_s": 0.9, "rss_bytes": 1000}, None, "fail", "ttft_s 1 misses <= 0.9; rss_bytes 1000 holds <= 1000"),
        ({"tg_tok_s": 31}, None, "fail", "tg_tok_s 30 misses >= 31"),
        ({"size_bytes": 99}, None, "fail", "size_bytes 100 misses <= 99"),
        ({"accuracy_loss_points": 2}, None, "fail", "accuracy_loss_points not measured, budget <= 2"),
        ({"accuracy_loss_points": 2}, 1.5, "pass", "accuracy_loss_points 1.5 holds <= 2"),
        ({"accuracy_loss_points": 2}, -4.0, "pass", "accuracy_loss_points -4 holds <= 2"),
    ],
)
def test_medians_are_held_against_the_budget(
    budget: dict[str, float], loss: float | None, result: str, why: str
) -> None:
    found = devices.verdict(device(**budget), measured(), loss)
    assert (found.result, found.why) == (result, why)


def test_another_device_is_never_passed_or_failed() -> None:
    found = devices.verdict(devices.load("pixel-8"), measured(), 0.0)
    assert (found.result, found.why) == ("estimate", "not measured on this device (measured on this-machine)")

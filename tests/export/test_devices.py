import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from arte_export import devices
from arte_export.budget import Budget
from arte_export.devices import NUMBERS, Device
from arte_export.errors import ExportError

TARGETS = {
    "raspberry-pi-5", "pixel-8", "pixel-9", "galaxy-s24", "iphone-15", "iphone-16", "macbook-air-m2", "macbook-air-m3",
    "snapdragon-x-laptop", "office-laptop-8gb", "office-laptop-16gb", "jetson-orin-nano", "steam-deck",
}  # fmt: skip


def test_every_target_is_there_and_names_the_source_of_each_number() -> None:
    assert set(devices.names()) == TARGETS | {"this-machine"}
    for name in sorted(TARGETS):
        profile = devices.load(name)
        stated = {field for field in NUMBERS if getattr(profile, field)} | {"budget"}
        assert set(profile.sources) == stated, name
        assert profile.budget != Budget(), name
        assert {"cores", "memory_bytes", "app_memory_bytes", "threads"} <= stated, name


def test_this_machine_is_asked_of_the_system() -> None:
    profile = devices.load("this-machine")
    assert profile.core_count is not None
    assert profile.memory_bytes is not None
    assert profile.memory_bytes > 1 << 28
    assert profile.budget == Budget()


def test_unknown_device_names_the_nearest() -> None:
    with pytest.raises(ExportError, match=r"no device is called 'pixel8'; did you mean pixel-8\?"):
        devices.load("pixel8")


def own(folder: Path, called: str = "mine", fields: Mapping[str, object] = MappingProxyType({})) -> Path:
    written: dict[str, object] = {
        "name": called,
        "about": "a board",
        "memory_bytes": 2 << 30,
        "sources": {"memory_bytes": "label"},
    }
    file = folder / f"{called}.yaml"
    file.write_text(yaml.safe_dump(written | dict(fields)))
    return file


def test_profiles_of_ones_own(tmp_path: Path) -> None:
    file = own(tmp_path)
    assert "mine" in devices.names(tmp_path)
    assert devices.load("mine", tmp_path) == devices.load(str(file)) == devices.read(file)
    assert devices.load("pixel-8", tmp_path).name == "pixel-8"
    own(tmp_path, "pixel-8")
    with pytest.raises(ExportError, match="pixel-8 is a profile of ours; give yours another name"):
        devices.names(tmp_path)
    with pytest.raises(ExportError, match="no such folder"):
        devices.names(tmp_path / "none")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"threads": 2}, "threads names no source: add sources.threads"),
        ({"sources": {"memory_bytes": "x", "threads": "y"}}, "sources.threads is of a field without a number"),
        ({"app_memory_bytes": 3 << 30, "sources": {"memory_bytes": "x", "app_memory_bytes": "y"}},
         "app_memory_bytes is 3221225472, more than the 2147483648 of memory_bytes"),
        ({"memory_bytes": 8}, "memory_bytes is 8: it is counted in bytes"),
        ({"memory_bandwidth_bytes_s": 17, "sources": {"memory_bytes": "x", "memory_bandwidth_bytes_s": "y"}},
         "memory_bandwidth_bytes_s is 17: it is in bytes a second"),
        ({"cores": [{"kind": "a", "count": 2}], "threads": 3,
          "sources": {"memory_bytes": "x", "cores": "y", "threads": "z"}}, "threads is 3, more than the 2 cores"),
        ({"name": "other"}, "name is 'other'; expected 'mine', the name of the file"),
    ],
)  # fmt: skip
def test_missing_and_impossible_numbers(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ExportError, match="mine") as caught:
        devices.read(own(tmp_path, fields=fields))
    assert said in str(caught.value)


def test_a_broken_profile_tells_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nabout: y\nthreads: 0\nbudget: {ttft_ms: 3, tg_tok_s: -1}\n")
    with pytest.raises(ExportError) as caught:
        devices.read(file)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:-1]] == [
        "threads", "budget.tg_tok_s", "budget.ttft_ms",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a: [", "\xff\xfe"])
def test_a_profile_that_is_no_yaml_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ExportError, match="cannot be read as YAML"):
        devices.read(tmp_path / "x.yaml")


def test_the_schema_describes_every_field() -> None:
    found = json.loads(json.dumps(devices.schema()))
    assert set(found["properties"]) == set(Device.model_fields)
    undescribed = [name for name, field in found["properties"].items() if not field.get("description")]
    assert undescribed == []


def test_a_peak_that_was_computed_is_what_its_source_says() -> None:
    checked = []
    for name in sorted(TARGETS):
        profile = devices.load(name)
        found = re.search("computed: (.+) float32 operations a cycle", profile.sources.get("compute_flops_s", ""))
        if found is not None:
            terms = found[1].replace("GHz", "").replace("cores", "").replace("×", "*")
            assert re.fullmatch("[0-9.*+() ]+", terms), name
            assert profile.compute_flops_s == pytest.approx(eval(terms) * 1e9), name
            checked.append(name)
    assert len(checked) == 8


def test_numbers_that_contradict_each_other_are_told_beside_fields_that_are_wrong(tmp_path: Path) -> None:
    sources = {"memory_bytes": "x", "cores": "y"}
    file = own(tmp_path, fields={"thread": 9, "cores": 4, "app_memory_bytes": 3 << 30, "sources": sources})
    with pytest.raises(ExportError) as caught:
        devices.read(file)
    _, *problems, hint = str(caught.value).split("\n  ")
    assert problems == [
        "cores: Input should be a valid tuple",
        "thread: no such field; did you mean threads?",
        "app_memory_bytes names no source: add sources.app_memory_bytes",
        "app_memory_bytes is 3221225472, more than the 2147483648 of memory_bytes",
    ]
    assert hint == "(arte devices --schema prints every field)"


def test_a_blank_source_is_none(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"sources\.memory_bytes: String should have at least 1 character"):
        devices.read(own(tmp_path, fields={"sources": {"memory_bytes": " "}}))


def test_a_path_names_a_profile_too(tmp_path: Path) -> None:
    ours = devices.folder() / "this-machine.yaml"
    assert devices.load(str(ours)).cores == devices.load("this-machine").cores != ()
    with pytest.raises(ExportError, match=r"pixel-8\.yaml: pixel-8 is a profile of ours; give yours another name"):
        devices.load(str(own(tmp_path, "pixel-8")))
    with pytest.raises(ExportError, match=r"none\.yaml: no such file; expected a device profile"):
        devices.load(str(tmp_path / "none.yaml"))


def test_a_budget_beyond_what_an_app_may_use_is_impossible(tmp_path: Path) -> None:
    sources = {"memory_bytes": "x", "app_memory_bytes": "y", "budget": "z"}
    fields = {"app_memory_bytes": 1 << 30, "budget": {"rss_bytes": 2 << 30}, "sources": sources}
    with pytest.raises(ExportError, match=r"budget\.rss_bytes is 2147483648, more than the 1073741824 of app_memory"):
        devices.read(own(tmp_path, fields=fields))

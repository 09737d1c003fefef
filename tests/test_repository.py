"""What holds for the repository as a whole; every test says how much it looked at."""

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml
from arte_export import devices
from typer.core import TyperGroup

from arte import cli, config
from arte.recipe import SCALES

ROOT = Path(__file__).resolve().parents[1]
LONGEST_LINES = 400
TOP = ("arte", "export", "tests")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_files_are_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*TOP)}
    assert len(lines) >= 100
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count >= LONGEST_LINES} == {}


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_exporters_know_nothing_of_arte() -> None:
    files = python_files("export/arte_export")
    assert len(files) >= 16
    assert [path.name for path in files if imported(path) & {"arte", "tests"}] == []
    assert [path.name for path in python_files("arte") if "tests" in imported(path)] == []
    assert any("arte_export" in imported(path) for path in python_files("arte"))  # the other way is allowed


def test_every_recipe_loads_at_every_scale() -> None:
    loaded = []
    for name in config.recipe_names():
        written = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"))
        for scale in written.get("scales") or SCALES:
            recipe = config.load_recipe(name, scale)
            assert (recipe.name, recipe.scale) == (name, scale)
            loaded.append((name, scale))
    assert len(loaded) == len(set(loaded)) >= 4
    assert {("gsm8k", scale) for scale in SCALES} <= set(loaded)


def test_every_device_loads_and_names_its_sources() -> None:
    loaded = [devices.load(name) for name in devices.names()]
    assert len(loaded) >= 14
    assert [device.name for device in loaded] == devices.names()
    for device in loaded:  # that each number names its source, the profile itself checks
        assert device.name == devices.THIS_MACHINE or "budget" in device.sources


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_folder_of_one_machine() -> None:
    homes = "|".join(["home", "Users", "root", "work", "mnt", "opt", "srv"])
    machine = re.compile(rf"(?<![\w.:/~*-])/(?:{homes})/[\w.]|\b[A-Z]:\\\\?Users")
    files = tracked()
    texts = {}
    for path in files:
        content = path.read_bytes()
        if b"\0" not in content:
            texts[path] = content.decode("utf-8")
    assert len(texts) >= 100
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}" for path, text in texts.items() for match in machine.finditer(text)
    ]
    assert found == []


def readme_commands() -> tuple[int, list[list[str]]]:
    """How many code blocks the README has, and the words of every command line in them that starts arte or make."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    return len(blocks), [shlex.split(line, comments=True) for line in lines if re.match(r"(\$ )?(arte|make) ", line)]


def test_commands_of_the_readme_parse() -> None:
    blocks, commands = readme_commands()
    assert blocks == 0 or len(commands) >= 10
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    known = group.commands
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    seen = set()
    for program, name, *arguments in commands:
        if program == "make":
            assert name in targets
        else:
            assert name in known
            with known[name].make_context(name, arguments) as context:  # fails on an unknown option or a wrong type
                given = context.params
            if name in ("recipe", "plan"):
                config.load_recipe(given["name"], given["scale"], given["overrides"] or [])
            seen.add(name)
    assert blocks == 0 or seen >= {"recipe", "plan", "export", "evaluate", "bench", "recommend", "report", "doctor"}


def test_python_of_the_readme_names_what_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python")
    import arte

    names = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "arte"
    }
    assert [name for name in names if not callable(getattr(arte, name, None))] == []

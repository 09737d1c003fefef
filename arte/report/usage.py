"""How to run device files, for the people they are given to."""

from collections.abc import Sequence
from typing import NamedTuple

ASK = "Tom has 3 bags with 4 apples each. How many apples does he have?"


class File(NamedTuple):
    """A device file by its path from the folder of the card."""

    path: str
    format: str


def how_to_run(files: Sequence[File], model: str, name: str, modelfile: str | None) -> str:
    """One section for every runtime that a file is there for, and for the torch model at `model`.

    `modelfile` is Ollama's, by its path from the folder of the card; `name` is what Ollama shall call the model.
    """
    parts = ["## How to run"]
    of = {file.format: file.path for file in reversed(files)}  # the first of each format
    if "gguf" in of:
        parts.append(f"With llama.cpp:\n\n```\nllama-cli -m {of['gguf']} --jinja --temp 0 -cnv\n```")
        parts.append(_python(_LLAMA_CPP.format(path=of["gguf"], ask=ASK), "With llama-cpp-python"))
    if "gguf" in of and modelfile is not None:
        parts.append(
            "With Ollama, in the folder of the Modelfile:\n\n"
            f'```\nollama create {name} -f {modelfile}\nollama run {name} "{ASK}"\n```'
        )
    if "onnx" in of:
        parts.append(_python(_GENAI.format(path=of["onnx"], ask=ASK), "With onnxruntime-genai"))
    if "onnx-optimum" in of:
        parts.append(_python(_OPTIMUM.format(path=of["onnx-optimum"], ask=ASK), "With optimum-onnx and transformers 4"))
        parts.append(
            "With transformers.js, the folder below `env.localModelPath`:\n\n"
            f"```js\n{_JAVASCRIPT.format(path=of['onnx-optimum'], ask=ASK)}```"
        )
    parts.append(_python(_TRANSFORMERS.format(path=model, ask=ASK), "With transformers"))
    return "\n\n".join(parts)


def _python(code: str, title: str) -> str:
    return f"{title}:\n\n```python\n{code}```"


_LLAMA_CPP = """\
from llama_cpp import Llama

student = Llama("{path}", n_ctx=2048, verbose=False)
messages = [{{"role": "user", "content": "{ask}"}}]
print(student.create_chat_completion(messages, temperature=0)["choices"][0]["message"]["content"])
"""
_GENAI = """\
import json
import onnxruntime_genai as og

model = og.Model("{path}")
tokenizer = og.Tokenizer(model)
messages = [{{"role": "user", "content": "{ask}"}}]
prompt = tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True)
parameters = og.GeneratorParams(model)
parameters.set_search_options(max_length=512, do_sample=False)
generator = og.Generator(model, parameters)
asked = tokenizer.encode(prompt)
generator.append_tokens(asked)
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)[len(asked):]))
"""
_OPTIMUM = """\
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = ORTModelForCausalLM.from_pretrained("{path}", subfolder="onnx", file_name="model_quantized.onnx")
messages = [{{"role": "user", "content": "{ask}"}}]
asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
made = model.generate(**asked, max_new_tokens=256, do_sample=False)
print(tokenizer.decode(made[0, asked["input_ids"].shape[1]:], skip_special_tokens=True))
"""
_JAVASCRIPT = """\
import {{ env, pipeline }} from "@huggingface/transformers";
env.localModelPath = ".";
const student = await pipeline("text-generation", "{path}", {{ dtype: "q8" }});
const messages = [{{ role: "user", content: "{ask}" }}];
console.log((await student(messages, {{ max_new_tokens: 256, do_sample: false }}))[0].generated_text.at(-1).content);
"""
_TRANSFORMERS = """\
from transformers import pipeline

student = pipeline("text-generation", model="{path}")
messages = [{{"role": "user", "content": "{ask}"}}]
print(student(messages, max_new_tokens=256, do_sample=False)[0]["generated_text"][-1]["content"])
"""

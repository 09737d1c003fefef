// Greedy token ids of a folder through transformers.js, from local files only.
// node transformers_js.mjs PACKAGES FOLDER REQUEST: PACKAGES holds node_modules; REQUEST is JSON with `prompts`,
// `max_tokens`, `messages`. Prints JSON with `ids` (of each prompt's answer), `prompt_ids`, `rendered` and `texts`.
import { createRequire } from "node:module";
import path from "node:path";

const [packages, folder, request] = process.argv.slice(2);
const require = createRequire(path.join(packages, "package.json"));
const { AutoModelForCausalLM, AutoTokenizer, env } = require("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
const name = path.basename(folder);
const asked = JSON.parse(request);

const tokenizer = await AutoTokenizer.from_pretrained(name, { local_files_only: true });
const model = await AutoModelForCausalLM.from_pretrained(name, { dtype: "q8", local_files_only: true });
const answer = { ids: [], prompt_ids: [], texts: [] };
for (const prompt of asked.prompts) {
  const inputs = tokenizer(prompt, { add_special_tokens: false });
  const length = inputs.input_ids.dims[1];
  const made = await model.generate({ ...inputs, max_new_tokens: asked.max_tokens, do_sample: false });
  const ids = made.tolist()[0].map(Number);
  answer.prompt_ids.push(ids.slice(0, length));
  answer.ids.push(ids.slice(length));
  answer.texts.push(tokenizer.decode(ids.slice(length), { skip_special_tokens: true }));
}
answer.rendered = tokenizer.apply_chat_template(asked.messages, { tokenize: false, add_generation_prompt: true });
process.stdout.write(JSON.stringify(answer) + "\n");

// The same model in other files, in folders beside the answers: bf16/ (language model in bf16, no VQ decoder) and sharded/ (several files).
import { join } from "node:path";
import { type LoadOptions, loadLanguageModel } from "../../world/model.ts";
import { type Case, isFile, largest, type Row } from "./answers.ts";
import { logitsOf } from "./language_model.ts";

export async function variants(given: Case): Promise<Row[]> {
  const rows: Row[] = [];
  if (!(await given.answers.has("lm.safetensors"))) return rows;
  const lm = await given.answers.file("lm.safetensors");
  const logits = async (folder: string, options: LoadOptions = {}) =>
    logitsOf(given, (await loadLanguageModel(given.device, join(given.folder, folder), options)).lm, lm);
  if ((await given.answers.has("bf16.safetensors")) && (await isFile(join(given.folder, "bf16/config.json")))) {
    const want = await given.answers.file("bf16.safetensors");
    for (const dtype of ["f32", "bf16"] as const) {
      const got = await logits("bf16", { dtype });
      const against = (name: string, limit: number) =>
        rows.push({ quantity: `bf16/ held as ${dtype}: ${name}`, error: largest(got, want.get(name).data), limit });
      against("logits_bf16_weights_f32_math", 2e-4);
      against("logits_bf16_weights_f64_math", 5e-5);
      against("logits_bf16_weights_bf16_math", Number.POSITIVE_INFINITY);
    }
    const got = await logits("bf16");
    rows.push({
      quantity: "bf16/: logits of the f32 weights",
      error: largest(got, lm.get("logits_f64").data),
      limit: Number.POSITIVE_INFINITY,
    });
  }
  if (await isFile(join(given.folder, "sharded/config.json")))
    rows.push({
      quantity: "sharded/: logits against f64",
      error: largest(await logits("sharded"), lm.get("logits_f64").data),
      limit: 5e-5,
    });
  return rows;
}

// The transformer against reference answers: logits, losses, the residual stream, every module of layer 0, left-padded rows, image ids masked,
// and the other order of norms.
import { crossEntropy } from "../../engine/ops/index.ts";
import { Tape } from "../../engine/tape.ts";
import type { Tensor } from "../../engine/tensor.ts";
import { Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../../models/chameleon.ts";
import { imageTokenTable } from "../../weights/names.ts";
import { loadLanguageModel } from "../../world/model.ts";
import { type AnswerFile, type Case, largest, type Row } from "./answers.ts";
import { Taps } from "./taps.ts";
import { shifted } from "./training.ts";

/** What the released package writes over the logits of image ids. */
export const LOWEST = -3.4028234663852886e38;

export async function languageModel(given: Case): Promise<Row[]> {
  if (!(await given.answers.has("lm.safetensors"))) return [];
  const file = await given.answers.file("lm.safetensors");
  const facts = await given.answers.json<{ loss_f64: number; hf_loss_masked_logits_labels_without_image?: number }>("lm.json");
  const { lm } = await loadLanguageModel(given.device, given.folder);
  const { rows, logits } = await forwardPass(given, lm, file, facts.loss_f64);
  if (file.has("logits_masked")) rows.push(...(await masked(given, lm, file, logits, facts.hf_loss_masked_logits_labels_without_image)));
  if (file.has("leftpad.logits")) rows.push(await leftPadded(given, lm, file));
  for (const swinNorm of [false, true]) {
    const name = `logits_swin_norm_${swinNorm}`;
    if (!file.has(name)) continue;
    const other = new Chameleon({ ...lm.config, swinNorm }, tensorsOf(lm));
    rows.push({ quantity: name, error: largest(await logitsOf(given, other, file), file.get(name).data), limit: 2e-4 });
  }
  return rows;
}

/** The model's tensors by checkpoint name. */
function tensorsOf(lm: Chameleon): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  const walk = (node: object, path: string) => {
    for (const [key, value] of Object.entries(node)) {
      const at = path ? `${path}.${key}` : key;
      if (value && typeof value === "object" && "storage" in value) found.set(at, value as Tensor);
      else if (value && typeof value === "object") walk(value, at);
    }
  };
  walk({ model: lm.model, lm_head: lm.lm_head }, "");
  return found;
}

/** Logits (B, T, V) of the file's input_ids. */
export async function logitsOf({ device }: Case, lm: Chameleon, file: AnswerFile): Promise<Float32Array> {
  const ids = file.get("input_ids");
  const [B, T] = ids.shape;
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, B, T);
  const logits = tape.keep(lm.logits(lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, T), selfAttention())));
  const plan = await tape.plan();
  plan.write("ids", Uint32Array.from(ids.data)).write("positions", plainPositions(B, T)).run();
  const [got] = await plan.read(logits);
  plan.destroy();
  return got as Float32Array;
}

async function forwardPass(
  { device }: Case,
  lm: Chameleon,
  file: AnswerFile,
  loss64: number,
): Promise<{ rows: Row[]; logits: Float32Array }> {
  const { config } = lm;
  const ids = file.get("input_ids");
  const [B, T] = ids.shape;
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, B, T);
  const table = ropeFor(device, config, T);
  const hidden = tape.keep(lm.forward(inputs.ids, inputs.positions, table, selfAttention()));
  const logits = tape.keep(lm.logits(hidden).reshape(B * T, config.vocabSize));
  const targets = tape.input("targets", [B * T], "u32");
  const { loss, ce } = crossEntropy(logits, targets, tape.input("weights", [B * T]), { denominator: "weights" });
  for (const t of [loss, ce]) tape.keep(t);
  const parts = stream(new Taps(tape), lm);
  const plan = await tape.plan();
  const batch = shifted(ids.data, file.get("weights").data, B, T);
  plan.write("ids", Uint32Array.from(ids.data)).write("positions", plainPositions(B, T));
  plan.write("targets", batch.targets).write("weights", batch.weights).run();
  const [gotLogits, gotLoss, gotCe, gotHidden] = await plan.read(logits, loss, ce, hidden);
  const inner = Array.from(gotCe).filter((_, i) => i % T !== T - 1);
  const rows: Row[] = [{ quantity: "loss against f64", error: Math.abs(gotLoss[0] - loss64), limit: 2e-5 }];
  const put = (quantity: string, got: ArrayLike<number>, name: string, limit: number) => {
    if (file.has(name)) rows.push({ quantity, error: largest(got, file.get(name).data), limit });
  };
  put("logits", gotLogits, "logits", 2e-4);
  put("logits against f64", gotLogits, "logits_f64", 5e-5);
  put("token_ce", inner, "token_ce", 2e-4);
  put("token_ce against f64", inner, "token_ce_f64", 5e-5);
  put("hidden.final_norm", gotHidden, "hidden.final_norm", 2e-4);
  const values = new Map<string, Float32Array>();
  for (const [name, t] of parts) values.set(name, (await plan.read(t))[0] as Float32Array);
  const [cos, sin] = (await device.read(table.cos, table.sin)) as Float32Array[];
  derive(values, lm, { B, T, cos, sin });
  for (const [name, got] of values) put(name, got, name, 2e-4);
  plan.destroy();
  return { rows, logits: gotLogits as Float32Array };
}

/** The residual stream, and the results of layer 0's modules, by the names of the answers. */
function stream(taps: Taps, lm: Chameleon): Map<string, Tensor> {
  const parts = new Map([["hidden.embed", taps.of(lm.model.embed_tokens.weight)]]);
  lm.model.layers.forEach((_, i) => void parts.set(`hidden.layer${i}`, taps.last(`layer${i}`)));
  const { self_attn: attn, mlp, ...norms } = lm.model.layers[0];
  const put = (name: string, t: Tensor) => void parts.set(`layer0.${name}`, t);
  for (const [name, { weight }] of Object.entries({ ...norms, ...attn, ...mlp })) put(name, taps.of(weight));
  for (const name of ["q", "k"]) put(`${name}_rope`, parts.get(`layer0.${name}_norm`)!);
  put("attn_out", taps.of(parts.get("layer0.q_rope")!, "attention"));
  put("lse", taps.of(parts.get("layer0.q_rope")!, "attention", 1));
  put("mlp_act", taps.of(parts.get("layer0.gate_proj")!, "swiglu"));
  return parts;
}

/** What follows from kept results: module outputs where the residual was added or heads were rotated in the same launch, attention weights, rotary tables. */
function derive(
  values: Map<string, Float32Array>,
  { config: c }: Chameleon,
  { B, T, cos, sin }: { B: number; T: number; cos: Float32Array; sin: Float32Array },
): void {
  const at = (name: string) => values.get(`layer0.${name}`)!;
  if (!c.swinNorm) {
    const after = at("o_proj");
    const down = at("down_proj");
    const before = values.get("hidden.embed")!;
    values.set(
      "layer0.down_proj",
      down.map((v, i) => v - after[i]),
    );
    values.set(
      "layer0.o_proj",
      after.map((v, i) => v - before[i]),
    );
  }
  const half = c.headDim / 2;
  for (const [name, table] of Object.entries({ cos, sin }))
    values.set(
      `layer0.rope_${name}`,
      Float32Array.from({ length: T * c.headDim }, (_, i) => table[Math.floor(i / c.headDim) * half + (i % half)]),
    );
  for (const [name, H] of Object.entries({ q: c.heads, k: c.kvHeads }))
    values.set(`layer0.${name}_norm`, turnedBack(at(`${name}_rope`), cos, sin, { T, H, D: c.headDim }));
  values.set("layer0.attn_probs", probabilities(at("q_rope"), at("k_rope"), at("lse"), { B, T, N: c.heads, K: c.kvHeads, D: c.headDim }));
  values.delete("layer0.lse");
}

/** Heads (B, T, H, D) before their rotation by the tables' angles, from those after it. */
function turnedBack(y: Float32Array, cos: Float32Array, sin: Float32Array, { T, H, D }: Record<"T" | "H" | "D", number>): Float32Array {
  const half = D / 2;
  return y.map((v, i) => {
    const [c, position] = [i % D, Math.floor(i / (H * D)) % T];
    const turn = position * half + (c % half);
    return c < half ? v * cos[turn] + y[i + half] * sin[turn] : v * cos[turn] - y[i - half] * sin[turn];
  });
}

/** exp(score - lse), (B, N, T, T): the weights that the attention kernel used, from its own queries, keys and log-sums. */
function probabilities(
  q: Float32Array,
  k: Float32Array,
  lse: Float32Array,
  { B, T, N, K, D }: Record<"B" | "T" | "N" | "K" | "D", number>,
): Float32Array {
  const out = new Float32Array(B * N * T * T);
  for (let b = 0; b < B; b++)
    for (let n = 0; n < N; n++)
      for (let t = 0; t < T; t++)
        for (let s = 0; s <= t; s++) {
          let score = 0;
          const head = Math.floor(n / (N / K));
          for (let d = 0; d < D; d++) score += q[((b * T + t) * N + n) * D + d] * k[((b * T + s) * K + head) * D + d];
          out[((b * N + n) * T + t) * T + s] = Math.exp(score / Math.sqrt(D) - lse[(b * N + n) * T + t]);
        }
  return out;
}

/** Logits with image ids at the lowest float, and the released package's loss on them: the mean over labels that are not -100. */
async function masked({ device }: Case, lm: Chameleon, file: AnswerFile, logits: Float32Array, loss64?: number): Promise<Row[]> {
  const V = lm.config.vocabSize;
  const hidden = logits.slice();
  if (lm.config.vocabularyMap) {
    const images = imageTokenTable(lm.config.vocabularyMap);
    for (let row = 0; row < hidden.length; row += V) for (const id of images) hidden[row + id] = LOWEST;
  }
  const rows: Row[] = [{ quantity: "logits_masked", error: largest(hidden, file.get("logits_masked").data), limit: 2e-4 }];
  if (loss64 === undefined || !file.has("hf_labels")) return rows;
  const labels = file.get("hf_labels");
  const [B, T] = labels.shape;
  const wanted = shifted(
    labels.data.map((id) => Math.max(0, id)),
    labels.data.map((id) => (id < 0 ? 0 : 1)),
    B,
    T,
  );
  const tape = new Tape(device);
  const given = tape.input("logits", [B * T, V]);
  const { loss } = crossEntropy(given, tape.input("targets", [B * T], "u32"), tape.input("weights", [B * T]), { denominator: "weights" });
  tape.keep(loss);
  const plan = await tape.plan();
  plan.write("logits", hidden).write("targets", wanted.targets).write("weights", wanted.weights).run();
  rows.push({ quantity: "loss of hf_labels on masked logits", error: Math.abs((await plan.readNumber(loss)) - loss64), limit: 2e-5 });
  plan.destroy();
  return rows;
}

/** Rows padded on the left: logits of the real positions. */
async function leftPadded({ device }: Case, lm: Chameleon, file: AnswerFile): Promise<Row> {
  const ids = file.get("leftpad.input_ids");
  const mask = file.get("leftpad.attention_mask").data;
  const [B, T] = ids.shape;
  const V = lm.config.vocabSize;
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, B, T);
  const start = tape.input("start", [B], "u32");
  const logits = tape.keep(lm.logits(lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, T), selfAttention(start))));
  const plan = await tape.plan();
  plan.write("ids", Uint32Array.from(ids.data)).write("positions", Uint32Array.from(file.get("leftpad.position_ids").data));
  plan.write(
    "start",
    Uint32Array.from({ length: B }, (_, b) => mask.subarray(b * T, (b + 1) * T).indexOf(1)),
  );
  const [got] = await plan.run().read(logits);
  plan.destroy();
  const real = (a: ArrayLike<number>) => Array.from(a).filter((_, i) => mask[Math.floor(i / V)] === 1);
  return { quantity: "leftpad.logits", error: largest(real(got), real(file.get("leftpad.logits").data)), limit: 2e-4 };
}

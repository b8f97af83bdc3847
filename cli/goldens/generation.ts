// Generation against the published implementations' greedy runs: every mode, a left-padded batch, logits step by step, and prompts with pictures from
// text to answer.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tape } from "../../engine/tape.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../../models/chameleon.ts";
import { type Continuation, Generator } from "../../models/generate.ts";
import { type Mode, modes, rulesFor } from "../../models/rules.ts";
import { PictureCoder } from "../../tokenizer/image.ts";
import { chameleonPrompt, fillPlaceholders } from "../../tokenizer/prompt.ts";
import type { Vocab } from "../../tokenizer/vocab.ts";
import { loadLanguageModel, loadPictureModel } from "../../world/model.ts";
import { type Case, isFile, largest, type Row, unequal } from "./answers.ts";
import { LOWEST } from "./language_model.ts";
import { pixelConfigOf, tokenizerIn, vocabIn } from "./model_files.ts";

interface Run {
  readonly prompt?: number[];
  readonly input_ids?: number[][];
  readonly attention_mask?: number[][];
  readonly max_new_tokens: number;
  readonly new_ids: number[] | number[][];
}

interface PromptCase {
  readonly text: string;
  readonly images: string[];
  readonly input_ids_with_placeholders: number[];
  readonly input_ids: number[];
  readonly new_ids: number[];
  readonly answer: string;
}

/** What every part needs. */
interface Setting extends Case {
  readonly lm: Chameleon;
  readonly vocab: Vocab;
  /** Codes of a picture. */
  readonly picture: number;
}

export async function generation(given: Case): Promise<Row[]> {
  const { answers, folder, device } = given;
  const has = { runs: await answers.has("generate.json"), prompts: await answers.has("prompt.json") };
  if (!has.runs && !has.prompts) return [];
  const vocab = await vocabIn(folder);
  if (!vocab) return [{ quantity: "generation: neither vocabulary_map nor tokenizer.json names the picture codes", error: 1, limit: 0 }];
  const { lm } = await loadLanguageModel(device, folder);
  const setting = { ...given, vocab, picture: await codesOfPicture(folder, lm), lm };
  const rows: Row[] = [];
  if (has.runs) {
    const runs = await answers.json<Record<string, Run>>("generate.json");
    for (const [name, run] of Object.entries(runs)) rows.push(...(await greedy(setting, name, run)));
    if (await answers.has("generate_logits.safetensors")) rows.push(...(await stepLogits(setting, runs)));
  }
  if (has.prompts) rows.push(...(await prompts(setting)));
  return rows;
}

/** Codes of a picture: as the processor says, else those of the square that the picture model was made for. */
async function codesOfPicture(folder: string, { config }: Chameleon): Promise<number> {
  const path = join(folder, "processor_config.json");
  if (await isFile(path)) return (JSON.parse(await readFile(path, "utf8")) as { image_seq_length: number }).image_seq_length;
  return config.vq ? (config.vq.resolution / 2 ** (config.vq.channelMultiplier.length - 1)) ** 2 : 1024;
}

async function continued(s: Setting, mode: Mode, given: readonly number[][], newTokens: number): Promise<Continuation[]> {
  const rules = rulesFor(s.vocab, mode, { picture: s.picture, grammar: false });
  const promptTokens = Math.max(...given.map((p) => p.length));
  const g = await Generator.make(s.device, s.lm, { prompts: given.length, branches: 1, promptTokens, newTokens, rules });
  const out = await g.run(
    given.map((p) => Uint32Array.from(p)),
    { temperature: 0, seed: 0 },
  );
  g.destroy();
  return out.map(([c]) => c);
}

/** New ids as the published implementations give them: with the id that ended the run. */
const withEnd = (c: Continuation, eos: number) => [...c.ids, ...(c.stopped ? [eos] : [])];

async function greedy(s: Setting, name: string, run: Run): Promise<Row[]> {
  const mode = (name.startsWith("greedy_masked") ? "released" : name) as Mode;
  if (!modes.includes(mode)) return [{ quantity: `generation ${name}: unknown mode`, error: 1, limit: 0 }];
  const given = run.input_ids
    ? run.input_ids.map((row, b) => row.filter((_, t) => run.attention_mask?.[b][t] !== 0))
    : [run.prompt as number[]];
  const want = run.input_ids ? (run.new_ids as number[][]) : [run.new_ids as number[]];
  const got = await continued(s, mode, given, run.max_new_tokens);
  // In a batch the rows that have ended are padded to the longest.
  const error = got.reduce((sum, c, b) => {
    const ids = withEnd(c, s.vocab.eos);
    return sum + unequal(ids, want[b].slice(0, c.stopped ? ids.length : undefined));
  }, 0);
  return [{ quantity: `generation ${name}: ids`, error, limit: 0 }];
}

/** Logits before each new id, and the log-probabilities that cached decoding gives for the ids. */
async function stepLogits(s: Setting, runs: Record<string, Run>): Promise<Row[]> {
  const file = await s.answers.file("generate_logits.safetensors");
  const V = s.lm.config.vocabSize;
  const rows: Row[] = [];
  for (const tensor of file.names) {
    const name = tensor.replace(/\.step_logits$/, "");
    const { prompt, new_ids } = runs[name] as { prompt: number[]; new_ids: number[] };
    const ids = [...prompt, ...new_ids.slice(0, -1)];
    const tape = new Tape(s.device);
    const inputs = sequenceInputs(tape, 1, ids.length);
    const table = ropeFor(s.device, s.lm.config, ids.length, prompt.length);
    const logits = tape.keep(s.lm.logits(s.lm.forward(inputs.ids, inputs.positions, table, selfAttention())));
    const plan = await tape.plan();
    plan.write("ids", Uint32Array.from(ids)).write("positions", plainPositions(1, ids.length)).run();
    const [all] = await plan.read(logits);
    plan.destroy();
    const want = file.get(tensor).data;
    const got = Array.from(all.subarray((prompt.length - 1) * V));
    const codes = new Set(s.vocab.imageIds);
    if (name.startsWith("greedy_masked")) for (let i = 0; i < got.length; i++) if (codes.has(i % V)) got[i] = LOWEST;
    rows.push({ quantity: `generation ${name}: logits of each step`, error: largest(got, want), limit: 2e-4 });
    const [c] = await continued(s, "released", [prompt], new_ids.length);
    const logprobs = new_ids.map((id, t) => {
      const row = want.subarray(t * V, (t + 1) * V);
      const top = row.reduce((a, b) => Math.max(a, b));
      return row[id] - top - Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0));
    });
    rows.push({ quantity: `generation ${name}: cached log-probabilities`, error: largest(c.logprobs, logprobs), limit: 2e-4 });
  }
  return rows;
}

/** Text with pictures -> ids with placeholders -> ids -> greedy answer -> text. */
async function prompts(s: Setting): Promise<Row[]> {
  const tokenizer = await tokenizerIn(s.folder);
  if (!tokenizer) return [{ quantity: "prompts: there is no tokenizer.json", error: 1, limit: 0 }];
  const cases = await s.answers.json<Record<string, PromptCase>>("prompt.json");
  const coder = new PictureCoder(s.device, await loadPictureModel(s.device, s.folder), await pixelConfigOf(s.folder), 1);
  const rows: Row[] = [];
  for (const [name, c] of Object.entries(cases)) {
    const row = (what: string, error: number) => rows.push({ quantity: `prompt ${name}: ${what}`, error, limit: 0 });
    const placed = chameleonPrompt(c.text, { vocab: s.vocab, tokenizer }, { imageSeqLength: s.picture });
    row("ids with placeholders", unequal(placed, c.input_ids_with_placeholders));
    const codes: Uint32Array[] = [];
    for (const path of c.images) {
      const [file, tensor] = path.split(": ");
      const { shape, data } = (await s.answers.file(file)).get(tensor);
      const picture = { width: shape[1], height: shape[0], channels: shape[2] as 3 | 4, data: Uint8Array.from(data) };
      codes.push((await coder.encode([picture]))[0].codes);
    }
    const ids = fillPlaceholders(placed, codes, s.vocab);
    row("ids", unequal(ids, c.input_ids));
    const [answer] = await continued(s, "released", [[...ids]], c.new_ids.length);
    const written = withEnd(answer, s.vocab.eos);
    row("answer's ids", unequal(written, c.new_ids));
    const texts = [true, false].map((skipSpecial) => tokenizer.decode(written, { skipSpecial }));
    row("answer", Number(!texts.includes(c.answer)));
  }
  return rows;
}

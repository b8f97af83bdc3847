// What each stored type does to a model's answers: logits, perplexity of a text, and the picture codes it finds likeliest, each against f32.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Chameleon, plainPositions, releaseModel, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { vocabOf } from "../tokenizer/vocab.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import { defaultGroupSize, type StoredType, storedTypes } from "../weights/stored.ts";
import { loadLanguageModel } from "./model.ts";

/** Sequences of ids that the types are compared on. */
export interface Questions {
  /** Sequences of text; the perplexity is theirs. */
  readonly texts: readonly Uint32Array[];
  /** Sequences with a picture; agreement is counted where a picture code is next. */
  readonly pictures: readonly Uint32Array[];
}

export interface TypeReport {
  readonly dtype: StoredType;
  readonly groupSize: number;
  /** Bytes of the weights on the device. */
  readonly bytes: number;
  /** Largest and root-mean-square difference of logits from f32's, and the root mean square of f32's. */
  readonly largest: number;
  readonly rms: number;
  readonly size: number;
  /** exp of the mean cross-entropy over the texts. */
  readonly perplexity: number;
  /** Share of picture positions whose likeliest code is f32's. */
  readonly agreement: number;
}

/** Seeded random sequences, for models without a tokenizer: ids that are no picture codes, and whole pictures of random codes. */
export function randomQuestions(config: ChameleonConfig, seed = 0, names?: Record<string, number>): Questions {
  const vocab = vocabOf(config, names ?? config.vocabularyMap);
  const rng = new Rng(seed, "questions");
  const words = Array.from({ length: config.vocabSize }, (_, id) => id).filter((id) => vocab.named[id] && vocab.codes[id] < 0);
  const T = Math.min(64, config.maxPositions);
  const draw = (from: ArrayLike<number>, n: number) => Array.from({ length: n }, () => from[rng.int(from.length)]);
  const texts = Array.from({ length: 4 }, () => Uint32Array.from([vocab.bos, ...draw(words, T - 1)]));
  const pictures = Array.from({ length: 4 }, () => Uint32Array.from([vocab.bos, vocab.boi, ...draw(vocab.imageIds, T - 2)]));
  return { texts, pictures };
}

/** The model's logits (positions, vocabulary) for one sequence, in parts of `most` positions at a time. */
async function* logitsOf(
  device: Device,
  lm: Chameleon,
  ids: Uint32Array,
  most = 256,
): AsyncGenerator<{ first: number; logits: Float32Array }> {
  const T = ids.length - 1;
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, 1, T);
  const rows = tape.input("rows", [Math.min(most, T)], "u32");
  const out: Tensor = tape.keep(lm.logits(lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, T), selfAttention()), rows));
  const plan = await tape.plan();
  plan.write("ids", ids.subarray(0, T)).write("positions", plainPositions(1, T));
  try {
    for (let first = 0; first < T; first += rows.size) {
      const count = Math.min(rows.size, T - first);
      plan
        .write(
          "rows",
          Uint32Array.from({ length: rows.size }, (_, i) => first + Math.min(i, count - 1)),
        )
        .run();
      const [all] = (await plan.read(out)) as [Float32Array];
      yield { first, logits: all.subarray(0, count * lm.config.vocabSize) };
    }
  } finally {
    plan.destroy();
  }
}

/** Compares types on questions; f32 is loaded first. `onProgress` hears the type that is being run. */
export async function compareTypes(
  device: Device,
  folder: string,
  questions: Questions,
  options: {
    types?: readonly StoredType[];
    groupSize?: number;
    names?: Record<string, number>;
    onProgress?: (dtype: StoredType) => void;
  } = {},
): Promise<TypeReport[]> {
  const { groupSize = defaultGroupSize, onProgress, types = storedTypes } = options;
  const sequences = [...questions.texts, ...questions.pictures];
  if (sequences.some((s) => s.length < 2)) throw new WorldlineError("dtypes: a sequence has fewer than two tokens; give longer text");
  const want: Float32Array[][] = sequences.map(() => []);
  const results: TypeReport[] = [];
  for (const dtype of ["f32", ...types.filter((t) => t !== "f32")] as StoredType[]) {
    if (dtype === "f16" && !device.capabilities.features.has("shader-f16")) continue;
    onProgress?.(dtype);
    const before = device.memory().weights ?? 0;
    const { config, lm } = await loadLanguageModel(device, folder, { dtype, groupSize });
    const bytes = device.memory().weights! - before;
    const { codes } = vocabOf(config, options.names ?? config.vocabularyMap);
    const sum = new Sums();
    for (const [s, ids] of sequences.entries()) {
      let part = 0;
      for await (const { first, logits } of logitsOf(device, lm, ids)) {
        const reference = dtype === "f32" ? (want[s][part] = logits) : want[s][part];
        part++;
        sum.add(logits, reference, ids, first, codes, s < questions.texts.length);
      }
    }
    releaseModel(device, lm);
    results.push({ dtype, groupSize, bytes, ...sum.result() });
  }
  return results;
}

/** What is counted over all positions. */
class Sums {
  private largest = 0;
  private squares = 0;
  private size = 0;
  private count = 0;
  private entropy = 0;
  private scored = 0;
  private agreed = 0;
  private asked = 0;

  add(got: Float32Array, want: Float32Array, ids: Uint32Array, first: number, codes: Int32Array, isText: boolean): void {
    const V = codes.length;
    for (let i = 0; i < got.length; i++) {
      const d = Math.abs(got[i] - want[i]);
      if (!(d <= this.largest)) this.largest = d;
      this.squares += d * d;
      this.size += want[i] * want[i];
    }
    this.count += got.length;
    for (let t = 0; t < got.length / V; t++) {
      const next = ids[first + t + 1];
      const row = got.subarray(t * V, (t + 1) * V);
      if (isText) {
        const most = row.reduce((m, v) => Math.max(m, v), Number.NEGATIVE_INFINITY);
        this.entropy += most + Math.log(row.reduce((sum, v) => sum + Math.exp(v - most), 0)) - row[next];
        this.scored++;
      } else if (codes[next] >= 0) {
        this.asked++;
        if (likeliestCode(row, codes) === likeliestCode(want.subarray(t * V, (t + 1) * V), codes)) this.agreed++;
      }
    }
  }

  result(): Pick<TypeReport, "largest" | "rms" | "size" | "perplexity" | "agreement"> {
    return {
      largest: this.largest,
      rms: Math.sqrt(this.squares / this.count),
      size: Math.sqrt(this.size / this.count),
      perplexity: Math.exp(this.entropy / this.scored),
      agreement: this.agreed / this.asked,
    };
  }
}

function likeliestCode(row: Float32Array, codes: Int32Array): number {
  let best = -1;
  for (let id = 0; id < codes.length; id++) if (codes[id] >= 0 && (best < 0 || row[id] > row[best])) best = id;
  return best;
}

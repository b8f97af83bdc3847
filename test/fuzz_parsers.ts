// Damaged files for the two parsers: safetensors headers and tokenizer.json. Whatever is changed, the outcome is a WorldlineError of one sentence or a
// result that is consistent; nothing hangs and memory stays. Used by fuzz.ts (npm run fuzz) and fuzz.test.ts.

import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { parseTokenizer } from "../tokenizer/text.ts";
import { trainBpe } from "../tokenizer/train_bpe.ts";
import { memorySource, openSafetensors, writeSafetensors } from "../weights/safetensors.ts";
import { pipelines } from "./fuzz_strings.ts";

export interface FuzzResult {
  readonly rounds: number;
  readonly refused: number;
  /** The slowest round in milliseconds. */
  readonly slowest: number;
  /** Growth of the heap and of buffers over the run, in bytes. */
  readonly memory: number;
  /** Rounds whose outcome was anything else, in one line each. */
  readonly faults: readonly string[];
}

/** A round that takes more milliseconds counts as hanging; a file of this size is read in one or two. */
const longest = 10_000;

type Round = (rng: Rng) => Promise<"read" | "refused">;

async function fuzz(name: string, count: number, seed: number, round: Round, onProgress?: (done: number) => void): Promise<FuzzResult> {
  const memory = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = memory();
  const faults: string[] = [];
  let [refused, slowest, most] = [0, 0, 0];
  for (let i = 0; i < count && faults.length < 10; i++) {
    const begin = performance.now();
    try {
      if ((await round(new Rng(seed, `${name} ${i}`))) === "refused") refused++;
    } catch (error) {
      faults.push(
        `${name}, seed ${seed}, round ${i}: ${String(error instanceof Error ? (error.stack ?? error.message) : error).slice(0, 600)}`,
      );
    }
    const took = performance.now() - begin;
    slowest = Math.max(slowest, took);
    if (took > longest) faults.push(`${name}, seed ${seed}, round ${i}: ${took.toFixed(0)} ms`);
    if (i % 64 === 0) most = Math.max(most, memory() - before);
    onProgress?.(i + 1);
  }
  return { rounds: count, refused, slowest, memory: most, faults };
}

/** Runs `read`; a WorldlineError must be one line of bounded length, everything else is passed on. */
async function outcome(read: () => void | Promise<void>): Promise<"read" | "refused"> {
  try {
    await read();
    return "read";
  } catch (error) {
    if (!(error instanceof WorldlineError)) throw error;
    if (/[\n\r]/.test(error.message) || error.message.length > 1000 || error.message.length < 20)
      throw new Error(`the sentence is no sentence: ${JSON.stringify(error.message.slice(0, 300))}`);
    return "refused";
  }
}

/** Headers changed by byte, by number and by structure, and files cut off. */
export async function fuzzSafetensors(count: number, seed: number, onProgress?: (done: number) => void): Promise<FuzzResult> {
  const good = await writeSafetensors(
    [
      { name: "a.weight", dtype: "F32", shape: [2, 3], data: new Uint8Array(24) },
      { name: "b", dtype: "BF16", shape: [5], data: new Uint8Array(10) },
      { name: "c", dtype: "I8", shape: [1, 1], data: new Uint8Array(1) },
      { name: "none", dtype: "F16", shape: [0, 7], data: new Uint8Array(0) },
    ],
    { format: "pt", note: "é" },
  );
  const length = Number(new DataView(good.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(good.subarray(8, 8 + length))) as Record<string, unknown>;
  const data = good.subarray(8 + length);
  return fuzz(
    "safetensors",
    count,
    seed,
    (rng) => {
      let bytes: Uint8Array;
      if (rng.int(2) === 0) bytes = fileOf(new TextEncoder().encode(JSON.stringify(mutateJson(structuredClone(header), rng))), data, rng);
      else {
        bytes = good.slice();
        for (let n = 1 + rng.int(3); n > 0; n--) bytes = mutateBytes(bytes, rng, Math.min(8 + length, bytes.length));
      }
      return outcome(async () => {
        const file = await openSafetensors(memorySource(bytes), "x.safetensors");
        let sum = 0;
        for (const t of file.tensors.values()) {
          if ((await file.read(t.name)).length !== t.end - t.begin) throw new Error(`${t.name} has another length than it says`);
          sum += t.end - t.begin;
        }
        if (sum > bytes.length) throw new Error("the tensors are larger than the file");
      });
    },
    onProgress,
  );
}

function fileOf(json: Uint8Array, data: Uint8Array, rng: Rng): Uint8Array {
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(rng.int(20) === 0 ? rng.int(2 ** 31) : json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** tokenizer.json files of several kinds, changed by character and by structure; what is accepted must encode and decode. */
export async function fuzzTokenizer(count: number, seed: number, onProgress?: (done: number) => void): Promise<FuzzResult> {
  const small = trainBpe(["push the red cube to the left", "pick up 12 cm"], { codes: 4, merges: 30 });
  const all = pipelines();
  const kinds = [
    small,
    { ...all["byte fallback"] },
    { ...all["metaspace first"] },
    { ...small, normalizer: all["stripped and replaced"].normalizer, post_processor: all["sequence of processors"].post_processor },
    { ...small, pre_tokenizer: all["words and gaps"].pre_tokenizer },
  ];
  const texts = kinds.map((kind) => JSON.stringify(kind));
  return fuzz(
    "tokenizer.json",
    count,
    seed,
    (rng) => {
      const kind = rng.int(kinds.length);
      let file: string | Record<string, unknown>;
      if (rng.int(3) > 0) {
        const changed = mutateJson(JSON.parse(texts[kind]) as unknown, rng);
        file = JSON.stringify(changed) ?? "";
      } else {
        let bytes: Uint8Array = new TextEncoder().encode(texts[kind]);
        for (let n = 1 + rng.int(3); n > 0; n--) bytes = mutateBytes(bytes, rng, bytes.length);
        file = new TextDecoder().decode(bytes);
      }
      return outcome(() => {
        const tokenizer = parseTokenizer(file);
        const ids = tokenizer.ids("push the  red 12 <s>é▁cube", { addBos: true });
        if (ids.some((id) => !Number.isSafeInteger(id) || id < 0)) throw new Error(`ids ${ids}`);
        const known = ids.filter((id) => tokenizer.token(id) !== undefined);
        const stream = tokenizer.stream();
        const text = known.map((id) => stream.push(id)).join("") + stream.end();
        if (text !== tokenizer.decode(known)) throw new Error("stream and decode differ");
      });
    },
    onProgress,
  );
}

const strange: readonly unknown[] = [
  ...[null, true, false, 0, 1, -1, 1.5, 1e99, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, -(2 ** 40)],
  ...[
    "",
    "a",
    "Ġ",
    "__proto__",
    "constructor",
    "\u0000",
    "\n",
    "é",
    "\ud800",
    "a b c",
    "F64",
    "I64",
    "BPE",
    "ByteLevel",
    "Sequence",
    "(",
    "[^",
    "(?=",
    "{9}",
  ],
  ...[[], {}, [[]], [null], [0, 0], [2 ** 40, 2 ** 40], { Regex: "(a+)" }, { String: "" }, { type: "Sequence" }],
];

/** Changes one to three places of a JSON value: other values, gone, doubled, swapped, wrapped, renamed. */
function mutateJson(value: unknown, rng: Rng): unknown {
  const root = { root: value };
  for (let n = 1 + rng.int(3); n > 0; n--) {
    const { holder, key } = pick(root, rng);
    const list = Array.isArray(holder);
    const old = (holder as Record<string, unknown>)[key];
    const kind = rng.int(7);
    if (kind <= 1) set(holder, key, structuredClone(strange[rng.int(strange.length)]));
    else if (kind === 2) {
      if (list) holder.splice(Number(key), 1);
      else delete (holder as Record<string, unknown>)[key];
    } else if (kind === 3) {
      if (list) holder.push(structuredClone(old));
      else set(holder, `${key}${["", "x", "\n"][rng.int(3)]}`, old);
    } else if (kind === 4) set(holder, key, rng.int(2) ? [old] : { [key]: old });
    else if (kind === 5)
      set(holder, key, typeof old === "number" ? old + [1, -1, 0.5, 2 ** 20][rng.int(4)] : `${String(old).slice(0, 40)}+*`);
    else {
      const other = pick(root, rng);
      set(holder, key, structuredClone((other.holder as Record<string, unknown>)[other.key]));
    }
  }
  return root.root;
}

/** A place in the value: now and then high up, mostly deep. */
function pick(root: Record<string, unknown>, rng: Rng): { holder: Record<string, unknown> | unknown[]; key: string } {
  let holder: Record<string, unknown> | unknown[] = root;
  let key = "root";
  for (;;) {
    const inner = (holder as Record<string, unknown>)[key];
    if (typeof inner !== "object" || inner === null || rng.int(5) === 0) return { holder, key };
    const keys = Object.keys(inner);
    if (keys.length === 0) return { holder, key };
    holder = inner as Record<string, unknown>;
    key = keys[rng.int(keys.length)];
  }
}

function set(holder: Record<string, unknown> | unknown[], key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true });
}

const fragments = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "-1",
  "1e99",
  "null",
  "9007199254740993",
  "\\u0000",
  "[[[[",
  "{}",
  "\\",
  "F64",
  '"a":',
  "\u0000",
  "é",
].map((t) => new TextEncoder().encode(t));

/** Flips a bit, cuts the end off, writes or inserts a fragment, or takes bytes out, before byte `end`. */
function mutateBytes(bytes: Uint8Array, rng: Rng, end: number): Uint8Array {
  const at = rng.int(Math.max(end, 1));
  const kind = rng.int(5);
  if (kind === 0 && bytes.length > 0) {
    bytes[at] ^= 1 << rng.int(8);
    return bytes;
  }
  if (kind === 1) return bytes.slice(0, rng.int(bytes.length + 1));
  const insert = kind === 4 ? new Uint8Array(0) : fragments[rng.int(fragments.length)];
  const cut = kind === 2 ? insert.length : kind === 3 ? 0 : 1 + rng.int(4);
  const rest = bytes.slice(at + cut);
  const out = new Uint8Array(at + insert.length + rest.length);
  out.set(bytes.slice(0, at));
  out.set(insert, at);
  out.set(rest, at + insert.length);
  return out;
}

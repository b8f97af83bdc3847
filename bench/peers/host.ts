// Host-side work beside its npm neighbours: text to ids and back, a safetensors header, resampling a picture. Each neighbour must give the same result
// before it is timed (resampling: within two steps of 255 a byte, as rounding differs). tinybench times them; nothing here is a dependency.
import { Rng } from "../../engine/rng.ts";
import { resizePicture } from "../../tokenizer/pixels.ts";
import { parseTokenizer } from "../../tokenizer/text.ts";
import { trainBpe } from "../../tokenizer/train_bpe.ts";
import { memorySource, openSafetensors, writeSafetensors } from "../../weights/safetensors.ts";
import { load, versionOf } from "./engine.ts";

/** What is installed for these rows. */
export const hostManifest = {
  name: "worldline-host-peers",
  private: true,
  type: "module",
  dependencies: {
    "@huggingface/hub": "2.17.5",
    "@huggingface/tokenizers": "0.2.0",
    sharp: "0.35.5",
    tinybench: "6.2.3",
    tokenizers: "0.23.2",
  },
};

export interface HostRow {
  readonly work: string;
  readonly who: string;
  /** Milliseconds, and the neighbour's median over ours: above 1 we are faster. */
  readonly median?: number;
  readonly ratio?: number;
  /** How it differs from ours, or why there is no time. */
  readonly note?: string;
}

/** One piece of work by several hands; `same` is a note on how a result stands to ours, or throws why it is wrong. */
export interface HostCase {
  readonly work: string;
  readonly hands: Readonly<Record<string, () => unknown>>;
  readonly same: (ours: unknown, theirs: unknown) => string;
  /** Why no neighbour stands beside ours, where none does. */
  readonly alone?: string;
}

type TinyBench = new (options: {
  time: number;
  warmupTime: number;
}) => {
  add(name: string, run: () => unknown): unknown;
  run(): Promise<unknown>;
  readonly tasks: readonly {
    readonly name: string;
    readonly result: { readonly state: string; readonly latency?: { readonly p50: number } };
  }[];
};

interface JsTokenizer {
  encode(text: string, o: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: readonly number[], o: object): string;
}
interface RustTokenizer {
  encode(text: string, pair: null, o: { addSpecialTokens: boolean }): Promise<{ getIds(): number[] }>;
  decode(ids: readonly number[], skip: boolean): Promise<string>;
}
type Sharp = (data: Uint8Array, o: object) => { resize(w: number, h: number, o: object): { raw(): { toBuffer(): Promise<Uint8Array> } } };
type ParseHeader = (o: { repo: string; path: string; fetch: typeof fetch }) => Promise<{ header: Record<string, { shape: number[] }> }>;

const equal = (ours: unknown, theirs: unknown): string => {
  if (JSON.stringify(ours) !== JSON.stringify(theirs)) throw new Error("its result differs");
  return "the same result";
};

/** The cases with the packages of `folder`. */
export async function hostCases(folder: string): Promise<HostCase[]> {
  const rng = new Rng(1, "host");
  return [...(await tokenizerCases(folder, rng)), await headerCase(folder), writeCase(), await pictureCase(folder, rng)];
}

async function tokenizerCases(folder: string, rng: Rng): Promise<HostCase[]> {
  // Words of two to four syllables, frequent ones often: a language of its own, the same everywhere.
  const syllables = [..."ptkbdgmnslr"].flatMap((c) => [..."aeiou"].map((v) => c + v));
  const words = Array.from({ length: 2000 }, () =>
    Array.from({ length: 2 + rng.int(3) }, () => syllables[rng.int(syllables.length)]).join(""),
  );
  const text = Array.from(
    { length: 12_000 },
    (_, i) => words[Math.floor(words.length ** (rng.int(10_000) / 10_000)) - 1] + (i % 12 ? "" : "."),
  ).join(" ");
  const json = trainBpe([text], { codes: 64, merges: 2000 });
  const ours = parseTokenizer(json);
  const { Tokenizer: Js } = (await load(folder, "@huggingface/tokenizers")) as {
    Tokenizer: new (json: object, config: object) => JsTokenizer;
  };
  const { Tokenizer: Rust } = (await load(folder, "tokenizers")) as { Tokenizer: { fromString(json: string): RustTokenizer } };
  const [js, rust] = [new Js(json, {}), Rust.fromString(JSON.stringify(json))];
  const ids = ours.ids(text);
  const [jsName, rustName] = ["@huggingface/tokenizers", "tokenizers"].map((n) => `${n} ${versionOf(folder, n)}`);
  return [
    {
      work: `${ids.length} ids of a text`,
      same: equal,
      hands: {
        worldline: () => ours.ids(text),
        [jsName]: () => js.encode(text, { add_special_tokens: false }).ids,
        [`${rustName} (Rust)`]: async () => (await rust.encode(text, null, { addSpecialTokens: false })).getIds(),
      },
    },
    {
      work: "the text of them",
      same: equal,
      hands: {
        worldline: () => ours.decode(ids),
        [jsName]: () => js.decode(ids, { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
        [`${rustName} (Rust)`]: () => rust.decode(ids, false),
      },
    },
  ];
}

async function headerCase(folder: string): Promise<HostCase> {
  const tensors = Array.from({ length: 1000 }, (_, i) => ({
    name: `model.layers.${i}.weight`,
    dtype: "F32" as const,
    shape: [2, 4],
    data: new Uint8Array(32).fill(i),
  }));
  const file = await writeSafetensors(tensors);
  const hub = (await load(folder, "@huggingface/hub")) as { parseSafetensorsMetadata: ParseHeader };
  const answer = (async (_: unknown, o?: RequestInit) => {
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(new Headers(o?.headers).get("range") ?? "bytes=0-")!;
    const [begin, end] = [Number(from), to ? Math.min(Number(to) + 1, file.length) : file.length];
    const headers = { etag: '"x"', "content-range": `bytes ${begin}-${end - 1}/${file.length}`, "content-length": `${end - begin}` };
    return new Response(file.slice(begin, end), { status: 206, headers });
  }) as typeof fetch;
  const shapes = (entries: [string, { shape: readonly number[] }][]) => entries.map(([name, { shape }]) => [name, shape]);
  return {
    work: "header of 1000 tensors",
    same: (a, b) => `${equal(a, b)}; it reads through fetch answered from memory`,
    hands: {
      worldline: async () => shapes([...(await openSafetensors(memorySource(file), "x")).tensors]),
      [`@huggingface/hub ${versionOf(folder, "@huggingface/hub")}`]: async () => {
        const { header } = await hub.parseSafetensorsMetadata({ repo: "a/b", path: "model.safetensors", fetch: answer });
        return shapes(Object.entries(header).filter(([name]) => name !== "__metadata__"));
      },
    },
  };
}

/** 64 MiB in 128 tensors of two types, beside the copy that writing them cannot do without. */
function writeCase(): HostCase {
  const tensors = Array.from({ length: 128 }, (_, i) => {
    const [dtype, shape] = i % 2 ? (["BF16", [256, 1024]] as const) : (["F32", [128, 1024]] as const);
    return { name: `model.layers.${i}.weight`, dtype, shape: [...shape], data: new Uint8Array(1 << 19).fill(i) };
  });
  return {
    work: "64 MiB of safetensors written to memory",
    same: () => "the same bytes copied into one buffer, without a header",
    alone: "no npm package that writes safetensors was found: @huggingface/hub 2.17.5 and safetensors 0.0.1 only read",
    hands: { worldline: () => writeSafetensors(tensors), "Buffer.concat": () => Buffer.concat(tensors.map((t) => t.data)) },
  };
}

async function pictureCase(folder: string, rng: Rng): Promise<HostCase> {
  const [width, height, side] = [640, 480, 256]; // smaller both ways: by its documentation sharp enlarges by the cubic interpolator whatever Lanczos kernel is named
  const wave = (i: number) => Math.sin(i / 3 / 40) * Math.cos(Math.floor(i / 3 / width) / 30);
  const data = Uint8Array.from(
    { length: width * height * 3 },
    (_, i) => 128 + 90 * wave(i % (width * 3)) * Math.cos(i / 3 / width / 25) + rng.int(20),
  );
  const sharp = (await load(folder, "sharp")) as unknown as Sharp | { default: Sharp };
  const open = typeof sharp === "function" ? sharp : sharp.default;
  return {
    work: `${width} x ${height} to ${side} x ${side}, Lanczos`,
    same: (a, b) => {
      const [x, y] = [a as Uint8Array, b as Uint8Array];
      const worst = x.reduce((w, v, i) => Math.max(w, Math.abs(v - y[i])), x.length === y.length ? 0 : 255);
      if (worst > 2) throw new Error(`its bytes differ by up to ${worst}`);
      return `bytes within ${worst}; native code, several threads`;
    },
    hands: {
      worldline: () => resizePicture({ width, height, data }, side, side, 1).data,
      [`sharp ${versionOf(folder, "sharp")}`]: () =>
        open(data, { raw: { width, height, channels: 3 } })
          .resize(side, side, { fit: "fill", kernel: "lanczos3", fastShrinkOnLoad: false })
          .raw()
          .toBuffer(),
    },
  };
}

/** Checks and times the hands of a case; the first one is ours. */
export async function hostRows(folder: string, c: HostCase, ms: number): Promise<HostRow[]> {
  const [own, ...others] = Object.entries(c.hands);
  const want = await own[1]();
  const notes = new Map<string, { note: string; right: boolean }>();
  for (const [who, run] of others) {
    try {
      notes.set(who, { note: c.same(want, await run()), right: true });
    } catch (cause) {
      notes.set(who, { note: `not timed: ${(cause as Error).message.split("\n")[0]}`, right: false });
    }
  }
  const { Bench } = (await load(folder, "tinybench")) as unknown as { Bench: TinyBench };
  const bench = new Bench({ time: ms, warmupTime: ms / 5 });
  for (const [who, run] of [own, ...others.filter(([w]) => notes.get(w)!.right)]) bench.add(who, run);
  await bench.run();
  const medians = new Map(bench.tasks.map((t) => [t.name, t.result.latency?.p50]));
  const base = medians.get(own[0])!;
  const rows = [own, ...others].map(([who]): HostRow => {
    const median = medians.get(who);
    return { work: c.work, who, median, ratio: median && who !== own[0] ? median / base : undefined, note: notes.get(who)?.note };
  });
  return c.alone ? [...rows, { work: c.work, who: "others", note: c.alone }] : rows;
}

/** A row as a line. */
export const hostLine = (r: HostRow): string =>
  `${r.work.padEnd(36)} ${r.who.padEnd(34)} ${r.median === undefined ? "".padStart(12) : `${r.median.toFixed(2).padStart(9)} ms`} ${r.ratio ? `x${r.ratio.toFixed(2)} of worldline's time` : ""} ${r.note ? `(${r.note})` : ""}`.trimEnd();

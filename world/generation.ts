// Text and pictures that follow a prompt of both, as they are written: the function behind `worldline generate`, and prompts for scoring.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { Generator, type SamplingOptions, type Steps } from "../models/generate.ts";
import type { CacheType } from "../models/kvcache.ts";
import { type Mode, rulesFor } from "../models/rules.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import { chameleonPrompt, fillPlaceholders } from "../tokenizer/prompt.ts";
import type { TextStream } from "../tokenizer/text.ts";
import { parseJsonObject } from "../weights/source.ts";
import type { Model } from "./model.ts";

export interface PromptOptions {
  /** No end of turn behind the prompt: it is continued rather than answered. */
  readonly plain?: boolean;
}

export interface GenerationOptions extends PromptOptions {
  /** text-only unless told; see models/rules.ts. */
  readonly mode?: Mode;
  /** Write one picture and nothing else: the begin mark is put behind the prompt, the end mark ends the run. */
  readonly draw?: boolean;
  /** A begin mark is followed by exactly a picture's codes and the end mark. Default true. */
  readonly grammar?: boolean;
  readonly sampling: SamplingOptions;
  /** Ids that end a continuation; eos unless told. */
  readonly stops?: readonly number[];
  /** Most new ids; by the mode unless told: 256 for text, a picture's codes and marks for pictures, both for both. */
  readonly maxTokens?: number;
  /** Continuations, which share the prefilled prompt. 1 unless told. */
  readonly branches?: number;
  readonly cache?: CacheType;
  /** Rows and columns of codes in a drawn picture; the model's square unless told. */
  readonly grid?: Grid;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Rows and columns of a picture's codes. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** What comes out, in order for each branch: words, pictures, and one end. */
export type Piece =
  | { readonly kind: "text"; readonly branch: number; readonly text: string }
  /** Codes in raster order; `whole` is false where the model stopped early or wrote too many. */
  | { readonly kind: "picture"; readonly branch: number; readonly codes: Uint32Array; readonly columns: number; readonly whole: boolean }
  | { readonly kind: "end"; readonly branch: number; readonly ids: Uint32Array; readonly logprob: number; readonly stopped: boolean };

/** The grid of codes that the model's preparation of pictures gives. */
export function modelGrid(model: Pick<Model, "pixels" | "pictures" | "config">): Grid {
  const step = model.pictures.reduction;
  const side = model.config.vq?.resolution ?? 512;
  const { width, height } = model.pixels.crop ?? { width: side, height: side };
  return { rows: Math.floor(height / step), columns: Math.floor(width / step) };
}

/** Ids of a prompt: each <image> in the text stands for a picture, in order; pictures without a place come before the text. */
export async function promptIds(
  model: Model,
  text: string,
  pictures: readonly Picture[],
  { plain = false }: PromptOptions = {},
): Promise<Uint32Array> {
  const token = imageToken(model);
  const places = text.split(token).length - 1;
  if (places > 0 && places !== pictures.length)
    throw new WorldlineError(`the prompt has ${places} times ${token} but ${pictures.length} pictures were given; both must agree`);
  const codes = (await model.pictures.encode(pictures)).map((e) => e.codes);
  const other = codes.find((c) => c.length !== codes[0].length);
  if (other)
    throw new WorldlineError(
      `pictures of ${codes[0].length} and of ${other.length} codes were given; one prompt takes pictures of one size`,
    );
  const placed = places ? text : token.repeat(pictures.length) + text;
  const endTurn = !plain && model.vocab.sep !== null;
  const { rows, columns } = modelGrid(model);
  const ids = chameleonPrompt(placed, model, { imageSeqLength: codes[0]?.length ?? rows * columns, imageToken: token, endTurn });
  return fillPlaceholders(ids, codes, model.vocab);
}

function imageToken(model: Model): string {
  const text = model.files["processor_config.json"];
  const named = text === undefined ? undefined : parseJsonObject(text, `${model.folder}/processor_config.json`).image_token;
  return typeof named === "string" && named !== "" ? named : "<image>";
}

/** Continues a prompt and gives the pieces of each branch as they are written. */
export async function* generate(
  device: Device,
  model: Model,
  prompt: Uint32Array,
  options: GenerationOptions,
): AsyncGenerator<Piece, void, undefined> {
  const { branches = 1, draw = false, grammar = true, cache } = options;
  const mode = draw ? "image-only" : (options.mode ?? "text-only");
  const grid = options.grid ?? modelGrid(model);
  const picture = grid.rows * grid.columns;
  const { vocab } = model;
  const given = draw ? Uint32Array.from([...prompt, vocab.boi]) : prompt;
  const ends = options.stops?.length ? options.stops : [vocab.eos];
  const stops = draw ? [...ends, vocab.eoi] : ends;
  const rules = rulesFor(vocab, mode, { picture, grammar, stops });
  const newTokens = newTokensOf(
    model,
    given.length,
    options.maxTokens,
    draw
      ? picture + 1
      : {
          "text-only": 256,
          released: 256,
          "image-only": picture + 2,
          "interleaved-text-image": picture + 256,
          unrestricted: picture + 256,
        }[mode],
  );
  const { repetitionPenalty = 1, guidance } = options.sampling;
  const generator = await Generator.make(device, model.lm, {
    ...{ prompts: 1, branches, promptTokens: given.length, newTokens, rules, cache },
    ...{ guided: guidance !== undefined, penalised: repetitionPenalty !== 1 },
  });
  const writers = Array.from({ length: branches }, (_, branch) => new Writer(model, branch, grid, stops, draw));
  try {
    for await (const steps of generator.stream([given], options.sampling, { signal: options.signal })) {
      for (let i = 0; i < steps.ids.length; i++) yield* writers[i % branches].add(steps, i);
      options.onProgress?.(steps.first + steps.ids.length / branches, newTokens);
    }
    for (const w of writers) yield* w.end();
  } finally {
    generator.destroy();
  }
}

function newTokensOf(model: Model, prompt: number, asked: number | undefined, usual: number): number {
  const { maxPositions, ropeScaling } = model.config;
  const room = ropeScaling ? Number.POSITIVE_INFINITY : maxPositions - prompt;
  const wanted = asked ?? Math.min(usual, Math.max(1, room));
  if (wanted > room)
    throw new WorldlineError(
      `the prompt has ${prompt} tokens, with ${wanted} new ones more than the model's ${maxPositions} positions; shorten the prompt or ask for fewer`,
    );
  return wanted;
}

/** Turns the ids of one branch into pieces. */
class Writer {
  private readonly model: Model;
  private readonly branch: number;
  private readonly grid: Grid;
  private readonly stops: readonly number[];
  private readonly words: TextStream;
  private readonly ids: number[] = [];
  private logprob = 0;
  private stopped = false;
  /** Codes of the picture being written; undefined outside of one. */
  private codes: number[] | undefined;

  constructor(model: Model, branch: number, grid: Grid, stops: readonly number[], inPicture: boolean) {
    this.model = model;
    this.branch = branch;
    this.grid = grid;
    this.stops = stops;
    this.words = model.tokenizer.stream({ skipSpecial: true });
    if (inPicture) this.codes = [];
  }

  *add(steps: Steps, i: number): Iterable<Piece> {
    if (this.stopped) return;
    const id = steps.ids[i];
    const { vocab, tokenizer } = this.model;
    this.logprob += steps.logprobs[i];
    this.ids.push(id);
    this.stopped = this.stops.includes(id);
    const code = vocab.codes[id];
    if (code >= 0 && this.codes) this.codes.push(code);
    else {
      yield* this.closePicture();
      if (id === vocab.boi) this.codes = [];
      else if (!this.stopped && id !== vocab.eoi) yield* this.text(tokenizer.token(id) === undefined ? "\ufffd" : this.words.push(id));
    }
  }

  private *text(text: string): Iterable<Piece> {
    if (text !== "") yield { kind: "text", branch: this.branch, text };
  }

  private *closePicture(): Iterable<Piece> {
    if (!this.codes) return;
    const { rows, columns } = this.grid;
    yield {
      kind: "picture",
      branch: this.branch,
      codes: Uint32Array.from(this.codes),
      columns,
      whole: this.codes.length === rows * columns,
    };
    this.codes = undefined;
  }

  *end(): Iterable<Piece> {
    yield* this.closePicture();
    yield* this.text(this.words.end());
    yield { kind: "end", branch: this.branch, ids: Uint32Array.from(this.ids), logprob: this.logprob, stopped: this.stopped };
  }
}

// A judge of edits: any endpoint that speaks OpenAI's chat completions gives two scores from 0 to 10, whether the asked change was made and whether nothing else
// changed; the lower one counts (the paper's appendix F; the wording here is our own, so scores compare with the paper's in kind, not in digits).
// Answers are cached by the content of everything that was sent; faults of the line are retried with back-off, faults of the answer get one repair.
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { blendOnWhite, type Picture, resizePicture } from "../tokenizer/pixels.ts";
import { isObject } from "../weights/source.ts";
import { writeText } from "./records.ts";
import { pngDataUrl } from "./sheets.ts";

export interface JudgeOptions {
  /** Up to and without /chat/completions, for example http://localhost:8000/v1. */
  readonly url: string;
  readonly model: string;
  /** Sent as a bearer token where given. */
  readonly key?: string;
  /** Folder of kept answers; none: nothing is kept. */
  readonly cache?: string;
  /** Most requests a minute. */
  readonly perMinute: number;
  /** How often a request that failed on the line is tried again. */
  readonly retries: number;
  readonly timeoutMs: number;
  /** First wait before trying again; it doubles each time. */
  readonly backoffMs: number;
  /** Pictures are scaled down until no side is longer. */
  readonly side: number;
}

export const defaultJudge = { perMinute: 60, retries: 5, timeoutMs: 60_000, backoffMs: 1000, side: 512 } as const;

/** One edit to be judged. */
export interface JudgedItem {
  readonly source: Picture;
  readonly edited: Picture;
  readonly instruction: string;
}

export interface Verdict {
  /** How far the change was made, 0 ... 10, and how far nothing else changed, 0 ... 10; the lower of the two counts. */
  readonly success: number;
  readonly minimal: number;
  readonly score: number;
  readonly reasoning: string;
}

/** The judge could not be asked; or, where `answered`, said something else twice, which concerns that one edit only. */
export class JudgeError extends WorldlineError {
  override name = "JudgeError";
  readonly answered: boolean;

  constructor(message: string, answered = false) {
    super(message);
    this.answered = answered;
  }
}

const system = `You grade edited pictures as a careful retoucher would. You see two pictures: first the original, then the result of an edit by an \
automatic system. They may be identical when the edit failed. Give two whole numbers from 0 to 10.
First, "change": 0 when what was asked for is not visible at all, 10 when it is carried out completely and believably.
Second, "rest": 0 when the result has nothing to do with the original any more, 10 when everything that was not asked to change is as it was.
Answer with one JSON object and nothing else: {"scores": [change, rest], "reason": "one short sentence"}`;

const question = (instruction: string) => `The edit that was asked for: ${instruction}`;
const repair =
  'That was not the form asked for. Answer again with nothing but the JSON object {"scores": [change, rest], "reason": "..."}.';

/** Reads an answer strictly: one JSON object, alone or in one code fence, with two whole scores from 0 to 10. Undefined where it is anything else. */
export function parseVerdict(text: string): Verdict | undefined {
  const inside = /^\s*(?:```(?:json)?\s*\n)?([\s\S]*?)(?:\n?\s*```)?\s*$/.exec(text)![1];
  let value: unknown;
  try {
    value = JSON.parse(inside);
  } catch {
    return undefined;
  }
  if (!isObject(value) || !Array.isArray(value.scores) || value.scores.length !== 2) return undefined;
  const [success, minimal] = value.scores as unknown[];
  const whole = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0 && (v as number) <= 10;
  if (!whole(success) || !whole(minimal)) return undefined;
  return { success, minimal, score: Math.min(success, minimal), reasoning: typeof value.reason === "string" ? value.reason : "" };
}

interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly unknown[];
}

export class Judge {
  private readonly options: JudgeOptions;
  private nextStart = 0;
  /** Requests sent, answers from the cache, and tokens as the endpoint counted them. */
  readonly used = { requests: 0, cached: 0, inputTokens: 0, outputTokens: 0 };

  constructor(options: JudgeOptions) {
    this.options = options;
    if (!/^https?:\/\//.test(options.url))
      throw new JudgeError(`judge: "${options.url}" is no address; give one such as http://localhost:8000/v1`);
  }

  /** Judges an edit. Throws JudgeError where the endpoint cannot be used or answers twice in another form. */
  async judge(item: JudgedItem, signal?: AbortSignal): Promise<Verdict> {
    const messages = this.messages(item);
    const path = this.options.cache && join(this.options.cache, `${hashOf([this.options.model, messages])}.json`);
    const kept = path && (await readVerdict(path));
    if (kept) {
      this.used.cached++;
      return kept;
    }
    const verdict = await this.ask(messages, signal);
    if (path) {
      await mkdir(this.options.cache!, { recursive: true });
      await writeText(path, `${JSON.stringify(verdict)}\n`);
    }
    return verdict;
  }

  private messages({ source, edited, instruction }: JudgedItem): Message[] {
    const shown = [source, edited].map((p) => ({ type: "image_url", image_url: { url: pngDataUrl(smaller(p, this.options.side)) } }));
    return [
      { role: "system", content: system },
      { role: "user", content: [...shown, { type: "text", text: question(instruction) }] },
    ];
  }

  private async ask(messages: readonly Message[], signal?: AbortSignal): Promise<Verdict> {
    const first = await this.complete(messages, signal);
    const verdict = parseVerdict(first);
    if (verdict) return verdict;
    const again = await this.complete([...messages, { role: "assistant", content: first }, { role: "user", content: repair }], signal);
    const repaired = parseVerdict(again);
    if (repaired) return repaired;
    throw new JudgeError(
      `judge: ${this.options.model} answered twice in another form than asked for: "${shortened(again)}"; try another model`,
      true,
    );
  }

  /** One completion's text; waits for its turn and tries again after faults of the line. */
  private async complete(messages: readonly Message[], signal?: AbortSignal): Promise<string> {
    const { retries, backoffMs } = this.options;
    for (let attempt = 0; ; attempt++) {
      await this.turn(signal);
      const reply = await this.send(messages, signal);
      if ("text" in reply) return reply.text;
      if (!reply.again || attempt >= retries)
        throw new JudgeError(`judge: ${this.options.url} ${reply.fault}${attempt ? ` after ${attempt + 1} tries` : ""}; ${reply.remedy}`);
      await pause(Math.max(reply.waitMs ?? 0, backoffMs * 2 ** attempt), signal);
    }
  }

  /** Waits until the rate allows the next request. */
  private async turn(signal?: AbortSignal): Promise<void> {
    const now = Date.now();
    const start = Math.max(now, this.nextStart);
    this.nextStart = start + 60_000 / this.options.perMinute;
    await pause(start - now, signal);
  }

  private async send(messages: readonly Message[], signal?: AbortSignal): Promise<Reply> {
    const { url, model, key, timeoutMs } = this.options;
    this.used.requests++;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await fetch(`${url.replace(/\/+$/, "")}/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify({ model, messages, temperature: 0, max_tokens: 512 }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      const body = await response.text();
      if (!response.ok) return refusal(response, body);
      return this.read(body);
    } catch (error) {
      signal?.throwIfAborted();
      const fault = timeout.aborted ? `did not answer within ${timeoutMs / 1000} s` : `cannot be reached (${reasonIn(error)})`;
      return { again: true, fault, remedy: "is the server up?" };
    }
  }

  private read(body: string): Reply {
    try {
      const json = JSON.parse(body) as {
        choices?: { message?: { content?: unknown; refusal?: unknown } }[];
        usage?: Record<string, number>;
      };
      const message = json.choices?.[0]?.message;
      // A message without words, such as a refusal, is an answer: it concerns this edit alone.
      const text = message && (message.content ?? message.refusal ?? "");
      if (typeof text === "string") {
        this.used.inputTokens += json.usage?.prompt_tokens ?? 0;
        this.used.outputTokens += json.usage?.completion_tokens ?? 0;
        return { text };
      }
    } catch {
      // Said below, as for JSON without an answer.
    }
    return {
      again: true,
      fault: `sent no chat completion ("${shortened(body)}")`,
      remedy: "is this the address of an OpenAI-compatible endpoint?",
    };
  }
}

type Reply =
  | { readonly text: string }
  | { readonly again: boolean; readonly fault: string; readonly remedy: string; readonly waitMs?: number };

function refusal(response: Response, body: string): Reply {
  const { status } = response;
  const seconds = Number(response.headers.get("retry-after"));
  const fault = `answered ${status}${body ? ` ("${shortened(body)}")` : ""}`;
  const again = status === 408 || status === 409 || status === 429 || status >= 500;
  const remedy = again
    ? "lower the rate or come back later"
    : status === 401 || status === 403
      ? "set the key (OPENAI_API_KEY)"
      : "check the model's name and the address";
  return { again, fault, remedy, ...(seconds > 0 && { waitMs: 1000 * Math.min(seconds, 120) }) };
}

async function readVerdict(path: string): Promise<Verdict | undefined> {
  try {
    const { success, minimal, reasoning } = JSON.parse(await readFile(path, "utf8")) as Verdict;
    return parseVerdict(JSON.stringify({ scores: [success, minimal], reason: reasoning }));
  } catch {
    return undefined;
  }
}

const hashOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 40);
const shortened = (text: string) => text.replace(/\s+/g, " ").trim().slice(0, 100);

function reasonIn(error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  return cause?.code ?? cause?.message ?? (error as Error).message;
}

function smaller(picture: Picture, side: number): Picture {
  const scale = side / Math.max(picture.width, picture.height);
  const plain = blendOnWhite(picture);
  if (scale >= 1) return plain;
  return resizePicture(plain, Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale)));
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  if (ms <= 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** What judging `count` edits may cost at most without repairs, from prices in dollars per million tokens. Pictures count as OpenAI's tiles of 512. */
export function judgeCost(count: number, side: number, price: { readonly input: number; readonly output: number }) {
  const tiles = Math.ceil(Math.min(side, 2048) / 512) ** 2;
  const input = count * (Math.ceil(system.length / 4) + 40 + 2 * (85 + 170 * tiles));
  const output = count * 80;
  return { input, output, dollars: (input * price.input + output * price.output) / 1e6 };
}

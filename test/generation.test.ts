// Text and pictures from a prompt through world/generation.ts and the commands: pieces in order, one picture where a picture is asked for, branches as separate
// runs, and that what encode writes decode reads.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { fileSource } from "../weights/file_source.ts";
import { openSafetensors } from "../weights/safetensors.ts";
import { type GenerationOptions, generate, type Piece, promptIds } from "../world/generation.ts";
import { loadModel } from "../world/model.ts";
import { encodePng, readPicture } from "../world/pictures.ts";
import { goldenJson, goldenPath } from "./goldens.ts";
import { scratchFolder } from "./tiny_model.ts";

const device = await openDevice();
const model = await loadModel(device, goldenPath("tiny-mha"));
const folder = scratchFolder();
const picture = { width: 40, height: 52, data: Uint8Array.from({ length: 40 * 52 * 3 }, (_, i) => (i * i) % 256) };
const greedy = { temperature: 0, seed: 0 };
const hot = { temperature: 1.5, seed: 4 };

async function pieces(prompt: Uint32Array, options: GenerationOptions): Promise<Piece[]> {
  const out: Piece[] = [];
  for await (const piece of generate(device, model, prompt, options)) out.push(piece);
  return out;
}

const textOf = (list: readonly Piece[]) => list.map((p) => (p.kind === "text" ? p.text : "")).join("");

test("a prompt's answer is the published implementation's, piece by piece", async () => {
  const { text, input_ids, new_ids, answer } = goldenJson<{
    text_only: { text: string; input_ids: number[]; new_ids: number[]; answer: string };
  }>("tiny-mha/expected/prompt.json").text_only;
  const prompt = await promptIds(model, text, []);
  assert.equal([...prompt], input_ids);
  const list = await pieces(prompt, { mode: "released", sampling: greedy, maxTokens: new_ids.length });
  assert.is(textOf(list), answer);
  assert.ok(list.length > 4, "the text came in one piece");
  const end = list[list.length - 1];
  assert.ok(end.kind === "end");
  assert.equal([...end.ids], new_ids);
});

test("pictures stand where the prompt says, or in front", async () => {
  const [front, placed, behind] = [
    await promptIds(model, "Describe", [picture]),
    await promptIds(model, "<image>Describe", [picture]),
    await promptIds(model, "Describe<image>", [picture], { plain: true }),
  ];
  assert.equal(front, placed);
  assert.is(front[1], model.vocab.boi);
  assert.is(front[front.length - 1], model.vocab.sep);
  assert.is(behind[behind.length - 1], model.vocab.eoi);
  const [{ codes }] = await model.pictures.encode([picture]);
  assert.equal(
    Uint32Array.from(front.subarray(2, 66), (id) => model.vocab.codes[id]),
    codes,
  );
});

test("drawing gives one whole picture, guided or not, of the asked grid", async () => {
  const prompt = await promptIds(model, "a house", [picture]);
  for (const sampling of [hot, { ...hot, guidance: { image: 1.2, full: 3 } }]) {
    for (const grid of [undefined, { rows: 3, columns: 5 }]) {
      const list = await pieces(prompt, { draw: true, sampling, grid });
      assert.equal(
        list.map((p) => p.kind),
        ["picture", "end"],
      );
      const [drawn, end] = list;
      assert.ok(drawn.kind === "picture" && end.kind === "end" && drawn.whole && end.stopped);
      assert.is(drawn.codes.length, grid ? 15 : 64);
      const [decoded] = await model.pictures.decode([drawn.codes], drawn.columns);
      assert.equal([decoded.width, decoded.height], grid ? [20, 12] : [32, 32]);
    }
  }
});

test("text and pictures take turns, and a branch equals a run of its own", async () => {
  const prompt = await promptIds(model, "draw", []);
  const options: GenerationOptions = { mode: "unrestricted", sampling: hot, maxTokens: 200, branches: 4 };
  const list = await pieces(prompt, options);
  const pictures = list.filter((p) => p.kind === "picture");
  assert.ok(pictures.length > 0 && pictures.every((p) => p.kind === "picture" && p.whole), "no picture or half a one was drawn");
  assert.ok(textOf(list).length > 10);
  const first = (l: readonly Piece[]) => l.filter((p) => p.branch === 0);
  const alone = await pieces(prompt, { ...options, branches: 1 });
  const ends = [first(list), alone].map((l) => l.find((p) => p.kind === "end"));
  assert.ok(ends[0]?.kind === "end" && ends[1]?.kind === "end");
  assert.equal(ends[0].ids, ends[1].ids);
  assert.is(textOf(first(list)), textOf(alone));
});

/** What a command prints to stdout. */
function worldline(...args: string[]): string {
  const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
  return execFileSync(process.execPath, ["--import", "tsx", main, ...args], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

test("the commands: encode and decode agree, generate draws and repeats itself, score ranks what was generated", async () => {
  const at = (name: string) => join(folder, name);
  const m = ["--model", goldenPath("tiny-mha")];
  writeFileSync(at("a.png"), encodePng(picture));
  worldline("encode", ...m, at("a.png"), "--out", at("codes.jsonl"), "--features", at("features.safetensors"));
  const line = JSON.parse(readFileSync(at("codes.jsonl"), "utf8")) as { codes: number[]; ids: number[]; columns: number };
  const [{ codes, features }] = await model.pictures.encode([picture]);
  assert.equal(line.codes, [...codes]);
  assert.equal(
    line.ids.map((id) => model.vocab.codes[id]),
    [...codes],
  );
  const file = await openSafetensors(await fileSource(at("features.safetensors")), "features");
  assert.equal(file.tensors.get(at("a.png"))?.shape, [8, 8, 16]);
  assert.equal(await file.read(at("a.png")), new Uint8Array(features.slice().buffer));
  await file.close();
  worldline("decode", ...m, at("codes.jsonl"), "--out", at("b.png"));
  assert.equal((await readPicture(at("b.png"))).data, (await model.pictures.decode([codes], 8))[0].data);

  const draw = () =>
    JSON.parse(
      worldline("generate", ...m, "--prompt", "a house", "--image", at("a.png"), "--out", at("c.png"), "--seed", "7", "--json"),
    ) as {
      continuations: { pictures: { codes: number[]; file: string }[]; logprob: number }[];
    };
  const [one, two] = [draw(), draw()];
  const [drawn] = one.continuations[0].pictures;
  assert.equal(two.continuations[0], one.continuations[0]);
  assert.is(drawn.codes.length, 64);
  assert.equal((await readPicture(at("c.png"))).data, (await model.pictures.decode([drawn.codes], 8))[0].data);

  const text = worldline("generate", ...m, "--prompt", "Describe the house.", "--temperature", "0", "--max-tokens", "6").trimEnd();
  const scores = worldline("score", ...m, "--prompt", "Describe the house.", "--text", text, "zebra zebra", "--json")
    .trim()
    .split("\n")
    .map((l) => JSON.parse(l) as { mean: number; text: string });
  assert.is(scores[0].text, text);
  assert.ok(scores[0].mean > scores[1].mean, JSON.stringify(scores));
});

test.run();

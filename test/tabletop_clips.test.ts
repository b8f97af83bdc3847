// Clips of the tabletop: rests, key frames, the frames between, and the files they are written to.
// Run: node --import tsx test/tabletop_clips.test.ts
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PNG } from "pngjs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import { findVideoWriter, writeClips } from "../world/tabletop/clip_files.ts";
import * as T from "../world/tabletop/index.ts";

const text = (kinds: ArrayLike<number>) => Array.from(kinds).join(" ");

for (const [name, world] of Object.entries({ default: T.defaultWorld, full: T.fullWorld })) {
  test(`${name}: clips rest on their key frames, move between them, and no two frames are equal`, () => {
    for (let seed = 0; seed < 6; seed++) {
      const { frames, rests, keys, scenes, actions, texts } = T.clip(world, seed);
      assert.ok(actions.length >= 3 && actions.length <= 6);
      assert.is(scenes.length, actions.length + 1);
      assert.is(rests.at(-1)![1], frames.length - 1);
      rests.forEach(([first, last], i) => {
        if (i > 0) assert.is(first - rests[i - 1][1], 7);
        assert.ok(keys[i] >= first && keys[i] <= last);
        for (let f = first; f <= last; f++)
          assert.is(text(T.parse(world, frames[f]).kinds), text(T.kindsOf(scenes[i])), `clip ${seed} frame ${f}`);
        if (i > 0) assert.ok(T.explains(world, texts[i - 1], scenes[i - 1], scenes[i]));
      });
      const still = difference(frames[rests[0][0]], frames[rests[0][1]]);
      const moved = difference(frames[rests[0][1]], frames[rests[1][0]]);
      assert.ok(still > 0 && still < 5 && moved > still, `still ${still}, moved ${moved}`);
      for (let f = 1; f < frames.length; f++) assert.ok(difference(frames[f - 1], frames[f]) > 0);
      assert.equal(T.clip(world, seed).frames.at(-1), frames.at(-1));
    }
  });
}

/** Mean absolute difference in steps of 1/255. */
function difference(a: T.Picture, b: T.Picture): number {
  return a.data.reduce((sum, v, i) => sum + Math.abs(v - b.data[i]), 0) / a.data.length;
}

test("in-between frames of a slide hold the object on its way, of a fade a mixture", () => {
  const world = T.makeWorld({ noise: 0, gainDrift: 0, gradientDrift: 0, gain: 0, gradient: 0 });
  const kinds = new Set<string>();
  for (let seed = 0; kinds.size < 2 && seed < 2000; seed++) {
    const { frames, rests, actions, scenes } = T.clip(world, seed, { actions: [1, 1] });
    const middle = Math.floor((rests[0][1] + rests[1][0]) / 2);
    const from = scenes[0].cells.findIndex((item) => item?.kind === actions[0].kind);
    const at = ((Math.floor(from / 3) * 16 + 8) * 48 + (from % 3) * 16 + 8) * 3;
    const shown = [...frames[middle].data.subarray(at, at + 3)];
    const start = [...frames[0].data.subarray(at, at + 3)];
    const end = [...frames.at(-1)!.data.subarray(at, at + 3)];
    const t = (middle - rests[0][1]) / 7;
    if (actions[0].op === "paint" && T.traits(world, actions[0].kind).shape > 0) {
      const mixed = shown.every((v, c) => Math.abs(v - (start[c] + (end[c] - start[c]) * t)) <= 2);
      assert.ok(mixed, `${start} ${shown} ${end}`);
      kinds.add("fade");
    }
    if (actions[0].op === "move" && T.traits(world, actions[0].kind).shape === 1) {
      const way = { left: -1, right: 1, up: -48, down: 48 }[actions[0].way];
      const on = [...frames[middle].data.subarray(at + way * Math.round(16 * t) * 3, at + way * Math.round(16 * t) * 3 + 3)];
      assert.ok(
        on.every((v, c) => Math.abs(v - start[c]) <= 1),
        `${on} at the middle of the way, ${start} at the start`,
      );
      kinds.add("slide");
    }
  }
  assert.is(kinds.size, 2, `seen only ${[...kinds]}`);
});

const folder = mkdtempSync(join(tmpdir(), "tabletop-"));
async function rejects(run: () => Promise<unknown>, message: RegExp): Promise<void> {
  const outcome = await run().then(
    () => "nothing was wrong",
    (error: Error) => error.message,
  );
  assert.match(outcome, message);
}
const options = { count: 2, seed: 5 };
const films = [0, 1].map((i) => T.clip(T.defaultWorld, new Rng(5, "tabletop clips").fork(i)));

test("clips as PNG folders hold every byte, and truth.jsonl tells what they show", async () => {
  const target = join(folder, "frames");
  const { truths, stored } = await writeClips(T.defaultWorld, target, { ...options, format: "frames" });
  assert.match(stored, /PNG frames \(as asked\)/);
  films.forEach((film, i) => {
    film.frames.forEach((frame, f) => {
      const png = PNG.sync.read(readFileSync(join(target, truths[i].clip, `${String(f).padStart(4, "0")}.png`)));
      assert.ok(frame.data.every((v, k) => v === png.data[Math.floor(k / 3) * 4 + (k % 3)]));
    });
  });
  const lines = readFileSync(join(target, "truth.jsonl"), "utf8").trimEnd().split("\n");
  assert.equal(
    lines.map((line) => JSON.parse(line)),
    JSON.parse(JSON.stringify(truths)),
  );
  assert.equal(truths[1].texts, films[1].texts);
  await rejects(() => writeClips(T.defaultWorld, target, options), /is not empty; give a new or empty folder/);
  await rejects(() => writeClips(T.defaultWorld, join(folder, "x"), { count: 0, seed: 1 }), /count is 0/);
});

test("clips as video decode to every byte", async () => {
  const writer = findVideoWriter();
  if (!writer) return console.log("skipped: no ffmpeg with a lossless encoder on this machine");
  const target = join(folder, "video");
  const { truths, stored } = await writeClips(T.defaultWorld, target, { ...options, format: "video" });
  console.log(stored);
  const decode = ["-loglevel", "error", "-i", join(target, truths[0].clip), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"];
  const raw = spawnSync(writer.ffmpeg, decode, { maxBuffer: 1 << 28 }).stdout;
  const wanted = Buffer.concat(films[0].frames.map((frame) => frame.data));
  assert.is(raw.length, wanted.length);
  if (writer.codec !== "libx264") assert.ok(raw.equals(wanted), "decoded frames are not the frames written");
});

test("an FFMPEG_PATH that does not run is an error and leaves nothing behind", async () => {
  const kept = process.env.FFMPEG_PATH;
  process.env.FFMPEG_PATH = join(folder, "no-such-program");
  try {
    await rejects(
      () => writeClips(T.defaultWorld, join(folder, "none"), options),
      /FFMPEG_PATH is ".*", which does not run as ffmpeg; correct it or unset it/,
    );
    assert.not.ok(existsSync(join(folder, "none")));
    assert.equal(
      readdirSync(folder).filter((name) => name.includes("tmp")),
      [],
    );
  } finally {
    if (kept === undefined) delete process.env.FFMPEG_PATH;
    else process.env.FFMPEG_PATH = kept;
  }
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();

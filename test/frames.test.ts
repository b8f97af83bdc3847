// Key frames of video files: the pairs written, resuming, failures, real clips and the command.
// Run: node --import tsx test/frames.test.ts
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { register } from "../cli/frames.ts";
import { uniqueNames } from "../world/frame_files.ts";
import * as F from "../world/frames.ts";
import { encodePng, readPicture } from "../world/pictures.ts";
import { readRecords } from "../world/records.ts";
import * as T from "../world/tabletop/index.ts";
import { listVideos } from "../world/video.ts";
import { bursts, decodeAll, encode, folder, hasFfmpeg, messageOf, shared, sharedTest, videoTest } from "./video_clips.ts";

test("in a clip of known moments of motion every chosen frame is within 2 frames of one", async () => {
  const moments = [15, 41, 70, 95];
  const frames = bursts(120, 48, moments);
  let path = join(folder, "bursts");
  if (hasFfmpeg) path = encode("bursts.mkv", Buffer.concat(frames), "48x48", "rgb24", 25);
  else {
    mkdirSync(path);
    for (const [i, data] of frames.entries()) writeFileSync(join(path, `f${i}.png`), encodePng({ width: 48, height: 48, data }));
  }
  const decoded = await decodeAll(path, { width: 48, height: 48, fit: "stretch" });
  assert.is(decoded.length, 120);
  const analysis = await F.analyseFrames(
    decoded.map((data) => ({ data })),
    { width: 48, height: 48 },
  );
  const { keys } = F.chooseKeyFrames(analysis, { count: 4 });
  assert.is(keys.length, 4);
  for (const [i, key] of keys.entries()) assert.ok(Math.abs(key - moments[i]) <= 2, `${keys} for ${moments}`);
  const out = join(folder, "bursts-out");
  const every = await F.extractKeyFrames([path], out, { count: 4, duplicates: 2 });
  assert.equal([every.keyFrames, every.pairs, every.dropped.duplicate], [4, 3, 0]);
  const pairs = await readRecords<F.KeyFramePair>(join(out, "pairs.jsonl"));
  assert.equal([...pairs.map((pair) => pair.frames[0]), pairs[2].frames[1]], keys);
  const alike = await F.extractKeyFrames([path], out, { count: 4, duplicates: 0.01 });
  assert.equal([alike.keyFrames, alike.pairs, alike.dropped.duplicate], [4, 0, 3]);
});

videoTest("the run over files: pairs, resuming, a video that fails, an abort", async () => {
  const source = join(folder, "source");
  mkdirSync(source);
  const films = [0, 1, 2].map((seed) => T.clip(T.defaultWorld, seed));
  for (const [i, film] of films.entries()) encode(`source/c${i}.mkv`, Buffer.concat(film.frames.map((f) => f.data)), "48x48", "rgb24", 12);
  writeFileSync(join(source, "broken.mp4"), "nothing");
  const videos = await listVideos([source]);
  assert.is(videos.length, 4);
  const out = join(folder, "out");
  const states: string[] = [];
  const options = { keyFrames: "rest", sheets: 1 } as const;
  const report = await F.extractKeyFrames(videos, out, options, {
    onProgress: ({ state, done, total }) => states.push(`${state} ${done}/${total}`),
  });
  const actions = films.reduce((sum, film) => sum + film.actions.length, 0);
  assert.equal([report.written, report.kept, report.failed.length, report.pairs], [3, 0, 1, actions]);
  assert.is(states.at(-1)!.slice(-3), "4/4");
  assert.match(report.failed[0].reason, /broken\.mp4: this is no video or it is damaged/);
  const pairs = await readRecords<F.KeyFramePair>(join(out, "pairs.jsonl"), ["video", "frames", "times"]);
  assert.is(pairs.length, actions);
  for (const { video, source: from, frames, times } of pairs) {
    const film = films[Number(video.slice(1))];
    const picture = await readPicture(from);
    assert.ok(Buffer.compare(picture.data, film.frames[frames[0]].data) === 0);
    assert.ok(film.keys.includes(frames[0]) && film.keys.includes(frames[1]) && times[1] === frames[1] / 12);
  }
  const text = readFileSync(join(out, "pairs.jsonl"), "utf8");
  assert.not.ok(text.includes(out), "paths are relative to the file");
  const again = await F.extractKeyFrames(videos, out, { ...options, sheets: 0 });
  assert.equal([again.written, again.kept, again.pairs], [0, 3, actions]);
  assert.is(readFileSync(join(out, "pairs.jsonl"), "utf8"), text);
  rmSync(join(out, "frames", "c1"), { recursive: true });
  const stop = new AbortController();
  stop.abort(new Error("stopped"));
  assert.is(
    await F.extractKeyFrames(videos, out, options, { signal: stop.signal }).then(String, (error: Error) => error.message),
    "stopped",
  );
  const resumed = await F.extractKeyFrames(videos, out, { ...options, sheets: 0 });
  assert.equal([resumed.written, resumed.kept], [1, 2]);
  const other = await F.extractKeyFrames(videos, out, { ...options, size: 24 });
  assert.equal([other.written, other.kept], [3, 0]);
  const scaled = await readRecords(join(out, "pairs.jsonl"));
  assert.equal([scaled.length, (await readPicture(scaled[0].source)).width], [actions, 24]);
  assert.equal(readdirSync(join(out, "frames")).sort(), ["c0", "c1", "c2"], "no temporary folder stays");
  assert.match(
    await messageOf(() => F.extractKeyFrames(videos, out, { count: 0 })),
    /key frames: count is 0; give a whole number from 1 on/,
  );
  assert.match(await messageOf(() => F.extractKeyFrames([], out)), /no video was given/);
  assert.match(await messageOf(() => F.extractKeyFrames(videos, join(source, "c0.mkv", "x"))), /the folder cannot be made/);
});

test("a folder of pictures is read anew when one of them was written over", async () => {
  const [film, out] = [join(folder, "pictures"), join(folder, "pictures-out")];
  mkdirSync(film);
  const write = (i: number, level: number) =>
    writeFileSync(join(film, `f${i}.png`), encodePng({ width: 48, height: 48, data: new Uint8Array(48 * 48 * 3).fill(level) }));
  for (let i = 0; i < 8; i++) write(i, 20 * i);
  const run = async () => (await F.extractKeyFrames([film], out, { keyFrames: "rest" })).written;
  assert.equal([await run(), await run()], [1, 0]);
  write(3, 255);
  const later = new Date(Date.now() + 5000);
  utimesSync(join(film, "f3.png"), later, later);
  assert.is(await run(), 1);
  F.allRead({ failed: [] } as unknown as F.FramesReport);
  assert.throws(
    () =>
      F.allRead({
        failed: [
          { video: "a", reason: "a.mkv: broken" },
          { video: "b", reason: "b" },
        ],
      } as unknown as F.FramesReport),
    /^a\.mkv: broken \(and 1 more\); make that video anew/,
  );
});

test("videos of one name get folders of their own, the same in every run", () => {
  const names = uniqueNames(["a/clip.mp4", "b/Clip.mkv", "b/other one.mov", "c/v1.5", "../x/..hid/q?.mp4"]);
  assert.equal(names.slice(2), ["other one", "v1.5", "q_"]);
  assert.match(names[0], /^clip-[0-9a-f]{8}$/);
  assert.match(names[1], /^Clip-[0-9a-f]{8}$/);
  assert.is.not(names[0].slice(5), names[1].slice(5));
  assert.equal(uniqueNames(["b/Clip.mkv", "a/clip.mp4"]), [names[1], names[0]]);
});

sharedTest("real clips: key frames keep their distance and pairs do not span a cut", async () => {
  const names = ["arm_wrestling.mp4", "flipping_a_pancake.mkv", "carphone.mp4"].map((name) => join(shared, name));
  const out = join(folder, "real");
  const report = await F.extractKeyFrames(names, out, { size: 128, square: "crop", sheets: 20 });
  assert.is(report.written, 3);
  const pairs = await readRecords<F.KeyFramePair>(join(out, "pairs.jsonl"));
  assert.ok(pairs.length >= 10 && pairs.every(({ frames: [a, b] }) => b - a >= 20));
  assert.not.ok(
    pairs.some(({ video, frames: [a, b] }) => video === "arm_wrestling" && a < 268 && b >= 268),
    "frame 268 opens a new picture",
  );
  const picture = await readPicture(pairs[0].target);
  assert.equal([picture.width, picture.height], [128, 128]);
  assert.equal(readdirSync(join(out, "sheets")).sort(), ["arm_wrestling.png", "carphone.png", "flipping_a_pancake.png"]);
});

videoTest("the command: exit codes, and flags that are wrong", async () => {
  const said: string[] = [];
  const writes = [process.stdout.write, process.stderr.write] as const;
  const kept = process.exitCode;
  const run = async (...args: string[]) => {
    said.length = 0;
    process.exitCode = 0;
    const program = new Command("worldline").exitOverride().configureOutput({ writeErr: (line) => void said.push(line) });
    register(program);
    program.commands[0].exitOverride().configureOutput({ writeErr: (line) => void said.push(line) });
    process.stdout.write = process.stderr.write = ((text: string) => said.push(text) > 0) as typeof process.stdout.write;
    try {
      await program.parseAsync(["frames", ...args], { from: "user" });
      return process.exitCode as number;
    } catch (error) {
      return (error as { exitCode?: number }).exitCode ?? 99;
    } finally {
      [process.stdout.write, process.stderr.write] = writes;
      process.exitCode = kept;
    }
  };
  const out = join(folder, "command");
  assert.is(await run(join(folder, "source"), "--out", out, "--key-frames", "rest", "--size", "native"), 0, said.join(""));
  assert.match(
    said.join(""),
    /left out: .*broken\.mp4.*damaged[\s\S]*frames: 4 of 4 videos[\s\S]*warning +1 of 4 videos could not be read/,
  );
  assert.ok(existsSync(join(out, "sheets", "c0.png")));
  assert.is(await run(join(folder, "source", "broken.mp4"), "--out", out), 1);
  assert.is(await run(join(folder, "gone.mp4"), "--out", out), 1);
  assert.is(await run(join(folder, "source"), "--out", out, "--count", "none"), 1);
  assert.match(said.join(""), /'--count <n>' argument 'none' is invalid. give a whole number from 1 on/);
  assert.is(await run(join(folder, "source"), "--out", out, "--size", "3"), 1);
  assert.match(said.join(""), /frames: key frames: size is 3; give 8 to 4096 pixels/);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();

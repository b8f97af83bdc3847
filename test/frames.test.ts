// Key frames: decoding (turned, coloured, damaged files), the choice of frames on curves and clips whose truth is known, and the run over files.
// Run: node --import tsx test/frames.test.ts
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { register } from "../cli/frames.ts";
import { Rng } from "../engine/rng.ts";
import * as F from "../world/frames.ts";
import { encodePng, readPicture } from "../world/pictures.ts";
import { readRecords } from "../world/records.ts";
import * as T from "../world/tabletop/index.ts";
import { type DecodeOptions, decodeFrames, listVideos, probeVideo, shownSize } from "../world/video.ts";

const shared = fileURLToPath(new URL("../../shared/data/videos/", import.meta.url));
const ffmpeg = process.env.FFMPEG_PATH || "ffmpeg";
const hasFfmpeg = spawnSync(ffmpeg, ["-version"]).status === 0;
const hasVideos = hasFfmpeg && existsSync(shared);
const folder = mkdtempSync(join(tmpdir(), "frames-"));

/** A test that needs ffmpeg, or ffmpeg and the videos beside the repository. */
function videoTest(name: string, run: () => Promise<void>, needed = hasFfmpeg, what = "ffmpeg is not on this machine"): void {
  test(name, async () => (needed ? run() : console.log(`skipped: ${name}: ${what}`)));
}
const sharedTest = (name: string, run: () => Promise<void>) =>
  videoTest(name, run, hasVideos, "../shared/data/videos or ffmpeg is missing");

/** Writes raw frames as a video, lossless. */
function encode(name: string, pixels: Uint8Array, size: string, format: string, rate: number, tags: readonly string[] = []): string {
  const path = join(folder, name);
  const input = ["-f", "rawvideo", "-pix_fmt", format, "-s", size, "-r", String(rate), ...tags, "-i", "pipe:0"];
  const run = spawnSync(ffmpeg, ["-v", "error", "-y", ...input, "-c:v", "ffv1", ...tags, path], { input: pixels });
  assert.is(run.status, 0, String(run.stderr));
  return path;
}

async function decodeAll(path: string, options: DecodeOptions): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for await (const { data, index } of decodeFrames(path, options)) {
    if (!options.only) assert.is(index, frames.length);
    frames.push(data);
  }
  return frames;
}

async function messageOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.match((error as Error).name, /^(Worldline|MissingProgram)Error$/, String((error as Error).stack));
    assert.not.match((error as Error).message, /\n/);
    return (error as Error).message;
  }
  throw new Error("no error was thrown");
}

test("motionPeaks takes the strongest frames that keep the distance, in order of time", () => {
  const curve = new Float64Array(100).fill(0.1);
  curve[0] = 0;
  for (const [i, v] of [
    [10, 5],
    [15, 9],
    [34, 8],
    [36, 8.5],
    [60, 3],
    [99, 7],
  ])
    curve[i] = v;
  assert.equal(F.motionPeaks(curve, { count: 4, spacing: 20 }), [15, 36, 60, 99]);
  assert.equal(F.motionPeaks(curve, { count: 3, spacing: 20 }), [15, 36, 99]);
  assert.equal(F.motionPeaks(curve, { count: 3, spacing: 2 }), [15, 34, 36]);
  assert.equal(F.motionPeaks(curve).length, 5, "spacing 20 leaves room for 5 of 6 here");
  assert.equal(F.motionPeaks(new Float64Array(50)), [], "what never moves has no moment of motion");
  assert.equal(F.motionPeaks([0, 2, 2, 2], { count: 1 }), [1], "the first of equals");
  assert.throws(() => F.motionPeaks(curve, { spacing: 0 }), /spacing is 0; give a whole number of frames from 1 on/);
});

test("restFrames finds the middle of still stretches under noise, at any speed of motion", () => {
  const rng = new Rng(3, "curve");
  for (const [floor, spread, move] of [
    [1.1, 0.02, 0.25],
    [1.1, 0.02, 40],
    [0, 0, 0.3],
    [0.3, 0.03, 2],
  ]) {
    const curve = [0];
    const middles: number[] = [];
    for (const rest of [4, 3, 6, 3, 5, 12]) {
      if (curve.length > 1) for (let k = 0; k < 7; k++) curve.push(floor + move * (1 + rng.uniform()));
      middles.push(Math.floor((2 * (curve.length - 1) + rest - 1) / 2));
      for (let k = 1; k < rest; k++) curve.push(Math.max(0, floor + spread * rng.normal()));
    }
    assert.equal(F.restFrames(curve), middles, `floor ${floor}, motion ${move}`);
  }
});

test("restFrames: all still is one rest, all lively is none, short stretches do not count", () => {
  const rng = new Rng(4, "curve");
  const noise = (level: number) => [0, ...Array.from({ length: 40 }, () => level * (1 + 0.03 * rng.normal()))];
  assert.equal(F.restFrames(noise(1)), [20]);
  assert.equal(F.restFrames(noise(20)), []);
  assert.equal(F.restFrames([0, 9, 0, 9, 0, 0, 9, 9]), [4]);
  assert.equal(F.restFrames([0, 9, 0, 9, 0, 0, 9, 9], { minRest: 2 }), [1, 4]);
  assert.equal(F.restFrames([0, 1, 1, 5, 5, 1, 1], { threshold: 1 }), [1, 5]);
  assert.equal(F.restFrames([0]), []);
  assert.throws(() => F.restFrames([0, 1], { minRest: 1 }), /minRest is 1; give a whole number of frames from 2 on/);
});

test("sceneCuts: one lone jump of the whole picture, not a burst and not an action", () => {
  const curve = new Float64Array(60).fill(2);
  curve[20] = 60;
  curve[40] = curve[41] = 55;
  curve[50] = 12;
  assert.equal(F.sceneCuts(curve), [20]);
});

test("small frames are block means blurred by (1 4 6 4 1)/16; differences and similarity have their values", () => {
  const dot = new Uint8Array(9 * 9 * 3);
  dot.fill(255, (4 * 9 + 4) * 3, (4 * 9 + 5) * 3);
  const { data, width } = F.smallFrame(dot, 9, 9);
  const weights = [1, 4, 6, 4, 1];
  for (let v = 0; v < 5; v++)
    for (let u = 0; u < 5; u++) assert.ok(Math.abs(data[((v + 2) * 9 + u + 2) * 3] - (255 * weights[u] * weights[v]) / 256) < 1e-4);
  assert.is(width, 9);
  const corner = F.smallFrame(
    Uint8Array.from({ length: 4 * 2 * 3 }, (_, i) => (i < 3 ? 160 : 0)),
    4,
    2,
  );
  assert.ok(Math.abs(corner.data[0] - 160 * (11 / 16) ** 2) < 1e-4, "the edge is repeated");
  const half = F.shrunkFrame(
    Uint8Array.from({ length: 5 * 3 * 3 }, (_, i) => (Math.floor(i / 3) % 5) * 10),
    5,
    3,
    3,
  );
  assert.equal([half.width, half.height], [3, 2]);
  assert.equal([...half.data.filter((_, i) => i % 3 === 0)], [5, 25, 40, 5, 25, 40]);
  const flat = (value: number) => ({ width: 8, height: 8, data: new Float32Array(192).fill(value) });
  const mixed = { ...flat(10), data: flat(10).data.map((v, i) => (i < 48 ? v + 8 : v)) };
  assert.is(F.meanDifference(flat(10), mixed), 2);
  assert.is(F.rootMeanSquare(flat(10), mixed), 4);
  assert.is(F.similarity(mixed, mixed), 1);
  assert.ok(Math.abs(F.similarity(flat(10), flat(200)) - (2 * 2000 + 6.5025) / (100 + 40000 + 6.5025)) < 1e-4);
  assert.ok(F.isBlack(new Uint8Array(300).fill(4)));
  assert.not.ok(F.isBlack(new Uint8Array(300).map((_, i) => (i < 30 ? 90 : 4))));
});

for (const [name, world] of Object.entries({ default: T.defaultWorld, full: T.fullWorld })) {
  test(`${name} tabletop: the rests of 50 clips are recovered, each once and none besides`, async () => {
    let [right, chosen, true_] = [0, 0, 0];
    for (let seed = 1000; seed < 1050; seed++) {
      const film = T.clip(world, seed);
      const analysis = await F.analyseFrames(film.frames, film.frames[0], F.rootMeanSquare);
      const { keys } = F.chooseKeyFrames(analysis, { keyFrames: "rest" });
      right += film.rests.filter(([first, last]) => keys.filter((key) => key >= first && key <= last).length === 1).length;
      chosen += keys.length;
      true_ += film.rests.length;
      const { pairs } = F.keyFramePairs("clip", keys, { rate: 12, file: String, ...analysis });
      assert.is(pairs.length, film.actions.length);
      for (const [i, { frames }] of pairs.entries())
        assert.ok(T.explains(world, film.texts[i], film.scenes[i], film.scenes[i + 1]) && frames[0] < frames[1]);
    }
    console.log(`${name}: precision ${right}/${chosen}, recall ${right}/${true_}`);
    assert.equal([right, chosen], [true_, true_]);
  });
}

/** Grey noise with a square that jumps about in bursts of `length` frames around the given moments. */
function bursts(count: number, side: number, moments: readonly number[]): Uint8Array[] {
  const rng = new Rng(8, "bursts");
  let place = 4;
  return Array.from({ length: count }, (_, f) => {
    const strength = Math.max(0, ...moments.map((m) => 3 - Math.abs(f - m)));
    place = (place + 3 * strength) % (side - 12);
    const data = new Uint8Array(side * side * 3).map(() => 120 + rng.int(5));
    for (let y = 10; y < 22; y++) for (let x = place; x < place + 12; x++) data.set([230, 40, 40], (y * side + x) * 3);
    return data;
  });
}

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
  const { keys } = F.chooseKeyFrames(
    await F.analyseFrames(
      frames.map((data) => ({ data })),
      { width: 48, height: 48 },
      F.meanDifference,
    ),
    { count: 4 },
  );
  assert.is(keys.length, 4);
  for (const [i, key] of keys.entries()) assert.ok(Math.abs(key - moments[i]) <= 2, `${keys} for ${moments}`);
  const report = await F.extractKeyFrames([path], join(folder, "bursts-out"), { count: 4 });
  assert.equal([report.keyFrames, report.pairs + report.dropped.duplicate], [4, 3]);
});

test("a folder of pictures, numbered without leading zeros, is a video", async () => {
  const path = join(folder, "counted");
  mkdirSync(path);
  for (let i = 0; i < 11; i++)
    writeFileSync(join(path, `${i}.png`), encodePng({ width: 6, height: 4, data: new Uint8Array(72).fill(i * 20) }));
  const info = await probeVideo(path);
  assert.equal([info.width, info.height, info.frames, info.codec], [6, 4, 11, "png"]);
  const frames = await decodeAll(path, { width: 6, height: 4, fit: "crop" });
  assert.equal(
    frames.map((data) => data[0]),
    Array.from({ length: 11 }, (_, i) => i * 20),
  );
  const [padded] = await decodeAll(path, { width: 6, height: 6, fit: "contain", only: [10] });
  assert.equal([padded[0], padded[18], padded[padded.length - 1]], [0, 200, 0]);
  assert.equal(await listVideos([folder]).then((found) => found.filter((name) => name.endsWith("counted"))), [path]);
});

test("black frames and cuts are never chosen, and no pair spans them", async () => {
  const [first, last] = [bursts(40, 24, [8, 30]), bursts(40, 24, [10, 30]).map((data) => data.map((v) => 255 - v))];
  const dark = Array.from({ length: 5 }, () => ({ data: new Uint8Array(24 * 24 * 3) }));
  const frames = [...first.map((data) => ({ data })), ...dark, ...first.map((data) => ({ data })), ...last.map((data) => ({ data }))];
  const analysis = await F.analyseFrames(frames, { width: 24, height: 24 }, F.meanDifference);
  assert.equal(analysis.black, [40, 41, 42, 43, 44]);
  assert.equal(
    analysis.cuts.filter((cut) => cut > 46),
    [85],
  );
  const { keys } = F.chooseKeyFrames(analysis, { count: 6, spacing: 15 });
  assert.ok(keys.length >= 5 && keys.every((key) => (key < 40 || key > 45) && key !== 85), String(keys));
  const { pairs, cut } = F.keyFramePairs("v", keys, { rate: 10, file: (n) => `${n}.png`, ...analysis });
  assert.is(cut, 2);
  assert.ok(pairs.every(({ frames: [a, b] }) => !(a < 40 && b > 44) && !(a < 85 && b >= 85)));
  assert.equal(pairs[0], {
    id: `v/${keys[0]}-${keys[1]}`,
    video: "v",
    source: `${keys[0]}.png`,
    target: `${keys[1]}.png`,
    frames: [keys[0], keys[1]],
    times: [keys[0] / 10, keys[1] / 10],
  });
});

videoTest("lossless video comes back byte for byte, at its own rate, and chosen frames are those of the whole", async () => {
  const film = T.clip(T.defaultWorld, 9);
  const path = encode("clip.mkv", Buffer.concat(film.frames.map((frame) => frame.data)), "48x48", "rgb24", 12);
  const info = await probeVideo(path);
  assert.equal([info.width, info.height, info.fps, info.frames, info.codec, info.rotation], [48, 48, 12, film.frames.length, "ffv1", 0]);
  const frames = await decodeAll(path, { width: 48, height: 48, fit: "stretch" });
  assert.is(frames.length, film.frames.length);
  frames.forEach((data, i) => assert.ok(Buffer.compare(data, film.frames[i].data) === 0, `frame ${i}`));
  const some = await decodeAll(path, { width: 48, height: 48, fit: "stretch", only: film.keys, info });
  assert.is(some.length, film.keys.length);
  some.forEach((data, i) => assert.ok(Buffer.compare(data, film.frames[film.keys[i]].data) === 0, `key ${i}`));
  const half = await decodeAll(path, { width: 48, height: 48, fit: "stretch", fps: 6 });
  assert.ok(Math.abs(half.length - film.frames.length / 2) <= 1);
});

videoTest("colours are right for both matrices and both ranges", async () => {
  const rgb = [200, 60, 90];
  const weights = { bt709: [0.2126, 0.0722], smpte170m: [0.299, 0.114] } as const;
  for (const space of ["bt709", "smpte170m"] as const)
    for (const range of ["tv", "pc"] as const) {
      const [kr, kb] = weights[space];
      const y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
      const chroma = [(rgb[2] - y) / (2 - 2 * kb), (rgb[0] - y) / (2 - 2 * kr)].map((v) => 128 + (range === "tv" ? (v * 224) / 255 : v));
      const planes = [range === "tv" ? 16 + (y * 219) / 255 : y, ...chroma].map((v) => new Uint8Array(64 * 64).fill(Math.round(v)));
      const tags = ["-color_range", range, "-colorspace", space, "-color_primaries", space, "-color_trc", space];
      const path = encode(`${space}-${range}.mkv`, Buffer.concat([...planes, ...planes]), "64x64", "yuv444p", 10, tags);
      for (const side of [64, 24]) {
        const [frame] = await decodeAll(path, { width: side, height: side, fit: "stretch" });
        const at = (side * (side >> 1) + (side >> 1)) * 3;
        for (const [c, value] of rgb.entries())
          assert.ok(Math.abs(frame[at + c] - value) <= 2, `${space} ${range}: ${frame.slice(at, at + 3)} for ${rgb}`);
      }
    }
});

videoTest("pixels that are not square are shown in the shape they stand for; contain and crop keep it", async () => {
  const path = encode("wide.mkv", new Uint8Array(20 * 40 * 3 * 4).fill(250), "20x40", "rgb24", 5, ["-aspect", "4:1"]);
  const info = await probeVideo(path);
  assert.equal(shownSize(info), { width: 160, height: 40 });
  const [contained] = await decodeAll(path, { width: 80, height: 80, fit: "contain" });
  assert.equal([contained[(29 * 80 + 40) * 3], contained[(31 * 80 + 40) * 3], contained[(51 * 80 + 40) * 3]], [0, 250, 0]);
  const [cropped] = await decodeAll(path, { width: 33, height: 31, fit: "crop" });
  assert.ok(cropped.every((v) => v === 250));
});

sharedTest("a turned clip comes out upright", async () => {
  const path = join(shared, "rotated_90.mov");
  const info = await probeVideo(path);
  assert.equal([info.width, info.height, info.rotation, info.frames, info.fps], [320, 568, 90, 3, 30]);
  const [upright] = await decodeAll(path, { width: 320, height: 568, fit: "stretch" });
  const args = ["-v", "error", "-noautorotate", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
  const stored = spawnSync(ffmpeg, args, { maxBuffer: 1 << 24 }).stdout;
  let sum = 0;
  for (let y = 0; y < 568; y++)
    for (let x = 0; x < 320; x++) sum += Math.abs(upright[(y * 320 + x) * 3 + 1] - stored[((319 - x) * 568 + y) * 3 + 1]);
  assert.ok(sum / (568 * 320) < 2, `mean difference from the stored picture turned clockwise: ${sum / (568 * 320)}`);
});

sharedTest("a damaged clip is one sentence with ffmpeg's last line", async () => {
  const message = await messageOf(() => decodeAll(join(shared, "corrupted.mp4"), { width: 64, height: 36, fit: "stretch" }));
  assert.match(message, /corrupted\.mp4: this is no video or it is damaged \(h264: .*NAL units.*\); check corrupted\.mp4 or leave it out$/);
});

videoTest("what is no video is one sentence", async () => {
  const text = join(folder, "text.mp4");
  writeFileSync(text, "no video\n");
  writeFileSync(join(folder, "empty.mp4"), "");
  mkdirSync(join(folder, "bare"));
  assert.match(await messageOf(() => probeVideo(join(folder, "gone.mp4"))), /gone\.mp4: there is no such file or folder; check the path/);
  assert.match(
    await messageOf(() => probeVideo(text)),
    /text\.mp4: this is no video or it is damaged \(Invalid data found when processing input\)/,
  );
  assert.match(await messageOf(() => probeVideo(join(folder, "empty.mp4"))), /the file is empty/);
  assert.match(await messageOf(() => probeVideo(join(folder, "bare"))), /this folder holds no pictures/);
  assert.match(await messageOf(() => listVideos([join(folder, "bare")])), /this folder holds no video and no picture/);
  const sound = join(folder, "sound.wav");
  assert.is(spawnSync(ffmpeg, ["-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=0.1", sound]).status, 0);
  assert.match(await messageOf(() => probeVideo(sound)), /the file holds no video stream/);
  assert.match(await messageOf(() => decodeAll(text, { width: 0, height: 4, fit: "crop" })), /width is 0; give a whole number of pixels/);
});

test("a missing ffmpeg is one sentence that says how to get it", async () => {
  const kept = { ...process.env };
  writeFileSync(join(folder, "some.mp4"), "x");
  try {
    process.env.FFPROBE_PATH = join(folder, "no-program");
    assert.match(
      await messageOf(() => probeVideo(join(folder, "some.mp4"))),
      /FFPROBE_PATH is ".*no-program", which does not start as ffprobe; correct it/,
    );
    delete process.env.FFPROBE_PATH;
    delete process.env.FFMPEG_PATH;
    process.env.PATH = folder;
    const message = await messageOf(() => F.extractKeyFrames([join(folder, "some.mp4")], join(folder, "never")));
    assert.match(message, /^ffprobe was not found, and videos cannot be read without it: install FFmpeg \(apt install ffmpeg/);
    assert.equal(readdirSync(join(folder, "never", "frames")), []);
  } finally {
    for (const name of ["FFPROBE_PATH", "FFMPEG_PATH", "PATH"])
      if (kept[name] === undefined) delete process.env[name];
      else process.env[name] = kept[name];
  }
});

const children = () => process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length;

videoTest("no child process stays after an early end or an abort", async () => {
  const path = join(folder, "long.mkv");
  assert.is(spawnSync(ffmpeg, ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=320x240:r=30:d=20", "-c:v", "mpeg4", path]).status, 0);
  const size = { width: 640, height: 480, fit: "stretch" } as const;
  const before = children();
  for await (const { index } of decodeFrames(path, size)) if (index === 3) break;
  assert.is(children(), before);
  const stop = new AbortController();
  let seen = 0;
  try {
    for await (const { index } of decodeFrames(path, { ...size, signal: stop.signal })) {
      seen = index;
      if (index === 5) stop.abort(new Error("enough"));
    }
    assert.unreachable("the abort must throw");
  } catch (error) {
    assert.is((error as Error).message, "enough");
  }
  assert.ok(seen < 30);
  assert.is(children(), before);
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
  await F.extractKeyFrames(videos, out, options, { signal: stop.signal }).then(assert.unreachable, (error: Error) =>
    assert.is(error.message, "stopped"),
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

sharedTest("real clips: key frames keep their distance, pairs do not span a cut, equal names do not collide", async () => {
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

// Decoding: sizes, rates, colours, turned and damaged files, and no process left behind.
// Run: node --import tsx test/video.test.ts
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as F from "../world/frames.ts";
import { encodePng } from "../world/pictures.ts";
import * as T from "../world/tabletop/index.ts";
import { decodeFrames, listVideos, probeVideo, shownSize } from "../world/video.ts";
import { decodeAll, encode, ffmpeg, folder, messageOf, shared, sharedTest, videoTest } from "./video_clips.ts";

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

videoTest("lossless video comes back byte for byte, at its own rate, and chosen frames are those of the whole", async () => {
  const film = T.clip(T.defaultWorld, 9);
  const path = encode("clip.mkv", Buffer.concat(film.frames.map((frame) => frame.data)), "48x48", "rgb24", 12);
  const info = await probeVideo(path);
  assert.equal([info.width, info.height, info.fps, info.frames, info.codec, info.rotation], [48, 48, 12, film.frames.length, "ffv1", 0]);
  const frames = await decodeAll(path, { width: 48, height: 48, fit: "stretch" });
  assert.is(frames.length, film.frames.length);
  for (const [i, data] of frames.entries()) assert.ok(Buffer.compare(data, film.frames[i].data) === 0, `frame ${i}`);
  const some = await decodeAll(path, { width: 48, height: 48, fit: "stretch", only: film.keys, info });
  assert.is(some.length, film.keys.length);
  for (const [i, data] of some.entries()) assert.ok(Buffer.compare(data, film.frames[film.keys[i]].data) === 0, `key ${i}`);
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
  const path = encode("wide.mkv", new Uint8Array(20 * 40 * 3 * 4).fill(250), "20x40", "rgb24", 5, [], ["-aspect", "4:1"]);
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

/** Child processes that live on: their handles go a moment after they have ended. */
async function children(): Promise<number> {
  const count = () => process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length;
  for (let wait = 0; wait < 100 && count() > 0; wait++) await new Promise((resolve) => setTimeout(resolve, 10));
  return count();
}

videoTest("no child process stays after an early end or an abort", async () => {
  const path = join(folder, "long.mkv");
  assert.is(spawnSync(ffmpeg, ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=320x240:r=30:d=20", "-c:v", "mpeg4", path]).status, 0);
  const size = { width: 640, height: 480, fit: "stretch" } as const;
  for await (const { index } of decodeFrames(path, size)) if (index === 3) break;
  assert.is(await children(), 0);
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
  assert.is(await children(), 0);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();

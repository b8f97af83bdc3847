// The choice of key frames on curves and frames whose truth is known.
// Run: node --import tsx test/motion.test.ts

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import * as F from "../world/frames.ts";
import { analyseFrames, chooseKeyFrames } from "../world/key_frames.ts";
import * as T from "../world/tabletop/index.ts";
import { bursts } from "./video_clips.ts";

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
  assert.equal(F.motionPeaks(curve).length, 4, "once these stand, no other frame is 20 away from all of them");
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

test("restFrames: motion too slow for single steps is seen over minRest - 1 frames", () => {
  const curve = [0, 1, 1, 1, 1.02, 1.02, 1.02, 1.02, 1.02, 1, 1, 1, 9, 9, 9, 1, 1];
  const wide = [0, 0, 1, 1, 1.02, 1.2, 1.2, 1.2, 1.2, 1.02, 1, 1, 9, 9, 9, 9, 1];
  assert.equal(F.restFrames(curve), [5, 15], "from step to step it looks still");
  assert.equal(F.restFrames(curve, { wide, threshold: 1.1 }), [2, 9, 15]);
  assert.equal(F.restFrames([0, 1, 1, 1], { wide: [0, 0, 0, 1], minRest: 4, threshold: 1 }), [1]);
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
      const analysis = await F.analyseFrames(film.frames, film.frames[0], { keyFrames: "rest" });
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

test("black frames and cuts are never chosen, and no pair spans them", async () => {
  const [first, last] = [bursts(40, 24, [8, 30]), bursts(40, 24, [10, 30]).map((data) => data.map((v) => 255 - v))];
  const dark = Array.from({ length: 5 }, () => ({ data: new Uint8Array(24 * 24 * 3) }));
  const frames = [...first.map((data) => ({ data })), ...dark, ...first.map((data) => ({ data })), ...last.map((data) => ({ data }))];
  const analysis = await F.analyseFrames(frames, { width: 24, height: 24 });
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

/** A square that moves one pixel a frame over grey, with noise in the frames named. */
function movingSquare(broken: readonly number[]): { data: Uint8Array }[] {
  return Array.from({ length: 40 }, (_, frame) => {
    const data = new Uint8Array(64 * 64 * 3).fill(90);
    for (let y = 20; y < 40; y++) data.fill(200, (y * 64 + frame) * 3, (y * 64 + frame + 20) * 3);
    if (broken.includes(frame)) for (let i = 0; i < data.length; i++) data[i] = (i * 7919 + (i >> 6) * 104729) % 256;
    return { data };
  });
}

test("a frame that a decoder broke is found, is no cut and is never a key frame; it can be left in", async () => {
  const size = { width: 64, height: 64 };
  const whole = await analyseFrames(movingSquare([]), size);
  assert.equal(whole.glitches, []);
  const broken = await analyseFrames(movingSquare([12, 25]), size);
  assert.equal(broken.glitches, [12, 25]);
  assert.equal(broken.cuts, []);
  const options = { count: 4, spacing: 5 };
  const { keys } = chooseKeyFrames(broken, options);
  assert.ok(keys.length > 0 && !keys.some((k) => [12, 13, 25, 26].includes(k)), keys.join());
  const kept = await analyseFrames(movingSquare([12, 25]), size, { keepGlitches: true });
  assert.equal(kept.glitches, []);
  assert.ok(chooseKeyFrames(kept, options).keys.some((k) => [12, 13, 25, 26].includes(k)));
  // A change that stays is none.
  const stays = movingSquare([]).map(({ data }, i) => ({ data: i < 20 ? data : data.map((v) => 255 - v) }));
  assert.equal((await analyseFrames(stays, size)).glitches, []);
});

test.run();

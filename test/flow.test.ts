// Optical flow: against the true motion and OpenCV's Farneback on twenty synthetic motions, and as the measure that chooses key frames.
// Run: node --import tsx test/flow.test.ts
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { opticalFlow } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { FlowMeter, flowMeasure } from "../world/flow_motion.ts";
import * as F from "../world/frames.ts";
import { type Flow, farneback } from "./farneback.ts";
import { flowErrors, type Motion, motions } from "./flow_motions.ts";

const device = await openDevice();
/** A grey picture as a frame. */
const frame = (grey: Float32Array, width: number) => ({
  width,
  height: width,
  data: Float32Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)]),
});

interface Row {
  readonly name: string;
  readonly ours: ReturnType<typeof flowErrors>;
  readonly theirs: ReturnType<typeof flowErrors>;
}

const mean = (rows: readonly Row[], of: (row: Row) => number) => rows.reduce((sum, row) => sum + of(row), 0) / rows.length;

/** The twenty motions by size: the large ones take seconds to make. */
const made = new Map<number, readonly Motion[]>();
const motionsOf = (size: number) => made.get(size) ?? made.set(size, motions(size)).get(size)!;

/** Ours beside the better of Farneback's settings on the twenty motions: no worse on any of them, and on average at most half its endpoint error. */
async function compare(size: number): Promise<void> {
  const meter = new FlowMeter(device);
  const measured: Row[] = [];
  for (const motion of motionsOf(size)) {
    const flow = await meter.flow(frame(motion.first, size), frame(motion.second, size));
    measured.push({ name: motion.name, ours: flowErrors(motion, flow), theirs: best(motion) });
  }
  await meter.destroy();
  const line = (name: string, a: Row["ours"], b: Row["ours"]) =>
    `${name.padEnd(24)} ${a.endpoint.toFixed(4)} px ${a.angular.toFixed(2).padStart(5)} deg   ${b.endpoint.toFixed(4)} px ${b.angular.toFixed(2).padStart(5)} deg`;
  console.log(`${`${size} x ${size}`.padEnd(24)} ours                 Farneback`);
  for (const row of measured) console.log(line(row.name, row.ours, row.theirs));
  // Farneback loses the coarse shift altogether; ours must be better without that one, too.
  for (const [share, rows] of [[0.5, measured] as const, [1, measured.filter((row) => row.theirs.endpoint < 2)] as const]) {
    const ours = { endpoint: mean(rows, (r) => r.ours.endpoint), angular: mean(rows, (r) => r.ours.angular) };
    const theirs = { endpoint: mean(rows, (r) => r.theirs.endpoint), angular: mean(rows, (r) => r.theirs.angular) };
    console.log(line(`mean of ${rows.length}`, ours, theirs));
    assert.ok(ours.endpoint <= share * theirs.endpoint, `endpoint error ${ours.endpoint} > ${share} x ${theirs.endpoint}`);
    assert.ok(ours.angular <= theirs.angular, `angular error ${ours.angular} > ${theirs.angular}`);
  }
  for (const { name, ours, theirs } of measured)
    assert.ok(ours.endpoint <= theirs.endpoint, `${name}: endpoint error ${ours.endpoint} > ${theirs.endpoint}`);
}

test("twenty motions of 160 x 160: endpoint error no worse than Farneback's on any, at most half on average", () => compare(160));

test("twenty motions of 512 x 512: the same", () => compare(512));

test("512 x 512: times in turns with Farneback are printed", async () => {
  const meter = new FlowMeter(device);
  const motion = motionsOf(512).find(({ name }) => name === "waves 4 high")!;
  const [a, b] = [motion.first, motion.second].map((grey) => frame(grey, 512));
  const [ours, theirs]: [number[], number[]] = [[], []];
  await meter.flow(a, b);
  for (let i = 0; i < 7; i++) {
    const begin = performance.now();
    await meter.flow(a, b);
    ours.push(performance.now() - begin);
    theirs.push(farneback(motion, documented).milliseconds);
  }
  await meter.destroy();
  const [own, other] = [ours, theirs].map((times) => times.sort((x, y) => x - y)[3]);
  console.log(`ours ${own.toFixed(0)} ms, Farneback ${other.toFixed(0)} ms: ${(other / own).toFixed(2)} times as fast (above 1 is faster)`);
});

/** Farneback's settings in OpenCV's documentation. */
const documented = { levels: 3, polyN: 5, polySigma: 1.2 };

/** The better of those settings and a deeper pyramid with its wider polynomials. */
function best(motion: Motion): Flow["errors"] {
  const runs = [documented, { levels: 5, polyN: 7, polySigma: 1.5 }].map((settings) => farneback(motion, settings).errors);
  return runs[0].endpoint <= runs[1].endpoint ? runs[0] : runs[1];
}

test("flow: sizes that do not fit are refused in a sentence; equal pictures have none; tiny ones work", async () => {
  const meter = new FlowMeter(device);
  const grey = new Float32Array(9 * 7 * 3).map((_, i) => (i * 37) % 200);
  const small = { width: 9, height: 7, data: grey };
  assert.ok((await meter.speed(small, small)) < 1e-3);
  assert.match(
    await meter.speed(small, { ...small, width: 7, height: 9 }).then(String, (e: Error) => e.message),
    /flow: frames of 9 x 7 and 7 x 9 cannot be compared; scale one first/,
  );
  await meter.destroy();
  const tape = new Tape(device);
  const [a, b] = [tape.input("a", [4, 5]), tape.input("b", [5, 4])];
  assert.throws(() => opticalFlow(a, b), /opticalFlow: .*both must be grey pictures \(height, width\) of one size/);
  assert.throws(() => opticalFlow(a, a, { iterations: 0.5 }), /iterations is 0.5; give a whole number from 1 on/);
  assert.throws(() => opticalFlow(a, a, { deviation: 0 }), /deviation is 0; give a number of cells above 0/);
});

/** A noisy clip in which a textured square moves for six frames around each moment, fastest in their middle, while the light flickers. */
function clip(moments: readonly number[], count: number): { data: Uint8Array }[] {
  const [width, height] = [96, 72];
  const rng = new Rng(11, "clip");
  const wall = Array.from({ length: 40 }, () => [rng.uniform(), rng.uniform(), rng.uniform()]);
  const look = (x: number, y: number) =>
    120 + 8 * wall.reduce((sum, [a, b, c]) => sum + Math.sin(x * (a - 0.5) + y * (b - 0.5) + 6.3 * c), 0);
  let place = 8;
  let direction = 1;
  return Array.from({ length: count }, (_, t) => {
    const near = Math.min(...moments.map((m) => Math.abs(t - m)));
    if (moments.includes(t - 4)) direction = -direction;
    place += direction * [6, 3, 1][near] || 0;
    const light = 3 * Math.sin(t / 3);
    const data = new Uint8Array(width * height * 3);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const on = x >= place && x < place + 30 && y >= 20 && y < 50;
        const value = (on ? look(x - place + 200, y + 90) : look(x, y)) + light + 2 * rng.normal();
        data.fill(Math.min(255, Math.max(0, value)), 3 * (y * width + x), 3 * (y * width + x) + 3);
      }
    return { data };
  });
}

test("every key frame chosen by flow lies within 2 frames of a true moment of motion", async () => {
  const moments = [25, 60, 95, 130, 165, 200];
  const { measure, destroy } = flowMeasure(device);
  const analysis = await F.analyseFrames(clip(moments, 225), { width: 96, height: 72 }, { measure });
  await destroy();
  const { keys } = F.chooseKeyFrames(analysis, { measure, count: 6, spacing: 20 });
  console.log(`true ${moments.join(" ")}; chosen ${keys.join(" ")}`);
  assert.is(keys.length, 6);
  for (const [i, key] of keys.entries()) assert.ok(Math.abs(key - moments[i]) <= 2, `frame ${key} is not near ${moments[i]}`);
  assert.is(measure.name, "flow");
});

test.run();

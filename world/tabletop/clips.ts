// Clips: some actions in a row filmed with the frames between. The table rests for a few frames, then an action takes a few more:
// what moves slides on a straight line, what changes, comes or goes cross-fades. Light and camera drift; every frame has its own noise.
import { WorldlineError } from "../../engine/errors.ts";
import type { Rng } from "../../engine/rng.ts";
import type { Action, Sampled } from "./actions.ts";
import { placesOf } from "./actions.ts";
import { develop, drawScene, driftView, type Picture, randomView, type Sprite, spriteAt, spritesOf, type View } from "./render.ts";
import { sampleSteps } from "./samples.ts";
import { type Item, randomScene, type Scene, type Tabletop, toRng } from "./world.ts";

/** A filmed clip with its truth. */
export type Clip = {
  readonly frames: readonly Picture[];
  /** First and last frame of every rest; rest i shows scenes[i]. */
  readonly rests: readonly (readonly [number, number])[];
  /** The true key frames: the middle frame of every rest. */
  readonly keys: readonly number[];
  readonly scenes: readonly Scene[];
  /** actions[i] and texts[i] lead from scenes[i] to scenes[i + 1]. */
  readonly actions: readonly Action[];
  readonly texts: readonly string[];
};

/** Least and most actions, least and most frames of a rest, frames between two rests. */
export type ClipOptions = {
  readonly actions?: readonly [number, number];
  readonly hold?: readonly [number, number];
  readonly between?: number;
};

/** A random clip: 3 to 6 actions, rests of 3 to 6 frames, 6 frames between unless told otherwise. */
export function clip(world: Tabletop, seed: number | Rng, options: ClipOptions = {}): Clip {
  const { actions = [3, 6], hold = [3, 6], between = 6 } = options;
  for (const [name, [low, high]] of Object.entries({ actions, hold, between: [between, between] as const }))
    if (!Number.isInteger(low) || !Number.isInteger(high) || low < (name === "between" ? 0 : 1) || high < low)
      throw new WorldlineError(`tabletop: clip ${name} is ${low} to ${high}; give whole numbers, the least first`);
  const rng = toRng(seed, "tabletop clip");
  const steps = actions[0] + rng.int(actions[1] - actions[0] + 1);
  const start = randomScene(world, rng);
  const taken = sampleSteps(world, start, rng, steps);
  if (!taken) throw new WorldlineError(`tabletop: no ${steps} actions in a row are possible; give the world more cells or fewer objects`);
  return film(world, start, taken, rng, hold, between);
}

function film(world: Tabletop, start: Scene, taken: readonly Sampled[], rng: Rng, hold: readonly [number, number], between: number): Clip {
  const scenes = [start, ...taken.map((step) => step.after)];
  const frames: Picture[] = [];
  const rests: [number, number][] = [];
  let view = randomView(world, rng);
  for (const [i, scene] of scenes.entries()) {
    const first = frames.length;
    const still = drawScene(world, spritesOf(world, scene), scene.clutter, view.shift);
    for (let k = hold[0] + rng.int(hold[1] - hold[0] + 1); k > 0; k--) frames.push(develop(world, still, { ...view, noise: rng.u32() }));
    rests.push([first, frames.length - 1]);
    if (i === taken.length) break;
    const next = driftView(world, view, rng);
    for (let k = 1; k <= between; k++) {
      const t = k / (between + 1);
      const now = mixViews(view, next, t, rng.u32());
      frames.push(develop(world, drawBetween(world, scene, taken[i], t, now.shift), now));
    }
    view = next;
  }
  const keys = rests.map(([first, last]) => Math.floor((first + last) / 2));
  return { frames, rests, keys, scenes, actions: taken.map((step) => step.action), texts: taken.map((step) => step.text) };
}

const mix = (a: number, b: number, t: number) => a + (b - a) * t;

function mixViews(a: View, b: View, t: number, noise: number): View {
  const both = (p: readonly [number, number], q: readonly [number, number]) => [mix(p[0], q[0], t), mix(p[1], q[1], t)] as const;
  return { gain: mix(a.gain, b.gain, t), slope: both(a.slope, b.slope), shift: both(a.shift, b.shift), noise };
}

/** The drawing at share t of the way from a scene to the outcome of an action. */
export function drawBetween(world: Tabletop, before: Scene, step: Sampled, t: number, shift: readonly [number, number]): Float32Array {
  const { action, after } = step;
  if (action.op === "move" || action.op === "put" || action.op === "swap") {
    const { from, goal } = placesOf(world, before, action)!;
    const slides = [slide(world, before.cells[from[0]], from[0], after.cells[goal], goal, t)];
    if (action.op === "swap") slides.push(slide(world, before.cells[goal], goal, after.cells[from[0]], from[0], t));
    const resting = { ...before, cells: before.cells.map((item, cell) => (cell === from[0] || cell === goal ? null : item)) };
    return drawScene(world, [...spritesOf(world, resting), ...slides], before.clutter, shift);
  }
  const canvas = drawScene(world, spritesOf(world, before), before.clutter, shift);
  const end = drawScene(world, spritesOf(world, after), after.clutter, shift);
  for (let i = 0; i < canvas.length; i++) canvas[i] = mix(canvas[i], end[i], t);
  return canvas;
}

function slide(world: Tabletop, item: Item | null, cell: number, moved: Item | null, goal: number, t: number): Sprite {
  const a = spriteAt(world, item!, cell);
  const b = spriteAt(world, moved!, goal);
  return { kind: a.kind, x: mix(a.x, b.x, t), y: mix(a.y, b.y, t) };
}

// The exact judge of the tabletop. Reading a picture: every cell against every template (kind at every jitter and camera offset) and the
// bare table, each under its best gain g: |p - g t|^2 with t = table + m (colour - table), so one sum over a mask serves all colours.
// Judging: an action's outcome cell by cell, "done" (the asked change is there) and "minimal" (nothing else changed).
import { WorldlineError } from "../../engine/errors.ts";
import { type Action, type Places, parseAction, placesOf } from "./actions.ts";
import { type Picture, pictureSide, placeMask } from "./render.ts";
import { EMPTY, kindOf, kindsOf, type Rgb, type Scene, type Tabletop, UNKNOWN } from "./world.ts";

/** What the oracle reads in a picture. */
export type Parsed = {
  /** Kind number, EMPTY or UNKNOWN per cell. */
  readonly kinds: Int16Array;
  /** Root mean square difference from the best template per cell, of 1. */
  readonly residual: Float32Array;
  /** Camera offset in pixels that fits the whole picture best. */
  readonly shift: readonly [number, number];
};

/** The judgement of one outcome; success = done and minimal. */
export type Verdict = { readonly done: boolean; readonly minimal: boolean; readonly success: boolean };

type Template = {
  readonly size: number;
  readonly shape: number;
  readonly index: Uint16Array;
  readonly weight: Float64Array;
  readonly sum: number;
  readonly squares: number;
};
type Colour = { readonly rgb: Rgb; readonly tableDot: number; readonly square: number };
type Templates = {
  readonly shifts: readonly (readonly [number, number])[];
  readonly byShift: readonly (readonly Template[])[];
  readonly colours: readonly Colour[];
  /** |t|^2 of the bare table, and the squared difference from it below which a cell is surely bare. */
  readonly bare: number;
  readonly sureBare: number;
};

const GAIN_REACH = 0.05;
const cache = new WeakMap<Tabletop, Templates>();
const dot = (a: Rgb, b: Rgb) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function offsets(step: number): number[] {
  return step === 0 ? [0] : [0, -step, step];
}

function templatesOf(world: Tabletop): Templates {
  let templates = cache.get(world);
  if (!templates) cache.set(world, (templates = makeTemplates(world)));
  return templates;
}

function makeTemplates(world: Tabletop): Templates {
  const shifts = offsets(world.shift).flatMap((dy) => offsets(world.shift).map((dx) => [dx, dy] as const));
  const byShift = shifts.map(([sx, sy]) =>
    world.sizes.flatMap((_, size) =>
      world.shapes.flatMap((_, shape) =>
        offsets(world.jitter).flatMap((jy) => offsets(world.jitter).map((jx) => makeTemplate(world, size, shape, sx + jx, sy + jy))),
      ),
    ),
  );
  const colours = world.colours.map(({ rgb }) => {
    const d: Rgb = [rgb[0] - world.table[0], rgb[1] - world.table[1], rgb[2] - world.table[2]];
    return { rgb: d, tableDot: dot(d, world.table), square: dot(d, d) };
  });
  const nearest = Math.min(...byShift.flat().map((t) => t.squares)) * Math.min(...colours.map((c) => c.square));
  // By the triangle inequality half the distance to the nearest template would do; a quarter leaves room for the gain.
  return { shifts, byShift, colours, bare: world.cell ** 2 * dot(world.table, world.table), sureBare: nearest / 16 };
}

function makeTemplate(world: Tabletop, size: number, shape: number, dx: number, dy: number): Template {
  const { cell } = world;
  const { mask, left, top } = placeMask(world.shapes[shape], world.sizes[size].radius * cell, cell / 2 + dx, cell / 2 + dy);
  const index: number[] = [];
  const weight: number[] = [];
  for (let y = 0; y < cell; y++)
    for (let x = 0; x < cell; x++) {
      const i = x - left;
      const j = y - top;
      const m = i >= 0 && j >= 0 && i < mask.side && j < mask.side ? mask.cover[j * mask.side + i] : 0;
      if (m > 0) {
        index.push((y * cell + x) * 3);
        weight.push(m);
      }
    }
  const sum = weight.reduce((a, w) => a + w, 0);
  const squares = weight.reduce((a, w) => a + w * w, 0);
  return { size, shape, index: Uint16Array.from(index), weight: Float64Array.from(weight), sum, squares };
}

/** min over the gain of |p - g t|^2 from |p|^2, p.t and |t|^2. */
function misfit(pp: number, pt: number, tt: number): number {
  const g = Math.min(1 + GAIN_REACH, Math.max(1 - GAIN_REACH, pt / tt));
  return Math.max(0, pp - 2 * g * pt + g * g * tt);
}

/** Reads a picture of this world. Throws a WorldlineError when the picture's size is not the world's. */
export function parse(world: Tabletop, picture: Picture): Parsed {
  const side = pictureSide(world);
  if (picture.width !== side || picture.height !== side || picture.data.length !== side * side * 3)
    throw new WorldlineError(
      `tabletop: the picture is ${picture.width} x ${picture.height} with ${picture.data.length} bytes; this world needs ${side} x ${side} RGB`,
    );
  const t = templatesOf(world);
  const cells = world.grid ** 2;
  const best = new Float64Array(t.shifts.length * cells);
  const kind = new Int16Array(t.shifts.length * cells).fill(EMPTY);
  const pixels = new Float64Array(world.cell ** 2 * 3);
  for (let cell = 0; cell < cells; cell++) matchCell(world, t, gather(world, picture, cell, pixels), cell, best, kind);
  const total = t.shifts.map((_, s) => best.subarray(s * cells, (s + 1) * cells).reduce((a, b) => a + b, 0));
  const s = total.indexOf(Math.min(...total));
  const residual = Float32Array.from(best.subarray(s * cells, (s + 1) * cells), (r) => Math.sqrt(r / pixels.length));
  const kinds = kind.slice(s * cells, (s + 1) * cells).map((k, i) => (residual[i] > world.unknown ? UNKNOWN : k));
  return { kinds, residual, shift: t.shifts[s] };
}

function gather(world: Tabletop, picture: Picture, cell: number, into: Float64Array): Float64Array {
  const top = Math.floor(cell / world.grid) * world.cell;
  const left = (cell % world.grid) * world.cell;
  const row = world.cell * 3;
  for (let y = 0; y < world.cell; y++) {
    const start = ((top + y) * picture.width + left) * 3;
    for (let i = 0; i < row; i++) into[y * row + i] = picture.data[start + i] / 255;
  }
  return into;
}

/** Best misfit and kind of one cell for every camera offset, written to best[s * cells + cell] and kind[...]. */
function matchCell(world: Tabletop, t: Templates, p: Float64Array, cell: number, best: Float64Array, kind: Int16Array): void {
  let pp = 0;
  let tableDot = 0;
  const [tr, tg, tb] = world.table;
  for (let i = 0; i < p.length; i += 3) {
    pp += p[i] * p[i] + p[i + 1] * p[i + 1] + p[i + 2] * p[i + 2];
    tableDot += tr * p[i] + tg * p[i + 1] + tb * p[i + 2];
  }
  const bare = misfit(pp, tableDot, t.bare);
  for (let s = 0, at = cell; s < t.shifts.length; s++, at += world.grid ** 2) {
    best[at] = bare;
    if (bare < t.sureBare) continue;
    for (const template of t.byShift[s]) {
      const { index, weight } = template;
      let r = 0;
      let g = 0;
      let b = 0;
      for (let i = 0; i < index.length; i++) {
        const w = weight[i];
        const k = index[i];
        r += w * p[k];
        g += w * p[k + 1];
        b += w * p[k + 2];
      }
      for (let c = 0; c < t.colours.length; c++) {
        const colour = t.colours[c];
        const pt = tableDot + r * colour.rgb[0] + g * colour.rgb[1] + b * colour.rgb[2];
        const rest = misfit(pp, pt, t.bare + 2 * template.sum * colour.tableDot + template.squares * colour.square);
        if (rest < best[at]) {
          best[at] = rest;
          kind[at] = kindOf(world, template.size, c, template.shape);
        }
      }
    }
  }
}

const NO: Verdict = { done: false, minimal: false, success: false };

/**
 * Judges an outcome. `before` is the true source scene, `after` the kind per cell of the outcome (`parse(...).kinds` or `kindsOf(scene)`).
 * An action that is undefined or not legal in `before` is judged (no, no). UNKNOWN cells equal nothing.
 * Minimal: cells outside the action's own keep their content; a cell the object left holds nothing else; add and count may use any
 * empty cells, but members of a group that can stay do stay.
 */
export function judge(world: Tabletop, action: Action | undefined, before: Scene, after: ArrayLike<number>): Verdict {
  if (after.length !== before.cells.length)
    throw new WorldlineError(
      `tabletop: the outcome has ${after.length} cells, the source scene ${before.cells.length}; give one kind per cell`,
    );
  const places = action && placesOf(world, before, action);
  if (!action || !places) return NO;
  const done = isDone(action, places, after);
  const minimal = isMinimal(action, places, kindsOf(before), after);
  return { done, minimal, success: done && minimal };
}

function countOf(kinds: ArrayLike<number>, kind: number): number {
  let n = 0;
  for (let i = 0; i < kinds.length; i++) if (kinds[i] === kind) n++;
  return n;
}

function isDone(action: Action, { from, goal }: Places, after: ArrayLike<number>): boolean {
  switch (action.op) {
    case "paint":
    case "turn":
    case "resize":
      return after[goal] === action.to;
    case "remove":
      return countOf(after, action.kind) === 0;
    case "add":
      return countOf(after, action.kind) === 1;
    case "move":
    case "put":
      return after[goal] === action.kind && after[from[0]] !== action.kind;
    case "swap":
      return after[goal] === action.kind && after[from[0]] === action.other;
    case "count":
      return countOf(after, action.kind) === action.n;
  }
}

function isMinimal(action: Action, { from, goal }: Places, before: Int16Array, after: ArrayLike<number>): boolean {
  const growing = action.op === "add" || (action.op === "count" && action.n > from.length);
  const leaving = action.op === "remove" || action.op === "move" || action.op === "put" || (action.op === "count" && !growing);
  for (let cell = 0; cell < before.length; cell++) {
    if (after[cell] === before[cell] || cell === goal) continue;
    if (growing && before[cell] === EMPTY && after[cell] === action.kind) continue;
    if (leaving && from.includes(cell) && after[cell] === EMPTY) continue;
    if (action.op === "swap" && cell === from[0]) continue;
    return false;
  }
  return true;
}

/** Whether a sentence is legal in `before`, true and minimal for the pair: what makes a predicted action valid, in any family. */
export function explains(world: Tabletop, text: string, before: Scene, after: Scene): boolean {
  return judge(world, parseAction(world, text), before, kindsOf(after)).success;
}

// The tabletop world: a square table of cells, each empty or holding one object; an object's kind is its size, colour and shape.
// Everything follows from one `Tabletop` value; `defaultWorld` has 3 x 3 cells and 12 kinds, `fullWorld` 4 x 4 cells, 30 kinds,
// clutter and camera shift. All chance comes from an `Rng`, so a seed gives the same scenes everywhere.
import { WorldlineError } from "../../engine/errors.ts";
import { Rng } from "../../engine/rng.ts";

/** Red, green, blue in 0 ... 1. */
export type Rgb = readonly [number, number, number];

/** The settings of a world. Plain data: it survives JSON. */
export type Tabletop = {
  /** Cells on a side. */
  readonly grid: number;
  /** Pixels on the side of a cell. */
  readonly cell: number;
  /** Colour of the bare table. */
  readonly table: Rgb;
  readonly colours: readonly { readonly name: string; readonly rgb: Rgb }[];
  /** Names out of `shapeNames`. */
  readonly shapes: readonly ShapeName[];
  /** Radius as a share of the cell. With a single size its name is not spoken. */
  readonly sizes: readonly { readonly name: string; readonly radius: number }[];
  /** Least and most kinds on a fresh table. */
  readonly startKinds: readonly [number, number];
  /** Share of fresh tables on which one kind forms a group of 1 to maxCount. */
  readonly groupShare: number;
  /** Largest group, at most 9. */
  readonly maxCount: number;
  /** Most objects that actions may bring onto the table. */
  readonly maxObjects: number;
  /** Each object rests off its cell's centre by -jitter, 0 or +jitter pixels on each axis. */
  readonly jitter: number;
  /** Light: gain uniform in 1 +- gain, slope across the picture uniform in +- gradient on each axis. */
  readonly gain: number;
  readonly gradient: number;
  /** Deviation of the change of gain and slope between two frames. */
  readonly gainDrift: number;
  readonly gradientDrift: number;
  /** Deviation of the pixel noise, of 1. */
  readonly noise: number;
  /** Most small marks on the bare table; they stay where they are. */
  readonly clutter: number;
  /** The camera stands off by -shift, 0 or +shift pixels on each axis and moves at most one step between two frames. */
  readonly shift: number;
  /** The oracle calls a cell unknown when it differs from every template by more than this (root mean square, of 1). */
  readonly unknown: number;
};

/** Inside test of every known shape, in units of the radius, y down. */
const SHAPES = {
  ring: (x: number, y: number) => x * x + y * y >= 0.42 && x * x + y * y <= 1.1,
  square: (x: number, y: number) => Math.abs(x) <= 0.95 && Math.abs(y) <= 0.95,
  triangle: (x: number, y: number) => y <= 0.8 && y >= -1 + 1.84 * Math.abs(x),
  cross: (x: number, y: number) => Math.min(Math.abs(x), Math.abs(y)) <= 0.32 && Math.max(Math.abs(x), Math.abs(y)) <= 1,
  disc: (x: number, y: number) => x * x + y * y <= 1,
};
export type ShapeName = keyof typeof SHAPES;
export const shapeNames = Object.keys(SHAPES) as ShapeName[];

/** The inside test of a shape: (x, y) in units of the radius from the centre, y down. */
export function shapeTest(name: ShapeName): (x: number, y: number) => boolean {
  return SHAPES[name];
}

/** 3 x 3 cells, 48 x 48 pixels, 4 colours x 3 shapes. */
export const defaultWorld: Tabletop = {
  grid: 3,
  cell: 16,
  table: [0.8, 0.74, 0.66],
  colours: [
    { name: "red", rgb: [0.86, 0.16, 0.16] },
    { name: "green", rgb: [0.15, 0.66, 0.25] },
    { name: "blue", rgb: [0.18, 0.32, 0.86] },
    { name: "yellow", rgb: [0.95, 0.82, 0.15] },
  ],
  shapes: ["ring", "square", "triangle"],
  sizes: [{ name: "large", radius: 5 / 12 }],
  startKinds: [2, 4],
  groupShare: 0.3,
  maxCount: 3,
  maxObjects: 6,
  jitter: 0.4,
  gain: 0.03,
  gradient: 0.02,
  gainDrift: 0.006,
  gradientDrift: 0.004,
  noise: 0.01,
  clutter: 0,
  shift: 0,
  unknown: 0.12,
};

/** 4 x 4 cells, 64 x 64 pixels, 2 sizes x 5 colours x 3 shapes, clutter and a camera that shifts by half a pixel. */
export const fullWorld: Tabletop = makeWorld({
  grid: 4,
  colours: [...defaultWorld.colours, { name: "purple", rgb: [0.55, 0.18, 0.66] }],
  sizes: [
    { name: "large", radius: 5 / 12 },
    { name: "small", radius: 0.28 },
  ],
  startKinds: [3, 6],
  maxObjects: 9,
  clutter: 6,
  shift: 0.5,
});

/** The default world with some settings changed, checked. */
export function makeWorld(changes: Partial<Tabletop>): Tabletop {
  for (const key of Object.keys(changes))
    if (!(key in defaultWorld))
      throw new WorldlineError(`tabletop: unknown setting "${key}"; the settings are ${Object.keys(defaultWorld).join(", ")}`);
  const world = { ...defaultWorld, ...changes };
  checkWorld(world);
  return world;
}

/** Throws a WorldlineError that names the first setting which cannot work. */
export function checkWorld(world: Tabletop): void {
  const need = (ok: boolean, what: string) => {
    if (!ok) throw new WorldlineError(`tabletop: ${what}`);
  };
  const whole = (key: "grid" | "cell" | "maxCount" | "maxObjects" | "clutter", low: number, high: number) =>
    need(
      Number.isInteger(world[key]) && world[key] >= low && world[key] <= high,
      `${key} is ${world[key]}; give a whole number from ${low} to ${high}`,
    );
  whole("grid", 2, 16);
  whole("cell", 8, 128);
  const cells = world.grid ** 2;
  whole("maxCount", 1, Math.min(9, cells));
  whole("maxObjects", 2, cells);
  whole("clutter", 0, 1000);
  for (const key of ["jitter", "gain", "gradient", "gainDrift", "gradientDrift", "noise", "shift", "unknown", "groupShare"] as const)
    need(Number.isFinite(world[key]) && world[key] >= 0, `${key} is ${world[key]}; give a number of at least 0`);
  for (const shape of world.shapes) need(shapeNames.includes(shape), `unknown shape "${shape}"; the shapes are ${shapeNames.join(", ")}`);
  for (const list of ["colours", "shapes", "sizes"] as const) {
    const names = world[list].map((entry) => (typeof entry === "string" ? entry : entry.name));
    need(names.length > 0 && new Set(names).size === names.length, `${list} are [${names}]; give at least one, each name once`);
    need(
      names.every((name) => /^[a-z]+$/.test(name)),
      `${list} are [${names}]; a name is one word in lower case`,
    );
  }
  for (const { name, radius } of world.sizes) {
    const reach = 1.05 * radius * world.cell + world.jitter + world.shift;
    need(
      radius > 0 && reach <= world.cell / 2,
      `size "${name}" reaches ${reach.toFixed(2)} px from a cell's centre; keep it within ${world.cell / 2} px`,
    );
  }
  const [least, most] = world.startKinds;
  need(least >= 1 && most >= least && most <= kindCount(world), `startKinds are ${least} to ${most}; there are ${kindCount(world)} kinds`);
  need(
    most + world.maxCount - 1 <= world.maxObjects,
    `startKinds up to ${most} with a group of ${world.maxCount} exceed maxObjects ${world.maxObjects}`,
  );
}

/** One object: its kind and where it rests in the cell, in steps of the jitter. */
export type Item = { readonly kind: number; readonly jx: number; readonly jy: number };
/** A small mark on the table: centre in pixels, and the factor on the table's colour. */
export type Mark = { readonly x: number; readonly y: number; readonly tone: number };
/** What is on the table: one entry per cell in reading order, and the marks. Treated as immutable. */
export type Scene = { readonly cells: readonly (Item | null)[]; readonly clutter: readonly Mark[] };

/** The kind number of an empty cell, and of a cell that the oracle cannot read. */
export const EMPTY = -1;
export const UNKNOWN = -2;

/** Number of kinds: sizes x colours x shapes. */
export function kindCount(world: Tabletop): number {
  return world.sizes.length * world.colours.length * world.shapes.length;
}

/** The number of the kind with these indices of size, colour and shape. */
export function kindOf(world: Tabletop, size: number, colour: number, shape: number): number {
  return (size * world.colours.length + colour) * world.shapes.length + shape;
}

/** Indices of size, colour and shape of a kind. */
export function traits(world: Tabletop, kind: number): { size: number; colour: number; shape: number } {
  const perSize = world.colours.length * world.shapes.length;
  return {
    size: Math.floor(kind / perSize),
    colour: Math.floor((kind % perSize) / world.shapes.length),
    shape: kind % world.shapes.length,
  };
}

/** The kind in every cell, EMPTY where there is none (cells, reading order). */
export function kindsOf(scene: Scene): Int16Array {
  return Int16Array.from(scene.cells, (item) => (item ? item.kind : EMPTY));
}

/** The generator itself, or a fresh one for a seed. */
export function toRng(seed: number | Rng, stream: string): Rng {
  return typeof seed === "number" ? new Rng(seed, stream) : seed;
}

/** An object of a kind that comes to rest somewhere in its cell. */
export function restingItem(kind: number, rng: Rng): Item {
  return { kind, jx: rng.int(3) - 1, jy: rng.int(3) - 1 };
}

/** A fresh table: some kinds once each, one of them perhaps as a group (always when `group` is true). */
export function randomScene(world: Tabletop, seed: number | Rng, group = false): Scene {
  const rng = toRng(seed, "tabletop scene");
  const [least, most] = world.startKinds;
  const kinds = rng.shuffle(Array.from({ length: kindCount(world) }, (_, i) => i)).slice(0, least + rng.int(most - least + 1));
  const inGroup = rng.uniform() < world.groupShare || group ? 1 + rng.int(world.maxCount) : 1;
  for (let i = 1; i < inGroup; i++) kinds.push(kinds[0]);
  const places = rng.shuffle(Array.from({ length: world.grid ** 2 }, (_, i) => i));
  const cells: (Item | null)[] = new Array(places.length).fill(null);
  kinds.forEach((kind, i) => {
    cells[places[i]] = restingItem(kind, rng);
  });
  return { cells, clutter: randomClutter(world, rng) };
}

function randomClutter(world: Tabletop, rng: Rng): Mark[] {
  const side = world.grid * world.cell;
  const marks = world.clutter ? rng.int(world.clutter + 1) : 0;
  return Array.from({ length: marks }, () => ({ x: rng.uniform(2, side - 2), y: rng.uniform(2, side - 2), tone: rng.uniform(0.72, 0.9) }));
}

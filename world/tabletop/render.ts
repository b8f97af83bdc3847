// Pictures of the tabletop. An object is a coverage mask (6 x 6 samples a pixel, kept per sub-pixel position) between the table's
// colour and its own: p = table + m (colour - table). Then light and noise: clip((gain + gx (u - 1/2) + gy (v - 1/2)) p + noise).
import { Rng } from "../../engine/rng.ts";
import { type Item, type Mark, type Rgb, type Scene, type ShapeName, shapeTest, type Tabletop, toRng, traits } from "./world.ts";

/** RGB bytes in rows: data has height * width * 3 values. */
export type Picture = { readonly width: number; readonly height: number; readonly data: Uint8Array };

/** How one frame is taken: light (gain, slope in x and y across the picture), camera offset in pixels, and the noise's number. */
export type View = {
  readonly gain: number;
  readonly slope: readonly [number, number];
  readonly shift: readonly [number, number];
  readonly noise: number;
};

/** An object on its way: kind and centre in pixels, camera not yet included. */
export type Sprite = { readonly kind: number; readonly x: number; readonly y: number };

/** Pixels on the side of a picture of this world. */
export function pictureSide(world: Tabletop): number {
  return world.grid * world.cell;
}

/** Light, camera and noise drawn afresh. */
export function randomView(world: Tabletop, seed: number | Rng): View {
  const rng = toRng(seed, "tabletop view");
  const slope = [rng.uniform(-1, 1) * world.gradient, rng.uniform(-1, 1) * world.gradient] as const;
  const shift = [(rng.int(3) - 1) * world.shift, (rng.int(3) - 1) * world.shift] as const;
  return { gain: 1 + rng.uniform(-1, 1) * world.gain, slope, shift, noise: rng.u32() };
}

/** The view a moment later: light drifts within its bounds, the camera moves by at most one step, the noise is new. */
export function driftView(world: Tabletop, view: View, rng: Rng): View {
  const bound = (x: number, limit: number) => Math.min(limit, Math.max(-limit, x));
  const slide = (x: number) => bound(x + rng.normal(0, world.gradientDrift), world.gradient);
  const step = (x: number) => bound(x + (rng.int(3) - 1) * world.shift, world.shift);
  const gain = 1 + bound(view.gain - 1 + rng.normal(0, world.gainDrift), world.gain);
  return { gain, slope: [slide(view.slope[0]), slide(view.slope[1])], shift: [step(view.shift[0]), step(view.shift[1])], noise: rng.u32() };
}

/** The picture of a scene. */
export function render(world: Tabletop, scene: Scene, view: View): Picture {
  return develop(world, drawScene(world, spritesOf(world, scene), scene.clutter, view.shift), view);
}

/** Every object of a scene where it rests. */
export function spritesOf(world: Tabletop, scene: Scene): Sprite[] {
  const sprites: Sprite[] = [];
  scene.cells.forEach((item, cell) => {
    if (item) sprites.push(spriteAt(world, item, cell));
  });
  return sprites;
}

/** One object resting in a cell. */
export function spriteAt(world: Tabletop, item: Item, cell: number): Sprite {
  const x = ((cell % world.grid) + 0.5) * world.cell + item.jx * world.jitter;
  return { kind: item.kind, x, y: (Math.floor(cell / world.grid) + 0.5) * world.cell + item.jy * world.jitter };
}

/** Table, marks, then sprites in order, before light and noise: (side, side, 3) values in 0 ... 1. */
export function drawScene(
  world: Tabletop,
  sprites: readonly Sprite[],
  clutter: readonly Mark[],
  shift: readonly [number, number],
): Float32Array {
  const side = pictureSide(world);
  const canvas = new Float32Array(side * side * 3);
  const { table } = world;
  for (let i = 0; i < canvas.length; i += 3) {
    canvas[i] = table[0];
    canvas[i + 1] = table[1];
    canvas[i + 2] = table[2];
  }
  for (const { x, y, tone } of clutter)
    stamp(canvas, side, "disc", MARK_RADIUS, x + shift[0], y + shift[1], [table[0] * tone, table[1] * tone, table[2] * tone]);
  for (const { kind, x, y } of sprites) {
    const { size, colour, shape } = traits(world, kind);
    stamp(canvas, side, world.shapes[shape], world.sizes[size].radius * world.cell, x + shift[0], y + shift[1], world.colours[colour].rgb);
  }
  return canvas;
}

/** Puts light and noise on a drawing, and rounds it to bytes. */
export function develop(world: Tabletop, canvas: Float32Array, view: View): Picture {
  const side = pictureSide(world);
  const bytes = new Uint8ClampedArray(canvas.length);
  const normals = noiseTable();
  const stride = (view.noise >>> 16) | 1;
  const noise = world.noise * 255;
  let at = view.noise & (NOISE_LENGTH - 1);
  for (let y = 0, i = 0; y < side; y++) {
    const row = view.gain + view.slope[1] * ((y + 0.5) / side - 0.5);
    for (let x = 0; x < side; x++) {
      const light = 255 * (row + view.slope[0] * ((x + 0.5) / side - 0.5));
      for (let c = 0; c < 3; c++, i++) {
        bytes[i] = canvas[i] * light + noise * normals[at];
        at = (at + stride) & (NOISE_LENGTH - 1);
      }
    }
  }
  return { width: side, height: side, data: new Uint8Array(bytes.buffer) };
}

const MARK_RADIUS = 1.1;
const SAMPLES = 6;
const POSITIONS = 20;
const NOISE_LENGTH = 65536;
let normalValues: Float32Array | undefined;

/** One fixed list of normal values; each picture walks it from its own start in its own odd stride, so no value comes twice early. */
function noiseTable(): Float32Array {
  return (normalValues ??= new Rng(0, "tabletop noise").normals(NOISE_LENGTH));
}

/** Coverage of the pixels around a shape; `cover[0]` is the pixel `reach` left of and above the base pixel. */
export type Mask = { readonly side: number; readonly reach: number; readonly cover: Float32Array };
const masks = new Map<string, Mask[]>();

/** The mask of a shape of this radius (pixels) at a centre (fx, fy) / POSITIONS into its base pixel. */
function maskOf(shape: ShapeName, radius: number, fx: number, fy: number): Mask {
  const key = `${shape} ${radius}`;
  let list = masks.get(key);
  if (!list) masks.set(key, (list = []));
  return (list[fy * POSITIONS + fx] ??= makeMask(shape, radius, fx / POSITIONS, fy / POSITIONS));
}

function makeMask(shape: ShapeName, radius: number, dx: number, dy: number): Mask {
  const reach = Math.ceil(1.05 * radius) + 1;
  const side = 2 * reach + 1;
  const cover = new Float32Array(side * side);
  const inside = shapeTest(shape);
  for (let i = 0; i < cover.length; i++) {
    let hits = 0;
    for (let s = 0; s < SAMPLES * SAMPLES; s++) {
      const x = (i % side) - reach + ((s % SAMPLES) + 0.5) / SAMPLES - dx;
      const y = Math.floor(i / side) - reach + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES - dy;
      if (inside(x / radius, y / radius)) hits++;
    }
    cover[i] = hits / (SAMPLES * SAMPLES);
  }
  return { side, reach, cover };
}

/** The mask of a shape centred at (x, y) in pixels (kept to 1/20 of a pixel), with the picture position of its first pixel. */
export function placeMask(shape: ShapeName, radius: number, x: number, y: number): { mask: Mask; left: number; top: number } {
  const qx = Math.round(x * POSITIONS);
  const qy = Math.round(y * POSITIONS);
  const px = Math.floor(qx / POSITIONS);
  const py = Math.floor(qy / POSITIONS);
  const mask = maskOf(shape, radius, qx - px * POSITIONS, qy - py * POSITIONS);
  return { mask, left: px - mask.reach, top: py - mask.reach };
}

function stamp(canvas: Float32Array, side: number, shape: ShapeName, radius: number, x: number, y: number, rgb: Rgb): void {
  const { mask, left, top } = placeMask(shape, radius, x, y);
  const [r, g, b] = rgb;
  for (let j = Math.max(0, -top); j < mask.side && top + j < side; j++) {
    for (let i = Math.max(0, -left); i < mask.side && left + i < side; i++) {
      const m = mask.cover[j * mask.side + i];
      if (m === 0) continue;
      const at = ((top + j) * side + left + i) * 3;
      canvas[at] += m * (r - canvas[at]);
      canvas[at + 1] += m * (g - canvas[at + 1]);
      canvas[at + 2] += m * (b - canvas[at + 2]);
    }
  }
}

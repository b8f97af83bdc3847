// Twenty synthetic motions with their true flow: a smooth random texture as a function of the plane is looked at through a map and its inverse,
// so that both pictures and the truth are exact; some have a second thing moving over the first, noise, or another light.
import { Rng } from "../engine/rng.ts";

/** Two grey pictures of one size, 0 ... 255, and the displacement (dx, dy) of each pixel of the first; `known` is 0 where it is hidden in the second. */
export interface Motion {
  readonly name: string;
  readonly side: number;
  readonly first: Float32Array;
  readonly second: Float32Array;
  readonly truth: Float32Array;
  readonly known: Uint8Array;
}

type Field = (x: number, y: number) => number;
type Move = (x: number, y: number) => readonly [number, number];

/** Grey levels of a plane: waves of several lengths and directions. `finest` is the shortest wave in pixels. */
function texture(seed: number, finest: number): Field {
  const rng = new Rng(seed, "texture");
  const waves = Array.from({ length: 24 }, (_, i) => {
    const length = finest * 1.12 ** i;
    const angle = 2 * Math.PI * rng.uniform();
    const k = (2 * Math.PI) / length;
    return { x: k * Math.cos(angle), y: k * Math.sin(angle), at: 2 * Math.PI * rng.uniform(), size: length ** 0.5 };
  });
  const total = Math.sqrt(waves.reduce((sum, { size }) => sum + size * size, 0) / 2);
  return (x, y) => 128 + (40 / total) * waves.reduce((sum, w) => sum + w.size * Math.sin(w.x * x + w.y * y + w.at), 0);
}

/** Where a point of the second picture was in the first: solves q + move(q) = p by fixed-point steps. */
function inverse(move: Move): Move {
  return (px, py) => {
    let [x, y] = [px, py];
    for (let i = 0; i < 25; i++) {
      const [u, v] = move(x, y);
      [x, y] = [px - u, py - v];
    }
    return [x, y];
  };
}

/** x -> A (x - centre) + centre + shift, as a displacement. */
function affine(side: number, a: number, b: number, c: number, d: number, dx = 0, dy = 0): Move {
  const m = (side - 1) / 2;
  return (x, y) => [(a - 1) * (x - m) + b * (y - m) + dx, c * (x - m) + (d - 1) * (y - m) + dy];
}

const shift =
  (dx: number, dy: number): Move =>
  () => [dx, dy];

interface Layer {
  readonly move: Move;
  readonly inside: (x: number, y: number) => boolean;
}

interface Spec {
  readonly name: string;
  readonly finest: number;
  readonly move: Move;
  /** A second thing before the first: where it is in the first picture and how it moves. */
  readonly over?: Layer;
  readonly noise?: number;
  readonly light?: number;
}

function specs(side: number): Spec[] {
  const s = side / 256;
  const turn = (degrees: number) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const rotated = (degrees: number, zoom = 1, dx = 0, dy = 0) => {
    const [c, w] = turn(degrees);
    return affine(side, zoom * c, -zoom * w, zoom * w, zoom * c, dx, dy);
  };
  const wave = (high: number, long: number): Move => {
    const k = (2 * Math.PI) / (long * s);
    return (x, y) => [high * Math.sin(k * y), high * Math.cos(k * x)];
  };
  const disc = (cx: number, cy: number, r: number) => (x: number, y: number) => (x - cx * s) ** 2 + (y - cy * s) ** 2 < (r * s) ** 2;
  const box = (x0: number, y0: number, x1: number, y1: number) => (x: number, y: number) =>
    x >= x0 * s && x < x1 * s && y >= y0 * s && y < y1 * s;
  return [
    { name: "no motion, noise", finest: 8, move: shift(0, 0), noise: 2 },
    { name: "shift 0.3, 0.4", finest: 8, move: shift(0.3, 0.4) },
    { name: "shift 1.5, -0.7", finest: 8, move: shift(1.5, -0.7) },
    { name: "shift 4, 3", finest: 8, move: shift(4, 3) },
    { name: "shift -9, 6.5", finest: 8, move: shift(-9, 6.5) },
    { name: "shift 15, 10, coarse", finest: 20, move: shift(15, 10) },
    { name: "shift 3, 2, fine", finest: 5, move: shift(3, 2) },
    { name: "turn 1 degree", finest: 8, move: rotated(1) },
    { name: "turn 4 degrees", finest: 10, move: rotated(4) },
    { name: "zoom 1.03", finest: 8, move: rotated(0, 1.03) },
    { name: "zoom 0.94, turned", finest: 10, move: rotated(-2, 0.94, 1, 2) },
    { name: "shear", finest: 8, move: affine(side, 1, 0.04, 0.01, 1) },
    { name: "waves 2 high", finest: 8, move: wave(2, 128) },
    { name: "waves 4 high", finest: 10, move: wave(4, 200) },
    { name: "disc moves, rest still", finest: 8, move: shift(0, 0), over: { move: shift(5, -3), inside: disc(128, 128, 50) } },
    { name: "box against ground", finest: 8, move: shift(-2, 1), over: { move: shift(3, 2), inside: box(70, 60, 170, 180) } },
    { name: "small disc, fast", finest: 8, move: shift(0, 0), over: { move: shift(7, 4), inside: disc(110, 120, 22) } },
    { name: "disc turns", finest: 8, move: shift(0.5, 0), over: { move: rotated(6), inside: disc(127, 127, 60) } },
    { name: "shift 2, 1, noise 4", finest: 8, move: shift(2, 1), noise: 4 },
    { name: "shift 1, 2, other light", finest: 8, move: shift(1, 2), light: 6, noise: 1 },
  ];
}

/** The twenty motions, pictures of side x side pixels. */
export function motions(side: number): Motion[] {
  return specs(side).map((spec, i) => {
    const ground = texture(100 + i, spec.finest);
    const front = texture(300 + i, spec.finest);
    const rng = new Rng(500 + i, "noise");
    const from = inverse(spec.move);
    const { over } = spec;
    const overFrom = over && inverse(over.move);
    const inFront = (x: number, y: number) => over?.inside(...overFrom!(x, y));
    const at = (x: number, y: number, value: Field) => value(x, y);
    const motion = {
      name: spec.name,
      side,
      first: new Float32Array(side * side),
      second: new Float32Array(side * side),
      truth: new Float32Array(2 * side * side),
      known: new Uint8Array(side * side),
    };
    const round = (v: number) => Math.min(255, Math.max(0, Math.round(v + (spec.noise ?? 0) * rng.normal())));
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const n = y * side + x;
        const top = over?.inside(x, y) ?? false;
        motion.first[n] = round(at(x, y, top ? front : ground));
        const ahead = inFront(x, y);
        const [sx, sy] = ahead ? overFrom!(x, y) : from(x, y);
        motion.second[n] = round(at(sx, sy, ahead ? front : ground) + (spec.light ?? 0));
        const [u, v] = (top ? over!.move : spec.move)(x, y);
        motion.truth.set([u, v], 2 * n);
        const inside = x + u >= 0 && y + v >= 0 && x + u <= side - 1 && y + v <= side - 1;
        motion.known[n] = inside && (top || !inFront(x + u, y + v)) ? 1 : 0;
      }
    return motion;
  });
}

/** Mean endpoint error in pixels and mean angular error in degrees (Barron et al. 1994) over the known pixels. */
export function flowErrors(motion: Motion, flow: ArrayLike<number>): { endpoint: number; angular: number } {
  let [endpoint, angular, count] = [0, 0, 0];
  for (let n = 0; n < motion.known.length; n++) {
    if (!motion.known[n]) continue;
    const [u, v, a, b] = [flow[2 * n], flow[2 * n + 1], motion.truth[2 * n], motion.truth[2 * n + 1]];
    endpoint += Math.hypot(u - a, v - b);
    const cosine = (1 + u * a + v * b) / Math.sqrt((1 + u * u + v * v) * (1 + a * a + b * b));
    angular += (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
    count++;
  }
  return { endpoint: endpoint / count, angular: angular / count };
}

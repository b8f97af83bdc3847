// Counter-based random numbers: draw number i of stream s under a seed is a pure function of (seed, s, i), so any draw can be made
// again, in any order, on the host or in a shader (kernels/lib/random.wgsl holds the same function).
// The mixing function is pcg4d (Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020).

/** Mixes four 32-bit words into four; every output bit depends on every input bit. */
export function pcg4d(x: number, y: number, z: number, w: number): [number, number, number, number] {
  x = (Math.imul(x, 1664525) + 1013904223) | 0;
  y = (Math.imul(y, 1664525) + 1013904223) | 0;
  z = (Math.imul(z, 1664525) + 1013904223) | 0;
  w = (Math.imul(w, 1664525) + 1013904223) | 0;
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  x ^= x >>> 16;
  y ^= y >>> 16;
  z ^= z >>> 16;
  w ^= w >>> 16;
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  return [x >>> 0, y >>> 0, z >>> 0, w >>> 0];
}

/** FNV-1a over the UTF-16 units of a name: turns stream names into numbers. */
export function hashName(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** A generator over one stream. `fork(name)` gives an independent stream; `counter` can be saved and set back. */
export class Rng {
  readonly seed: number;
  readonly stream: number;
  counter = 0;

  constructor(seed: number, stream: string | number = 0) {
    this.seed = seed >>> 0;
    this.stream = typeof stream === "string" ? hashName(stream) : stream >>> 0;
  }

  /** An independent generator named below this one; does not advance this one. */
  fork(name: string | number): Rng {
    return new Rng(
      pcg4d(this.seed, this.stream, 0x666f726b, typeof name === "number" ? name : hashName(name))[0],
      this.stream ^ hashName(String(name)),
    );
  }

  /** The next 32 random bits. */
  u32(): number {
    const i = this.counter++;
    return pcg4d(i >>> 0, (i / 4294967296) >>> 0, this.stream, this.seed)[0];
  }

  /** Uniform in [0, 1) with 24 bits, or in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + ((this.u32() >>> 8) / 16777216) * (high - low);
  }

  /** Uniform integer in 0 ... n - 1. */
  int(n: number): number {
    return Math.floor((this.u32() / 4294967296) * n);
  }

  /** Normal with the given mean and deviation (Box-Muller, one value from two draws). */
  normal(mean = 0, deviation = 1): number {
    const u = 1 - this.uniform();
    return mean + deviation * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** n normal values. */
  normals(n: number, deviation = 1): Float32Array {
    const a = new Float32Array(n);
    for (let i = 0; i < n; i++) a[i] = this.normal(0, deviation);
    return a;
  }

  /** One element of a list. */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("rng.pick: the list is empty; give at least one element");
    return list[this.int(list.length)];
  }

  /** Shuffles a list in place (Fisher-Yates) and returns it. */
  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}

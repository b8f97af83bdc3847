import { check } from "../kernel.ts";
import { steer } from "./steer.ts";

export default check({
  kernel: steer,
  cases: [
    { R: 1, V: 1, guided: 0, picture: 0, penalty: 1 },
    { R: 5, V: 70, guided: 1, picture: 3, penalty: 1 },
    { R: 6, V: 45, guided: 0, picture: 4, penalty: 1.25 },
    { R: 3, V: 64, guided: 1, picture: 2, penalty: 1.5 },
  ],
  bench: [{ R: 8, V: 65536, guided: 1, picture: 4, penalty: 1 }],
  inputs: ({ R, V }, rng) => ({
    logits: rng.normals(3 * R * V),
    since: Uint32Array.from({ length: R }, (_, r) => [0, 2, 5, 0xffffffff][r % 4]),
    seen: Uint32Array.from({ length: R * Math.ceil(V / 32) }, () => rng.int(2 ** 31)),
    image: 1.25,
    full: 3,
  }),
  outputs: ({ R, V }) => ({ y: R * V }),
  reference: ({ R, V, guided, picture, penalty }, v) => {
    const [x, since, seen] = [v.logits as Float32Array, v.since as Uint32Array, v.seen as Uint32Array];
    const y = new Float64Array(R * V);
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < V; c++) {
        const [f, m, u] = [0, 1, 2].map((copy) => x[(copy * R + r) * V + c]);
        const inside = since[r] < picture;
        const known = (seen[r * Math.ceil(V / 32) + (c >> 5)] >> (c & 31)) & 1;
        y[r * V + c] = f;
        if (inside && guided) y[r * V + c] = u + 1.25 * (m - u) + 3 * (f - m);
        if (!inside && known) y[r * V + c] = f > 0 ? f / penalty : f * penalty;
      }
    }
    return { y };
  },
  tolerance: { f32: 2e-6 },
  bytes: ({ R, V, guided }) => 4 * R * V * (guided ? 4 : 2),
});

import { check, type Numbers, type Values } from "../kernel.ts";
import { advance, ruleWords } from "./advance.ts";

const V = 70;
const BOI = 5;

/** Rows in every state: ids 0 ... 69 in turn, far from a picture, inside one, at its end, and done. */
function data({ R, copies, stride, steps, seenWords }: Numbers, rng: { int(n: number): number; normals(n: number): Float32Array }): Values {
  const rows = Uint32Array.from({ length: 6 * stride }, () => rng.int(1000));
  for (let r = 0; r < R; r++) {
    rows[3 * stride + r] = [0, 1, 2, 3, 0xffffffff][r % 5];
    rows[4 * stride + r] = r % 7;
    rows[5 * stride + r] = r % 11 === 3 ? 1 : 0;
  }
  return {
    id: Uint32Array.from({ length: R }, (_, r) => (r % 4 === 1 ? BOI : rng.int(V))),
    logprob: rng.normals(R),
    rules: Uint32Array.from({ length: ruleWords + 3 }, (_, i) => (i < ruleWords ? 10 + i : 0x11)),
    rows,
    seen: Uint32Array.from({ length: Math.max(1, R * seenWords) }, () => rng.int(2 ** 31)),
    history: Uint32Array.from({ length: 2 * R * steps }, (_, i) => 7 * i),
    boi: BOI,
    copies,
  };
}

function loops({ R, copies, stride, step, picture, seenWords }: Numbers, v: Values) {
  const [id, rules] = [v.id as Uint32Array, v.rules as Uint32Array];
  const bits = new Uint32Array((v.logprob as Float32Array).slice().buffer);
  const [rows, seen, history] = ["rows", "seen", "history"].map((name) => (v[name] as Uint32Array).slice());
  for (let r = 0; r < R; r++) {
    history.set([id[r], bits[r]], 2 * (step * R + r));
    for (let copy = 0; copy < copies; copy++) {
      rows[copy * R + r] = id[r];
      rows[stride + copy * R + r]++;
    }
    if (seenWords) seen[r * seenWords + (id[r] >> 5)] |= 1 << (id[r] & 31);
    const since = id[r] === BOI ? 0 : Math.min(rows[3 * stride + r] + 1, 0xffffffff);
    const room = Math.max(0, rows[4 * stride + r] - 1);
    if ((rules[ruleWords + (id[r] >> 5)] >> (id[r] & 31)) & 1) rows[5 * stride + r] = 1;
    rows[3 * stride + r] = since;
    rows[4 * stride + r] = room;
    const state = (since < picture ? 1 : 0) + (since === picture ? 2 : 0) + (room <= picture + 1 ? 4 : 0);
    rows[2 * stride + r] = rules[rows[5 * stride + r] === 1 ? 8 : state];
  }
  return { rows, seen, history };
}

export default check({
  kernel: advance,
  cases: [
    { R: 1, copies: 1, stride: 64, step: 0, steps: 1, picture: 0, seenWords: 0 },
    { R: 70, copies: 1, stride: 128, step: 2, steps: 4, picture: 2, seenWords: 3 },
    { R: 40, copies: 3, stride: 128, step: 1, steps: 2, picture: 3, seenWords: 0 },
  ],
  inputs: data,
  outputs: ({ R, stride, steps, seenWords }) => ({ rows: 6 * stride, seen: Math.max(1, R * seenWords), history: 2 * R * steps }),
  reference: loops,
  tolerance: { f32: 0 },
});

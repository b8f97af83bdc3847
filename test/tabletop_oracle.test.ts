// The tabletop's judge against exhaustive enumeration of outcomes, on clean, blurred and broken pictures; speed.
// Run: node --import tsx test/tabletop_oracle.test.ts
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import * as T from "../world/tabletop/index.ts";

const worlds = { default: T.defaultWorld, full: T.fullWorld };
const text = (kinds: ArrayLike<number>) => Array.from(kinds).join(" ");
const YES = { done: true, minimal: true, success: true };

/** All ways to take n of a list. */
function subsets(list: readonly number[], n: number): number[][] {
  if (n === 0) return [[]];
  return list.flatMap((first, i) => subsets(list.slice(i + 1), n - 1).map((rest) => [first, ...rest]));
}

/** Every table that counts as a full success of a legal action, written down anew from the rules. */
function outcomes(world: T.Tabletop, before: T.Scene, action: T.Action): Set<string> {
  const kinds = [...T.kindsOf(before)];
  const all = (kind: number) => [...kinds.keys()].filter((cell) => kinds[cell] === kind);
  const change = (changes: [number, number][]) => text(kinds.map((kind, cell) => changes.find(([at]) => at === cell)?.[1] ?? kind));
  const [cell] = all(action.kind);
  const step = { left: -1, right: 1, up: -world.grid, down: world.grid, above: -world.grid, below: world.grid };
  if (action.op === "remove") return new Set([change([[cell, T.EMPTY]])]);
  if (action.op === "add") return new Set(all(T.EMPTY).map((at) => change([[at, action.kind]])));
  if (action.op === "swap")
    return new Set([
      change([
        [cell, action.other],
        [all(action.other)[0], action.kind],
      ]),
    ]);
  if (action.op === "move")
    return new Set([
      change([
        [cell, T.EMPTY],
        [cell + step[action.way], action.kind],
      ]),
    ]);
  if (action.op === "put")
    return new Set([
      change([
        [cell, T.EMPTY],
        [all(action.anchor)[0] + step[action.side], action.kind],
      ]),
    ]);
  if ("to" in action) return new Set([change([[cell, action.to]])]);
  if (!("n" in action)) throw new Error(`no rule for ${action.op}`);
  const more = action.n - all(action.kind).length;
  const [from, to] = more > 0 ? [all(T.EMPTY), action.kind] : [all(action.kind), T.EMPTY];
  return new Set(subsets(from, Math.abs(more)).map((cells) => change(cells.map((at) => [at, to]))));
}

/** Blur, colour error and noise of about the size that a learnt picture code leaves. */
function degrade(picture: T.Picture, sigma: number, rng: Rng): T.Picture {
  const { width: n, data } = picture;
  const kernel = [-2, -1, 0, 1, 2].map((d) => Math.exp((-d * d) / (2 * sigma * sigma)));
  const total = kernel.reduce((a, b) => a + b);
  const inside = (v: number) => Math.max(0, Math.min(n - 1, v));
  const pass = (from: ArrayLike<number>, dx: number, dy: number) =>
    Float32Array.from({ length: data.length }, (_, i) => {
      const [c, x, y] = [i % 3, Math.floor(i / 3) % n, Math.floor(i / 3 / n)];
      return kernel.reduce((a, w, k) => a + (w / total) * from[(inside(y + (k - 2) * dy) * n + inside(x + (k - 2) * dx)) * 3 + c], 0);
    });
  const scale = [0, 0, 0].map(() => rng.normal(1, 0.03));
  const soft = pass(pass(data, 1, 0), 0, 1);
  return { ...picture, data: Uint8Array.from(Uint8ClampedArray.from(soft, (v, i) => v * scale[i % 3] + rng.normal(0, 5))) };
}

for (const [name, world] of Object.entries(worlds)) {
  test(`${name}: every legal action's true target is judged (yes, yes), the copied source no`, () => {
    const rng = new Rng(11);
    let right = 0;
    let tried = 0;
    let badCells = 0;
    const seen = new Set<string>();
    for (let s = 0; tried < 1200; s++) {
      const before = T.randomScene(world, rng, s % 3 === 0);
      for (const action of T.legalActions(world, before)) {
        const { source, target } = T.shoot(world, before, T.apply(world, before, action, rng), rng);
        const verdict = T.judge(world, action, before, T.parse(world, target).kinds);
        if (verdict.success) right++;
        const copy = T.judge(world, action, before, T.kindsOf(before));
        assert.not.ok(copy.done || copy.success, T.describe(world, action));
        if (tried % 10 === 0) {
          const read = T.parse(world, source).kinds;
          badCells += T.kindsOf(before).filter((kind, cell) => kind !== read[cell]).length;
        }
        seen.add(action.op);
        tried++;
      }
    }
    console.log(`${name}: ${right} of ${tried} true targets judged (yes, yes)`);
    assert.is(seen.size, world.sizes.length > 1 ? 9 : 8);
    assert.ok(right / tried > 0.99);
    if (world === T.defaultWorld) assert.is(right, tried);
    assert.is(badCells, 0);
  });

  test(`${name}: success is exactly membership in the enumerated outcomes, also for wrong and damaged tables`, () => {
    const rng = new Rng(12);
    let yes = 0;
    let no = 0;
    for (let s = 0; s < 12; s++) {
      const before = T.randomScene(world, rng, s % 2 === 0);
      const legal = T.legalActions(world, before);
      const results = legal.map((action) => T.kindsOf(T.apply(world, before, action, rng)));
      const damaged = results.map((kinds) => {
        const copy = kinds.slice();
        copy[rng.int(copy.length)] = rng.pick([T.EMPTY, T.UNKNOWN, rng.int(T.kindCount(world)), rng.pick([...kinds])]);
        return copy;
      });
      for (const action of legal) {
        const good = outcomes(world, before, action);
        for (const kinds of [...results, ...damaged]) {
          const { done, minimal, success } = T.judge(world, action, before, kinds);
          assert.is(success, good.has(text(kinds)), `${T.describe(world, action)}: ${text(T.kindsOf(before))} -> ${text(kinds)}`);
          assert.is(success, done && minimal);
          success ? yes++ : no++;
        }
      }
    }
    assert.ok(yes > 100 && no > 1000, `${yes} yes, ${no} no`);
  });

  test(`${name}: mild blur, colour error and noise change no verdict`, () => {
    const rng = new Rng(13);
    for (let i = 0; i < 120; i++) {
      const { before, action, target, text: sentence } = T.triplet(world, rng);
      assert.equal(T.judge(world, action, before, T.parse(world, degrade(target, 0.7, rng)).kinds), YES, sentence);
    }
  });

  test(`${name}: explains accepts the true sentence and what is equally true, and rejects the rest`, () => {
    const rng = new Rng(14);
    let paraphrases = 0;
    for (let i = 0; i < 150; i++) {
      const { before, after, text: sentence } = T.triplet(world, rng, i % 2 ? "spatial" : undefined);
      assert.ok(T.explains(world, sentence, before, after), sentence);
      assert.not.ok(T.explains(world, sentence, before, before));
      for (const action of T.legalActions(world, before)) {
        const said = T.describe(world, action);
        const truth = outcomes(world, before, action).has(text(T.kindsOf(after)));
        assert.is(T.explains(world, said, before, after), truth, said);
        if (truth && said !== sentence) paraphrases++;
      }
      for (const nonsense of ["", "the red ring", `${sentence} ${sentence}`]) assert.not.ok(T.explains(world, nonsense, before, after));
    }
    assert.ok(paraphrases > 5, `${paraphrases} paraphrases`);
  });
}

test("pictures that hold no object of the world are unknown", () => {
  const world = T.defaultWorld;
  const rng = new Rng(15);
  const picture = (value: (i: number) => number): T.Picture => ({
    width: 48,
    height: 48,
    data: Uint8Array.from({ length: 48 * 48 * 3 }, (_, i) => value(i)),
  });
  for (const garbage of [
    picture(() => rng.int(256)),
    picture(() => 0),
    picture((i) => (i % 3 === 0 ? 255 : 0)),
    picture((i) => (Math.floor(i / 12) % 2) * 255),
  ]) {
    const { kinds, residual } = T.parse(world, garbage);
    assert.ok(kinds.every((kind) => kind === T.UNKNOWN));
    assert.ok(residual.every((r) => r > world.unknown));
  }
  const scene: T.Scene = { cells: [{ kind: 1, jx: 0, jy: 0 }, ...new Array(8).fill(null)], clutter: [] };
  const other: T.Scene = { cells: [{ kind: T.kindOf(world, 0, 2, 2), jx: 0, jy: 0 }, ...new Array(8).fill(null)], clutter: [] };
  const view = T.randomView(world, 1);
  const [a, b] = [T.render(world, scene, view), T.render(world, other, view)];
  const { kinds } = T.parse(world, { ...a, data: a.data.map((v, i) => (v + b.data[i]) / 2) });
  assert.equal([...kinds], [T.UNKNOWN, ...new Array(8).fill(T.EMPTY)]);
  const remove = T.parseAction(world, "remove the red square");
  assert.equal(T.judge(world, remove, scene, kinds), { done: false, minimal: false, success: false });
  assert.equal(T.judge(world, undefined, scene, kinds), { done: false, minimal: false, success: false });
  assert.throws(() => T.parse(T.fullWorld, a), /the picture is 48 x 48 with 6912 bytes; this world needs 64 x 64 RGB/);
  assert.throws(() => T.judge(world, remove, scene, [1, 2]), /has 2 cells, the source scene 9/);
});

test("speed, in pictures a second", () => {
  for (const [name, world] of Object.entries(worlds)) {
    const view = T.randomView(world, 1);
    const scenes = Array.from({ length: 100 }, (_, seed) => T.randomScene(world, seed));
    const pictures = scenes.map((scene) => T.render(world, scene, view));
    const rate = (n: number, work: (i: number) => unknown) => {
      const start = performance.now();
      for (let i = 0; i < n; i++) work(i % 100);
      return Math.round((1000 * n) / (performance.now() - start));
    };
    const rates = { render: rate(2000, (i) => T.render(world, scenes[i], view)), parse: rate(500, (i) => T.parse(world, pictures[i])) };
    console.log(`${name}: render ${rates.render}, parse ${rates.parse}, triplets ${rate(500, (i) => T.triplet(world, i))}`);
  }
});

test.run();

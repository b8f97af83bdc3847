// The tabletop world: pictures, legality, grammar, samples and captions, for the default and the full world.
// Run: node --import tsx test/tabletop.test.ts
import { createHash } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import * as T from "../world/tabletop/index.ts";

const orange: T.Rgb = [0.95, 0.5, 0.1];
const odd = T.makeWorld({
  colours: [...T.defaultWorld.colours.slice(0, 2), { name: "orange", rgb: orange }],
  shapes: ["square", "cross"],
  grid: 5,
  cell: 21,
});
const worlds = { default: T.defaultWorld, full: T.fullWorld, odd };

/** A default-world scene from a drawing: three rows of cells such as "rr" (red ring), "bs" (blue square), ".." (empty). */
function table(drawing: string): T.Scene {
  const kind = (c: string, s: string) => T.kindOf(T.defaultWorld, 0, "rgby".indexOf(c), "rst".indexOf(s));
  return {
    cells: drawing
      .trim()
      .split(/\s+/)
      .map((w) => (w === ".." ? null : { kind: kind(w[0], w[1]), jx: 0, jy: 0 })),
    clutter: [],
  };
}

const texts = (world: T.Tabletop, scene: T.Scene) => T.legalActions(world, scene).map((action) => T.describe(world, action));

for (const [name, world] of Object.entries(worlds)) {
  test(`${name}: a seed gives the same pictures, another seed others`, () => {
    const hash = (seed: number) => {
      const h = createHash("sha256");
      for (let i = 0; i < 5; i++) {
        const { source, target, text } = T.triplet(world, seed * 10 + i);
        h.update(source.data).update(target.data).update(text);
      }
      return h.digest("hex");
    };
    assert.is(hash(1), hash(1));
    assert.is.not(hash(1), hash(2));
    const { source } = T.triplet(world, 1);
    assert.is(source.width, world.grid * world.cell);
    assert.is(source.data.length, source.width * source.height * 3);
  });

  test(`${name}: scenes keep to the rules`, () => {
    const groups = new Set<number>();
    let unforced = 0;
    for (let seed = 0; seed < 500; seed++) {
      const counts = new Map<number, number>();
      for (const item of T.randomScene(world, seed, seed % 2 === 0).cells)
        if (item) counts.set(item.kind, (counts.get(item.kind) ?? 0) + 1);
      assert.ok(counts.size >= world.startKinds[0] && counts.size <= world.startKinds[1]);
      const many = [...counts.values()].filter((n) => n > 1);
      assert.ok(many.length <= 1 && many.every((n) => n <= world.maxCount));
      groups.add(many[0] ?? 1);
      if (seed % 2 === 1 && many.length > 0) unforced++;
    }
    assert.is(groups.size, world.maxCount);
    const share = (world.groupShare * (world.maxCount - 1)) / world.maxCount;
    assert.ok(Math.abs(unforced / 250 - share) < 0.08, `${unforced} groups of several in 250 scenes`);
  });

  test(`${name}: sentence to action to sentence, for the grammar and for legal actions`, () => {
    for (const [text, action] of T.sentences(world)) {
      assert.equal(T.parseAction(world, text), action);
      assert.is(T.describe(world, action), text);
    }
    const vocabulary = new Set(T.words(world));
    for (let seed = 0; seed < 50; seed++)
      for (const action of T.legalActions(world, T.randomScene(world, seed))) {
        const text = T.describe(world, action);
        assert.equal(T.parseAction(world, text), action);
        for (const word of text.split(" ")) assert.ok(vocabulary.has(word), word);
      }
  });

  test(`${name}: applying keeps resting objects as they are and never exceeds the limits`, () => {
    const rng = new Rng(3);
    for (let i = 0; i < 300; i++) {
      const before = T.randomScene(world, rng);
      const sampled = T.sampleAction(world, before, rng)!;
      const objects = sampled.after.cells.filter(Boolean).length;
      assert.ok(objects >= 1 && objects <= world.maxObjects);
      assert.ok(sampled.after.clutter === before.clutter);
      const kinds = T.kindsOf(before);
      const changed = T.kindsOf(sampled.after).filter((kind, cell) => kind !== kinds[cell]).length;
      const moved = sampled.after.cells.filter((item, cell) => item !== before.cells[cell]).length;
      assert.is(moved, changed, sampled.text);
      assert.ok(changed >= 1 && changed <= 2, sampled.text);
      assert.is(T.familyOf(sampled.action), sampled.family);
    }
  });

  test(`${name}: captions are true, countable and free of action words`, () => {
    const rng = new Rng(4);
    const vocabulary = new Set(T.words(world));
    const forbidden = /\b(paint|turn|remove|add|move|swap|put|make|it|into)\b/;
    let spatial = 0;
    for (let i = 0; i < 300; i++) {
      const scene = T.randomScene(world, rng);
      const text = T.caption(world, scene, rng);
      assert.not.ok(forbidden.test(text), text);
      for (const word of text.match(/\w+|,/g)!) assert.ok(vocabulary.has(word), word);
      if (text.includes(" is ")) spatial++;
      assert.ok(captionHolds(world, scene, text), text);
    }
    assert.ok(spatial > 30 && spatial < 270, `${spatial} of 300 captions are spatial`);
  });
}

/** Reads a caption by its own rules: counts of all kinds, or the row and column of two neighbours. */
function captionHolds(world: T.Tabletop, scene: T.Scene, text: string): boolean {
  const named = (wanted: string, n = 1) =>
    [...T.kindsOf(scene).entries()].filter(([, kind]) => kind !== T.EMPTY && T.kindName(world, kind, n) === wanted).map(([cell]) => cell);
  const fact = /^the (.+) is (to the left of|to the right of|above|below) the (.+)$/.exec(text);
  if (!fact) {
    const parts = text.split(", ").map((part) => /^(one|two|three) (.+)$/.exec(part)!);
    const ns = parts.map(([, n]) => ["one", "two", "three"].indexOf(n) + 1);
    const all = ns.reduce((a, b) => a + b) === scene.cells.filter(Boolean).length;
    return all && parts.every(([, , wanted], i) => named(wanted, ns[i]).length === ns[i]);
  }
  const [a, b] = [named(fact[1]), named(fact[3])];
  if (a.length !== 1 || b.length !== 1) return false;
  const step = [(b[0] % world.grid) - (a[0] % world.grid), Math.floor(b[0] / world.grid) - Math.floor(a[0] / world.grid)];
  const wanted = { "to the left of": [1, 0], "to the right of": [-1, 0], above: [0, 1], below: [0, -1] }[fact[2]]!;
  return step[0] === wanted[0] && step[1] === wanted[1];
}

test("the default grammar has 762 sentences of a small vocabulary, in proper English", () => {
  assert.is(T.sentences(T.defaultWorld).size, 762);
  assert.is(T.words(T.defaultWorld).length, 36);
  const lengths = [...Array(2000).keys()].map(
    (i) => T.sampleAction(T.defaultWorld, T.randomScene(T.defaultWorld, i), new Rng(i))!.text.split(" ").length,
  );
  const mean = lengths.reduce((a, b) => a + b) / lengths.length;
  assert.ok(mean > 5.5 && mean < 8, `mean length ${mean}`);
  for (const text of ["make it one red ring", "make it two red rings", "turn the red ring into a square", "paint the red ring blue"])
    assert.ok(T.parseAction(T.defaultWorld, text), text);
  for (const text of ["add an orange cross", "make it two green crosses"]) assert.ok(T.parseAction(odd, text), text);
  for (const text of ["make the large red ring small", "put the small purple ring to the left of the large blue ring"])
    assert.ok(T.parseAction(T.fullWorld, text), text);
  for (const text of [
    "",
    "paint the red ring",
    "make it two red ring",
    "make it four red rings",
    "remove the red rings",
    "move left the red ring",
    "add an red ring",
    "remove the small red ring",
  ])
    assert.is(T.parseAction(T.defaultWorld, text), undefined, text);
  const swapped = T.parseAction(T.defaultWorld, " Swap the blue square  and the red ring.")!;
  assert.is(T.describe(T.defaultWorld, swapped), "swap the red ring and the blue square");
});

test("legality on drawn tables", () => {
  const two = texts(T.defaultWorld, table("rr .. .. .. .. .. .. .. bs"));
  const has = (list: string[], yes: string[], no: string[]) => {
    for (const text of yes) assert.ok(list.includes(text), `legal: ${text}`);
    for (const text of no) assert.not.ok(list.includes(text), `not legal: ${text}`);
  };
  const yes = [
    "move the red ring right",
    "move the red ring down",
    "put the red ring above the blue square",
    "make it three red rings",
    "add a red square",
  ];
  const no = [
    "remove the red ring",
    "move the red ring left",
    "move the red ring up",
    "put the red ring below the blue square",
    "make it one red ring",
    "add a red ring",
  ];
  has(two, [...yes, "swap the red ring and the blue square", "turn the red ring into a square"], no);
  const near = texts(T.defaultWorld, table("rr bs .. .. .. .. .. .. gt"));
  has(
    near,
    ["remove the red ring", "put the red ring to the right of the blue square", "put the red ring below the blue square"],
    ["move the red ring right"],
  );
  has(texts(T.defaultWorld, table("rr .. bs .. .. .. .. .. gt")), [], ["put the red ring to the left of the blue square"]);
  const edges = texts(T.defaultWorld, table(".. .. .. rr .. bs .. .. gt"));
  has(
    edges,
    ["move the red ring right"],
    ["move the red ring left", "move the blue square right", "put the green triangle to the left of the red ring"],
  );
  const group = texts(T.defaultWorld, table("rr rr bs .. .. .. .. .. gt"));
  assert.equal(
    group.filter((text) => text.includes("red ring")),
    ["make it one red ring", "make it three red rings"],
  );
  const anchors = texts(T.defaultWorld, table("rr .. .. .. .. .. .. bs bs"));
  has(anchors, ["add a green ring"], ["swap the red ring and the blue square", "put the red ring above the blue square"]);
  has(group, ["move the blue square down"], ["remove the red ring", "swap the red ring and the blue square"]);
  const full = texts(T.defaultWorld, table("rr gr bs ys rt gt .. .. .."));
  has(full, ["move the yellow square down", "remove the red ring"], ["add a red square", "make it two red rings"]);
  has(
    texts(T.defaultWorld, table("rr br bs .. .. .. .. .. ..")),
    ["paint the red ring green"],
    ["paint the red ring blue", "turn the blue ring into a square"],
  );
});

for (const [name, world] of Object.entries({ default: T.defaultWorld, full: T.fullWorld })) {
  test(`${name}: the five families come in equal shares, verbs within edits too`, () => {
    const families = new Map<string, number>();
    const verbs = new Map<string, number>();
    const rng = new Rng(8);
    const n = 1500;
    for (let i = 0; i < n; i++) {
      const { family, action } = T.triplet(world, rng);
      families.set(family, (families.get(family) ?? 0) + 1);
      verbs.set(action.op, (verbs.get(action.op) ?? 0) + 1);
    }
    for (const family of T.FAMILIES)
      assert.ok(Math.abs(families.get(family)! / n - 0.2) < 0.04, `${family}: ${families.get(family)} of ${n}`);
    for (const verb of ["paint", "turn", "remove", "add"]) assert.ok(verbs.get(verb)! > n * 0.02, `${verb}: ${verbs.get(verb)} of ${n}`);
    for (const family of T.FAMILIES) for (let seed = 0; seed < 10; seed++) assert.is(T.triplet(world, seed, family).family, family);
  });

  test(`${name}: a plausible other action is legal and does not explain the target`, () => {
    const rng = new Rng(9);
    for (let i = 0; i < 300; i++) {
      const { before, after, text } = T.triplet(world, rng);
      const other = T.otherAction(world, before, after, rng)!;
      assert.ok(T.isLegal(world, before, other.action));
      assert.is.not(other.text, text);
      assert.not.ok(T.explains(world, other.text, before, after));
    }
  });

  test(`${name}: pairs of two actions have no single explanation, pairs of one do`, () => {
    for (let seed = 0; seed < 100; seed++) {
      const two = T.pair(world, seed, { steps: 2 });
      assert.is(two.actions.length, 2);
      for (const text of texts(world, two.before)) assert.not.ok(T.explains(world, text, two.before, two.after), text);
      const one = T.pair(world, seed);
      assert.ok(T.explains(world, one.texts[0], one.before, one.after));
    }
  });
}

test("light is gain plus a slope that is nought at the centre; noise has the deviation asked for", () => {
  const quiet = T.makeWorld({ noise: 0 });
  const bare: T.Scene = { cells: new Array(9).fill(null), clutter: [] };
  const view: T.View = { gain: 0.98, slope: [0.02, -0.01], shift: [0, 0], noise: 7 };
  const { data } = T.render(quiet, bare, view);
  for (const [x, y] of [
    [0, 0],
    [47, 0],
    [24, 24],
    [0, 47],
  ])
    for (let c = 0; c < 3; c++) {
      const wanted = 255 * T.defaultWorld.table[c] * (0.98 + 0.02 * ((x + 0.5) / 48 - 0.5) - 0.01 * ((y + 0.5) / 48 - 0.5));
      assert.ok(
        Math.abs(data[(y * 48 + x) * 3 + c] - wanted) <= 0.501,
        `(${x}, ${y}) ${c}: ${data[(y * 48 + x) * 3 + c]}, wanted ${wanted}`,
      );
    }
  const noisy = T.render(T.defaultWorld, bare, view).data;
  const deviation = Math.sqrt(noisy.reduce((sum, v, i) => sum + (v - data[i]) ** 2, 0) / noisy.length) / 255;
  assert.ok(deviation > 0.0095 && deviation < 0.0108, `deviation ${deviation}`);
});

test("settings that cannot work are refused in a sentence", () => {
  const refused = (changes: object, pattern: RegExp) => assert.throws(() => T.makeWorld(changes as Partial<T.Tabletop>), pattern);
  refused({ colour: [] }, /unknown setting "colour"/);
  refused({ grid: 1 }, /grid is 1; give a whole number from 2 to 16/);
  refused({ shapes: ["hexagon"] }, /unknown shape "hexagon"; the shapes are ring/);
  refused({ shapes: ["ring", "ring"] }, /each name once/);
  refused({ sizes: [{ name: "huge", radius: 0.6 }] }, /size "huge" reaches/);
  refused({ noise: Number.NaN }, /noise is NaN/);
  refused({ startKinds: [2, 40] }, /startKinds are 2 to 40; there are 12 kinds/);
  refused({ maxObjects: 5 }, /exceed maxObjects 5/);
  assert.throws(() => T.pair(T.defaultWorld, 1, { steps: 0 }), /steps is 0/);
  const scene = table("rr .. .. .. .. .. .. .. bs");
  const illegal = T.parseAction(T.defaultWorld, "remove the red ring")!;
  assert.throws(() => T.apply(T.defaultWorld, scene, illegal, new Rng(1)), /"remove the red ring" is not legal/);
  assert.is(JSON.stringify(T.makeWorld(JSON.parse(JSON.stringify(T.fullWorld)))), JSON.stringify(T.fullWorld));
});

test.run();

// Contact sheets of the tabletop world: per family (row) source | target pairs with their sentences on the console, or the frames of one clip.
// Run: node --import tsx examples/tabletop_sheet.ts out.png [--world default|full] [--seed 1] [--clip]
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Rng } from "../engine/rng.ts";
import { encodePng } from "../world/pictures.ts";
import { clip, defaultWorld, FAMILIES, fullWorld, type Picture, pictureSide, triplet } from "../world/tabletop/index.ts";

const ZOOM = 3;
const COLUMNS = 4;
const GAP = 4;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    world: { type: "string", default: "default" },
    seed: { type: "string", default: "1" },
    clip: { type: "boolean", default: false },
  },
});
const worlds = new Map([
  ["default", defaultWorld],
  ["full", fullWorld],
]);
const world = worlds.get(values.world);
if (positionals.length !== 1 || !world) {
  console.error("usage: node --import tsx examples/tabletop_sheet.ts out.png [--world default|full] [--seed 1] [--clip]");
  process.exit(2);
}
const seed = Number(values.seed);

/** Pictures in a grid, magnified, on white. */
function sheet(rows: readonly (readonly Picture[])[], side: number): Picture {
  const step = side * ZOOM + GAP;
  const width = Math.max(...rows.map((row) => row.length)) * step + GAP;
  const height = rows.length * step + GAP;
  const data = new Uint8Array(width * height * 3).fill(255);
  for (const [r, row] of rows.entries())
    for (const [c, picture] of row.entries())
      for (let y = 0; y < side * ZOOM; y++)
        for (let x = 0; x < side * ZOOM; x++) {
          const from = (Math.floor(y / ZOOM) * side + Math.floor(x / ZOOM)) * 3;
          data.set(picture.data.subarray(from, from + 3), ((GAP + r * step + y) * width + GAP + c * step + x) * 3);
        }
  return { width, height, data };
}

const rng = new Rng(seed, "tabletop sheet");
const rows: Picture[][] = [];
if (values.clip) {
  const { frames, keys, texts } = clip(world, seed, { actions: [3, 3], hold: [2, 2] });
  for (let i = 0; i < frames.length; i += 8) rows.push(frames.slice(i, i + 8));
  console.log(`${frames.length} frames, key frames ${keys.join(", ")}: ${texts.join("; ")}`);
} else {
  for (const family of FAMILIES) {
    const triplets = Array.from({ length: COLUMNS }, () => triplet(world, rng, family));
    rows.push(triplets.flatMap(({ source, target }) => [source, target]));
    console.log(`${family}: ${triplets.map(({ text }) => text).join("; ")}`);
  }
}
writeFileSync(positionals[0], encodePng(sheet(rows, pictureSide(world))));
console.log(`wrote ${positionals[0]} (seed ${seed})`);

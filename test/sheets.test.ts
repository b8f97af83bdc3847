// Picture sheets: whole-number enlargement, frames, captions, the font, heat maps and data URLs.
// Run: node --import tsx test/sheets.test.ts
import { PNG } from "pngjs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { inked } from "../world/font.ts";
import { borderColours, heatMap, pngDataUrl, sheet } from "../world/sheets.ts";

const isNamed = (error: Error) => error instanceof WorldlineError;
const flat = (width: number, height: number, [r, g, b]: readonly number[]) => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => [r, g, b][i % 3]),
});
const at = (p: { width: number; data: Uint8Array }, x: number, y: number) => [
  ...p.data.subarray((y * p.width + x) * 3, (y * p.width + x) * 3 + 3),
];
const countOf = (p: { data: Uint8Array }, colour: readonly number[]) => {
  let n = 0;
  for (let i = 0; i < p.data.length; i += 3) if (colour.every((c, k) => p.data[i + k] === c)) n++;
  return n;
};

test("sheet: pictures are enlarged whole, framed, captioned and never overlap", () => {
  const blue = flat(5, 4, [10, 20, 230]);
  blue.data.set([9, 9, 9], 0);
  const plain = sheet({ columns: [], rows: [{ cells: [blue, null, blue] }], scale: 7 });
  assert.is(countOf(plain, [10, 20, 230]), 2 * 19 * 49);
  assert.is(countOf(plain, [9, 9, 9]), 2 * 49);
  assert.is(plain.data.length, plain.width * plain.height * 3);
  const row = { label: "row", cells: [{ picture: blue, border: borderColours.right, caption: "a long caption that wraps several times" }] };
  const framed = sheet({ columns: ["one"], rows: [row, row], scale: 7 });
  assert.is(countOf(framed, [10, 20, 230]), 2 * 19 * 49);
  assert.is(countOf(framed, borderColours.right), 2 * ((35 + 8) * (28 + 8) - 35 * 28));
  assert.ok(countOf(framed, [28, 32, 38]) > 200, "text is drawn");
  const clear = sheet({
    columns: [],
    rows: [{ cells: [{ width: 1, height: 1, channels: 4, data: new Uint8Array([0, 0, 0, 0]) }] }],
    scale: 9,
  });
  assert.is(countOf(clear, [255, 255, 255]), clear.width * clear.height);
});

test("sheet: bad content is named", () => {
  const picture = flat(2, 2, [0, 0, 0]);
  assert.throws(() => sheet({ columns: [], rows: [], scale: 1 }), /no row holds a picture/);
  assert.throws(() => sheet({ columns: [], rows: [{ cells: [picture] }], scale: 1.5 }), /scale 1.5 is not a whole number/);
  assert.throws(() => sheet({ columns: ["a"], rows: [{ cells: [picture, picture] }], scale: 1 }), /row 1 has 2 cells for 1 columns/);
  assert.throws(() => sheet({ columns: [], rows: [{ cells: [picture] }], scale: 20000 }), /lower the scale/);
  assert.throws(() => sheet({ columns: [], rows: [{ cells: [{ ...picture, width: 3 }] }], scale: 1 }), isNamed);
});

test("font: 95 glyphs differ, and other characters show a box", () => {
  const shape = (character: string) => Array.from({ length: 45 }, (_, i) => Number(inked(character, i % 5, Math.floor(i / 5)))).join("");
  const shapes = new Set(Array.from({ length: 95 }, (_, i) => shape(String.fromCharCode(32 + i))));
  assert.is(shapes.size, 95);
  assert.not.ok(shapes.has(shape("\u00e9")));
  assert.is(shape("\u00e9"), shape("\u{1f600}"));
  assert.is(shape(" "), "0".repeat(45));
  assert.is(shape("L"), `${"10000".repeat(6)}11111${"00000".repeat(2)}`);
});

test("heatMap: zero is clear, the largest value deepest; data URLs hold the picture", () => {
  const heat = heatMap([0, 1, 2, 4], [2, 2], flat(6, 6, [100, 100, 100]));
  assert.equal(at(heat, 0, 0), [100, 100, 100]);
  assert.equal(at(heat, 5, 5), [174, 61, 61]);
  assert.ok(at(heat, 5, 0)[0] < at(heat, 0, 5)[0]);
  assert.is(heatMap([1, 1, 1], [1, 3]).width, 36);
  assert.equal(at(heatMap([0, 0], [1, 2]), 3, 3), [255, 255, 255]);
  assert.throws(() => heatMap([1, 2], [2, 2]), /2 values do not fill a grid of 2 x 2/);
  assert.throws(() => heatMap([1, Number.NaN], [1, 2]), /finite/);
  const url = pngDataUrl(heat);
  const png = PNG.sync.read(Buffer.from(url.slice("data:image/png;base64,".length), "base64"));
  assert.equal([png.width, png.height, ...png.data.subarray(0, 4)], [6, 6, 100, 100, 100, 255]);
});

test.run();

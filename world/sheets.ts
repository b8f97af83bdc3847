// Picture sheets: rows of pictures with column titles, row labels, captions and coloured borders, as one RGB picture. Pictures are enlarged
// by whole factors, nearest neighbour, so every pixel stays the model's own. Text is the bitmap font of world/font.ts.

import { WorldlineError } from "../engine/errors.ts";
import { checkPicture, type Picture } from "../tokenizer/pixels.ts";
import { glyph, inked } from "./font.ts";
import { encodePng } from "./pictures.ts";

export type Rgb = readonly [number, number, number];

/** One cell: a picture alone, or with a border (0 ... 255 each) and a caption below; null stays empty. */
export type SheetCell = Picture | { readonly picture: Picture; readonly border?: Rgb; readonly caption?: string } | null;

/** What a sheet shows. `scale` enlarges the pictures, `text` the font (from the cell width where absent); both are whole numbers from 1 on. */
export interface SheetContent {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly label?: string; readonly cells: readonly SheetCell[] }[];
  readonly scale: number;
  readonly text?: number;
}

/** An RGB picture without alpha. */
export type RgbPicture = Picture & { readonly channels: 3 };

/** Border colours for right and wrong, told apart by people who do not see red and green alike through their brightness. */
export const borderColours = { right: [22, 140, 70], wrong: [224, 82, 66] } as const satisfies Record<string, Rgb>;

const paper: Rgb = [255, 255, 255];
const ink: Rgb = [28, 32, 38];
const gap = 8;
const frame = 4;
const largestSide = 20000;

/**
 * Draws a grid of pictures with captions; the cell size is that of the largest picture. Rows may hold fewer cells than there are columns, not
 * more. Throws for an empty sheet, a scale that is no whole number from 1 on, and a sheet over 20,000 pixels a side.
 */
export function sheet(content: SheetContent): RgbPicture {
  const plan = layout(content);
  const out = blank(plan.width, plan.height);
  for (const [c, title] of content.columns.entries()) drawLines(out, wrap(title, plan.chars), plan.left(c), gap, plan.text, plan.cellWidth);
  for (const [r, row] of content.rows.entries()) {
    const top = plan.tops[r];
    drawLines(out, plan.labels[r], gap, top + frame, plan.text);
    for (const [c, cell] of row.cells.entries()) {
      if (!cell) continue;
      const { picture, border, caption } = "picture" in cell ? cell : { picture: cell, border: undefined, caption: undefined };
      const x = plan.left(c) + frame + Math.floor((plan.cellWidth - 2 * frame - picture.width * content.scale) / 2);
      if (border) fill(out, x - frame, top, picture.width * content.scale + 2 * frame, picture.height * content.scale + 2 * frame, border);
      paste(out, picture, x, top + frame, content.scale);
      if (caption) drawLines(out, wrap(caption, plan.chars), plan.left(c), top + plan.cellHeight + 3, plan.text, plan.cellWidth);
    }
  }
  return out;
}

/**
 * Values per grid cell as red over a grey version of a picture (white where absent): 0 is clear, the largest value deepest. values [rows * columns]
 * row by row, grid [rows, columns]; the result has the picture's size, or 12 pixels a cell.
 */
export function heatMap(values: ArrayLike<number>, grid: readonly [number, number], over?: Picture): RgbPicture {
  const [rows, columns] = grid;
  if (!(Number.isInteger(rows) && Number.isInteger(columns) && rows > 0 && columns > 0 && rows * columns === values.length))
    throw new WorldlineError(`heatMap: ${values.length} values do not fill a grid of ${rows} x ${columns}; give one value per cell`);
  const list = Array.from(values);
  if (!list.every((v) => Number.isFinite(v) && v >= 0)) throw new WorldlineError("heatMap: values must be finite and not negative");
  if (over) checkPicture(over);
  const { width, height } = over ?? { width: columns * 12, height: rows * 12 };
  const out = blank(width, height);
  if (over) paste(out, over, 0, 0, 1);
  const largest = Math.max(...list, 1e-30);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = list[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)];
      const at = (y * width + x) * 3;
      const grey = 0.3 * out.data[at] + 0.59 * out.data[at + 1] + 0.11 * out.data[at + 2];
      const heat = (0.65 * value) / largest;
      for (let c = 0; c < 3; c++) out.data[at + c] = Math.round(grey * (1 - heat) + [214, 40, 40][c] * heat);
    }
  return out;
}

/** A picture `factor` times as large (a whole number), every pixel a square. */
export function enlarged(picture: Picture, factor: number): RgbPicture {
  const out = blank(picture.width * factor, picture.height * factor);
  paste(out, picture, 0, 0, factor);
  return out;
}

/** A picture as a data URL that an <img> shows without any file: lossless PNG, base64. */
export function pngDataUrl(picture: Picture): string {
  return `data:image/png;base64,${Buffer.from(encodePng(picture)).toString("base64")}`;
}

function layout(content: SheetContent) {
  const { columns, rows, scale } = content;
  const pictures = rows.flatMap(({ cells }) => cells.flatMap((cell) => (cell ? ["picture" in cell ? cell.picture : cell] : [])));
  checkContent(content, pictures);
  const inner = Math.max(...pictures.map((p) => p.width)) * scale;
  const text = content.text ?? (inner >= 100 ? 2 : 1);
  const columnCount = Math.max(columns.length, ...rows.map(({ cells }) => cells.length));
  const cellWidth = Math.max(inner, 6 * glyph.advance * text) + 2 * frame;
  const cellHeight = Math.max(...pictures.map((p) => p.height)) * scale + 2 * frame;
  const line = glyph.line * text;
  const chars = Math.max(1, Math.floor((cellWidth + text) / (glyph.advance * text)));
  const labels = rows.map(({ label }) => wrap(label ?? "", 14));
  const labelWidth = Math.max(0, ...labels.flat().map((words) => words.length)) * glyph.advance * text;
  const first = gap + (labelWidth ? labelWidth + gap : 0);
  const titles = Math.max(0, ...columns.map((title) => wrap(title, chars).length)) * line;
  let top = gap + (titles ? titles + 4 : 0);
  const tops = rows.map(({ cells }, r) => {
    const captions = cells.map((cell) => (cell && "picture" in cell && cell.caption ? wrap(cell.caption, chars).length : 0));
    const start = top;
    const caption = Math.max(0, ...captions) * line;
    top += Math.max(cellHeight + (caption && caption + 3), labels[r].length * line + frame) + gap;
    return start;
  });
  const width = first + columnCount * (cellWidth + gap);
  if (width > largestSide || top > largestSide)
    throw new WorldlineError(
      `sheet: the sheet would have ${width} x ${top} pixels; up to ${largestSide} a side are drawn, lower the scale`,
    );
  return { width, height: top, tops, cellWidth, cellHeight, text, chars, labels, left: (c: number) => first + c * (cellWidth + gap) };
}

function checkContent({ columns, rows, scale, text }: SheetContent, pictures: readonly Picture[]): void {
  for (const [name, value] of Object.entries({ scale, text: text ?? 1 }))
    if (!(Number.isInteger(value) && value >= 1)) throw new WorldlineError(`sheet: ${name} ${value} is not a whole number from 1 on`);
  if (!pictures.length) throw new WorldlineError("sheet: no row holds a picture; give at least one");
  pictures.forEach(checkPicture);
  const long = rows.findIndex(({ cells }) => columns.length > 0 && cells.length > columns.length);
  if (long >= 0)
    throw new WorldlineError(
      `sheet: row ${long + 1} has ${rows[long].cells.length} cells for ${columns.length} columns; name every column`,
    );
}

function blank(width: number, height: number): RgbPicture {
  const out = { width, height, channels: 3 as const, data: new Uint8Array(width * height * 3) };
  fill(out, 0, 0, width, height, paper);
  return out;
}

/** Breaks text at spaces into lines of at most `chars` characters; longer words are cut. */
function wrap(text: string, chars: number): string[] {
  const lines: string[] = [];
  for (let word of text.split(/\s+/).filter(Boolean)) {
    const last = lines.length - 1;
    if (last >= 0 && lines[last].length + 1 + word.length <= chars) {
      lines[last] += ` ${word}`;
      continue;
    }
    for (; word.length > chars; word = word.slice(chars)) lines.push(word.slice(0, chars));
    lines.push(word);
  }
  return lines;
}

/** Draws lines of text with (x, y) as the top left corner; centred where the room's width is given. */
function drawLines(out: RgbPicture, lines: readonly string[], x: number, y: number, size: number, room?: number): void {
  for (const [row, line] of lines.entries()) {
    const spare = room === undefined ? 0 : Math.floor((room - (line.length * glyph.advance - 1) * size) / 2);
    for (const [i, character] of [...line].entries())
      for (let v = 0; v < glyph.height; v++)
        for (let u = 0; u < glyph.width; u++)
          if (inked(character, u, v))
            fill(out, x + Math.max(0, spare) + (i * glyph.advance + u) * size, y + (row * glyph.line + v) * size, size, size, ink);
  }
}

function fill(out: RgbPicture, left: number, top: number, width: number, height: number, colour: Rgb): void {
  for (let y = Math.max(0, top); y < Math.min(out.height, top + height); y++)
    for (let x = Math.max(0, left); x < Math.min(out.width, left + width); x++) out.data.set(colour, (y * out.width + x) * 3);
}

/** Copies a picture, enlarged, onto the sheet; transparency is blended on white. */
function paste(out: RgbPicture, { width, height, channels = 3, data }: Picture, left: number, top: number, scale: number): void {
  for (let y = 0; y < height * scale; y++)
    for (let x = 0; x < width * scale; x++) {
      const from = (Math.floor(y / scale) * width + Math.floor(x / scale)) * channels;
      const to = ((top + y) * out.width + left + x) * 3;
      const alpha = channels === 4 ? data[from + 3] / 255 : 1;
      for (let c = 0; c < 3; c++) out.data[to + c] = Math.round(data[from + c] * alpha + 255 * (1 - alpha));
    }
}

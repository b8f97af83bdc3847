// Contact sheets of key frames: the chosen frames in rows with number and time, and under them the curve of motion with a line at each.
import { type Picture, resizePicture } from "../tokenizer/pixels.ts";
import { type Rgb, type RgbPicture, sheet } from "./sheets.ts";

/** What a contact sheet shows. Curve values are motion per frame; `threshold` is drawn as a dashed line, cuts as lines of their own colour. */
export interface ContactSheet {
  readonly frames: readonly { readonly index: number; readonly time: number; readonly picture: Picture }[];
  readonly curve: readonly number[];
  readonly cuts: readonly number[];
  readonly threshold?: number;
}

const colours = { curve: [60, 90, 150], key: [224, 120, 30], cut: [200, 40, 60], threshold: [150, 150, 150] } satisfies Record<string, Rgb>;
const thumbSide = 192;
const perRow = 8;
const chartHeight = 120;
const margin = 8;

/** A picture small enough for a sheet: no side over 192 pixels. */
export function thumbnail(picture: Picture): Picture {
  const scale = thumbSide / Math.max(picture.width, picture.height);
  if (scale >= 1) return picture;
  const side = (n: number) => Math.max(1, Math.round(n * scale));
  return resizePicture(picture, side(picture.width), side(picture.height));
}

/** Draws the sheet; needs at least one frame. */
export function contactSheet({ frames, curve, cuts, threshold }: ContactSheet): RgbPicture {
  const cells = frames.map(({ index, time, picture }) => ({ picture: thumbnail(picture), caption: `${index} at ${time.toFixed(2)} s` }));
  const rows = Array.from({ length: Math.ceil(cells.length / perRow) }, (_, r) => ({ cells: cells.slice(r * perRow, (r + 1) * perRow) }));
  const largest = Math.max(...cells.map(({ picture }) => Math.max(picture.width, picture.height)));
  const top = sheet({ columns: [], rows, scale: Math.max(1, Math.floor(128 / largest)) });
  const out = blank(Math.max(top.width, 480), top.height + chartHeight + margin);
  for (let y = 0; y < top.height; y++) out.data.set(top.data.subarray(y * top.width * 3, (y + 1) * top.width * 3), y * out.width * 3);
  drawCurve(out, top.height, curve, { keys: frames.map(({ index }) => index), cuts, threshold });
  return out;
}

function blank(width: number, height: number): RgbPicture {
  return { width, height, channels: 3, data: new Uint8Array(width * height * 3).fill(255) };
}

type Marks = { readonly keys: readonly number[]; readonly cuts: readonly number[]; readonly threshold?: number };

function drawCurve(out: RgbPicture, top: number, curve: readonly number[], { keys, cuts, threshold }: Marks): void {
  const room = out.width - 2 * margin;
  const largest = curve.reduce((a, b) => Math.max(a, b), 1e-9);
  const x = (frame: number) => margin + Math.round((frame * (room - 1)) / Math.max(1, curve.length - 1));
  const y = (value: number) => top + chartHeight - 1 - Math.round((Math.min(1, value / largest) * (chartHeight - 1)) | 0);
  for (const [frames, colour] of [[cuts, colours.cut] as const, [keys, colours.key] as const])
    for (const frame of frames) column(out, x(frame), top, top + chartHeight - 1, colour);
  if (threshold !== undefined && threshold <= largest)
    for (let u = margin; u < margin + room; u++) if (u % 6 < 3) column(out, u, y(threshold), y(threshold), colours.threshold);
  for (let u = margin, before = y(curve[0] ?? 0); u < margin + room; u++) {
    const from = Math.floor(((u - margin) * curve.length) / room);
    const to = Math.max(from + 1, Math.floor(((u + 1 - margin) * curve.length) / room));
    const now = y(Math.max(...curve.slice(from, to)));
    column(out, u, Math.min(before, now), Math.max(before, now), colours.curve);
    before = now;
  }
}

function column(out: RgbPicture, x: number, top: number, bottom: number, colour: Rgb): void {
  for (let y = top; y <= bottom; y++) out.data.set(colour, (y * out.width + x) * 3);
}

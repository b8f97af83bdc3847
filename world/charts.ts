// Line charts, histograms and scatter plots as inline SVG without scripts: axes with round ticks, linear or logarithmic, series with optional 95%
// whiskers, dashed reference lines and a legend in HTML. Colours come from the page's style through the tone classes.

import { escapeHtml, figure } from "./markup.ts";

export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

export interface Series {
  readonly name: string;
  /** Style class that sets the colour. */
  readonly tone: string;
  readonly points: readonly ChartPoint[];
  /** A horizontal dashed line over the whole width, drawn at the first point's y. */
  readonly reference?: boolean;
}

export interface Axis {
  readonly title: string;
  /** How a value is written; where absent, ticks are written alike, with as many decimals as their step needs. */
  readonly format?: (value: number) => string;
  readonly ticks?: readonly number[];
  readonly from?: number;
  readonly log?: boolean;
}

const size = { width: 420, height: 270 };
const room = { left: 62, right: 408, top: 12, bottom: 226 };

/** A chart with its title as caption, or nothing where no series has a finite point. On a logarithmic axis only values above 0 are drawn. */
export function lineChart(title: string, xAxis: Axis, yAxis: Axis, given: readonly Series[]): string {
  const drawn = ({ x, y }: ChartPoint) => Number.isFinite(x) && Number.isFinite(y) && (!xAxis.log || x > 0) && (!yAxis.log || y > 0);
  const series = given.map((s) => ({ ...s, points: s.points.filter(drawn) })).filter((s) => s.points.length);
  if (!series.length) return "";
  const points = series.flatMap((s) => s.points);
  const bars = points.flatMap(({ low, high }) => [low, high].filter((v) => v !== undefined));
  const x = scale(
    xAxis,
    series.filter((s) => !s.reference).flatMap((s) => s.points.map((p) => p.x)),
    room.left + 6,
    room.right - 6,
  );
  const y = scale(yAxis, [...points.map((p) => p.y), ...bars], room.bottom, room.top);
  const parts = [...yAxisMarks(yAxis, y), ...xAxisMarks(xAxis, x), ...series.map((s) => seriesMarks(s, x.at, y.at))];
  return chart(title, series.map(inWords(xAxis, yAxis)).join("; "), parts, series);
}

/** Counts in equal bins from `low` to `high` as bars, the later series in front of the earlier; nothing where every count is 0. */
export function barChart(
  title: string,
  axes: { readonly x: string; readonly y: string },
  { low, high }: { readonly low: number; readonly high: number },
  series: readonly { readonly name: string; readonly tone: string; readonly counts: readonly number[] }[],
): string {
  const most = Math.max(0, ...series.flatMap((s) => s.counts));
  if (most === 0) return "";
  // One value alone gets a bar in the middle of a range of its own.
  const [from, to] = high > low ? [low, high] : [low - 0.5, low + 0.5];
  const x = scale({ title: axes.x }, [from, to], room.left + 6, room.right - 6);
  const y = scale({ title: axes.y, ticks: roundTicks(0, most, Math.min(6, most)) }, [0, most], room.bottom, room.top);
  const bars = series.map(({ tone, counts }) => {
    const list = high > low ? counts : [counts.reduce((a, c) => a + c, 0)];
    const step = (to - from) / list.length;
    return list.map((c, i) => {
      const [left, right] = [x.at(from + i * step) + 0.5, x.at(from + (i + 1) * step) - 0.5];
      return c
        ? `<rect class="${escapeHtml(tone)}" x="${n(left)}" y="${n(y.at(c))}" width="${n(right - left)}" height="${n(room.bottom - y.at(c))}"/>`
        : "";
    });
  });
  const parts = [...yAxisMarks({ title: axes.y }, y), ...xAxisMarks({ title: axes.x }, x), ...bars.flat()];
  const words = series.map(({ name, counts }) => `${name} ${counts.join(", ")}`).join("; ");
  return chart(title, `from ${figure(from, 2)} to ${figure(to, 2)}: ${words}`, parts, series);
}

/** A figure with its marks and a legend; `words` is what it shows for those who do not see it. */
function chart(title: string, words: string, marks: readonly string[], series: readonly { name: string; tone: string }[]): string {
  const legend = series.map((s) => `<li><span class="swatch ${escapeHtml(s.tone)}"></span>${escapeHtml(s.name)}</li>`).join("");
  return `<figure class="chart"><figcaption>${escapeHtml(title)}</figcaption>
<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeHtml(`${title}: ${words}`)}">
${marks.filter(Boolean).join("\n")}
</svg>${legend && `\n<ul class="legend">${legend}</ul>`}</figure>`;
}

/** Points over two axes of one range with the line of equal values, or nothing without a finite point. */
export function scatterChart(
  title: string,
  xTitle: string,
  yTitle: string,
  given: readonly { readonly x: number; readonly y: number }[],
): string {
  const points = given.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  if (!points.length) return "";
  const values = points.flatMap(({ x, y }) => [x, y]);
  const ticks = roundTicks(Math.min(...values), Math.max(...values), 5);
  const x = scale({ title: xTitle, ticks }, values, room.left + 6, room.right - 6);
  const y = scale({ title: yTitle, ticks }, values, room.bottom, room.top);
  const ends = [ticks[0], ticks[ticks.length - 1]];
  const parts = [
    ...yAxisMarks({ title: yTitle }, y),
    ...xAxisMarks({ title: xTitle }, x),
    `<line class="line dashed base" x1="${n(x.at(ends[0]))}" y1="${n(y.at(ends[0]))}" x2="${n(x.at(ends[1]))}" y2="${n(y.at(ends[1]))}"/>`,
    ...points.map((p) => `<circle class="cdm" cx="${n(x.at(p.x))}" cy="${n(y.at(p.y))}" r="3"/>`),
  ];
  return chart(title, `${points.length} points, ${yTitle} over ${xTitle}`, parts, []);
}

/** Means of neighbouring points so that at most `most` remain: what a curve of many noisy steps shows at this size. */
export function thinned(points: readonly ChartPoint[], most: number): ChartPoint[] {
  const group = Math.max(1, Math.ceil(points.length / most));
  const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
  return Array.from({ length: Math.ceil(points.length / group) }, (_, i) => {
    const part = points.slice(i * group, (i + 1) * group);
    return { x: mean(part.map((p) => p.x)), y: mean(part.map((p) => p.y)) };
  });
}

/** Round numbers (1, 2, 5 x 10^k) that cover low ... high with about `count` steps; the outer two enclose the range. */
export function roundTicks(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => span / s <= count) ?? 10 * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** 1, 2, 5 x 10^k from the last at or below low to the first at or above high. */
export function logTicks(low: number, high: number): number[] {
  const all: number[] = [];
  for (let k = Math.floor(Math.log10(low)) - 1; k <= Math.ceil(Math.log10(high)) + 1; k++)
    for (const f of [1, 2, 5]) all.push(Number((f * 10 ** k).toPrecision(3)));
  const first = all.findLastIndex((t) => t <= low * (1 + 1e-9));
  const last = all.findIndex((t) => t >= high * (1 - 1e-9));
  return all.slice(first, Math.max(last, first + 1) + 1);
}

interface Scale {
  readonly ticks: readonly number[];
  readonly at: (value: number) => number;
}

function scale(axis: Axis, values: readonly number[], start: number, end: number): Scale {
  const low = Math.min(...values, ...(axis.from === undefined ? [] : [axis.from]));
  const high = Math.max(...values);
  const ticks = axis.ticks ?? (axis.log ? logTicks(low, high) : roundTicks(low, high, 6));
  const to = axis.log ? Math.log : (v: number) => v;
  const [from, until] = [to(Math.min(ticks[0], low)), to(Math.max(ticks[ticks.length - 1], high))];
  return { ticks, at: (value) => start + ((to(value) - from) / (until - from || 1)) * (end - start) };
}

const n = (value: number) => value.toFixed(1);

/** Ticks as text: by the axis's own format, or all with as many decimals as one of them needs; very small ones as powers of ten. */
function tickTexts({ format, log }: Axis, ticks: readonly number[]): string[] {
  if (format) return ticks.map(format);
  if (log) return ticks.map((tick) => (tick < 1e-3 ? tick.toExponential() : String(tick)));
  if (Math.max(...ticks.map(Math.abs)) < 1e-3) return ticks.map((tick) => (tick ? tick.toExponential() : "0"));
  const decimals = Math.max(...ticks.map((tick) => (/\.(\d+)$/.exec(String(tick))?.[1] ?? "").length));
  return ticks.map((tick) => figure(tick, decimals));
}

function yAxisMarks(axis: Axis, { ticks, at }: Scale): string[] {
  const middle = (room.top + room.bottom) / 2;
  const texts = tickTexts(axis, ticks);
  return [
    ...ticks.map((tick) => `<line class="rule" x1="${room.left}" x2="${room.right}" y1="${n(at(tick))}" y2="${n(at(tick))}"/>`),
    ...ticks.map((tick, i) => `<text x="${room.left - 6}" y="${n(at(tick) + 4)}" text-anchor="end">${escapeHtml(texts[i])}</text>`),
    `<text class="axis" transform="translate(12 ${middle}) rotate(-90)" text-anchor="middle">${escapeHtml(axis.title)}</text>`,
  ];
}

function xAxisMarks(axis: Axis, { ticks, at }: Scale): string[] {
  const texts = tickTexts(axis, ticks);
  return [
    ...ticks.map((tick, i) => `<text x="${n(at(tick))}" y="${room.bottom + 17}" text-anchor="middle">${escapeHtml(texts[i])}</text>`),
    `<text class="axis" x="${(room.left + room.right) / 2}" y="${size.height - 6}" text-anchor="middle">${escapeHtml(axis.title)}</text>`,
  ];
}

function seriesMarks({ tone, points, reference }: Series, x: (v: number) => number, y: (v: number) => number): string {
  if (reference) {
    const at = n(y(points[0].y));
    return `<line class="line dashed ${escapeHtml(tone)}" x1="${room.left}" x2="${room.right}" y1="${at}" y2="${at}"/>`;
  }
  const path = points.map((p, i) => `${i ? "L" : "M"}${n(x(p.x))} ${n(y(p.y))}`).join("");
  const whiskers = points.flatMap((p) =>
    p.low === undefined || p.high === undefined
      ? []
      : [
          `<path class="line thin ${escapeHtml(tone)}" d="M${n(x(p.x))} ${n(y(p.low))}V${n(y(p.high))}M${n(x(p.x) - 4)} ${n(y(p.low))}h8M${n(x(p.x) - 4)} ${n(y(p.high))}h8"/>`,
        ],
  );
  const dots =
    points.length <= 12 ? points.map((p) => `<circle class="${escapeHtml(tone)}" cx="${n(x(p.x))}" cy="${n(y(p.y))}" r="4"/>`) : [];
  return [`<path class="line ${escapeHtml(tone)}" d="${path}"/>`, ...whiskers, ...dots].join("");
}

const inWords =
  (xAxis: Axis, yAxis: Axis) =>
  ({ name, points, reference }: Series) => {
    const shown = reference ? points.slice(0, 1) : points.length > 12 ? [points[0], points[points.length - 1]] : points;
    const [x, y] = [xAxis.format ?? figure, yAxis.format ?? figure];
    return `${name} ${shown.map((p) => (reference ? y(p.y) : `${y(p.y)} at ${x(p.x)}`)).join(", ")}`;
  };

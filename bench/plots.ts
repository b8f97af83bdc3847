// Plots of a report as one HTML page of inline SVG, or as SVG alone: a roofline of all rows, and speed over size for each kernel. Nothing is
// loaded from elsewhere; the text is in the page, so that it can be searched and copied.
import type { Row } from "./measure.ts";
import { cells, columns, digits, duration, headerLines, type Report } from "./report.ts";

const W = 860;
const H = 420;
const box = { left: 62, right: 16, top: 30, bottom: 44 };
const colours = ["#2563a8", "#c2571a", "#2e7d46", "#8a3fa0", "#a33", "#0f7f87", "#7a6a10", "#555"];

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly label: string;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  /** Joins the points; else they stand alone. */
  readonly line?: boolean;
  readonly dashed?: boolean;
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
}

/** A chart with logarithmic axes. */
export function svgChart(chart: Chart): string {
  const points = chart.series.flatMap((s) => s.points).filter((p) => p.x > 0 && p.y > 0);
  if (points.length === 0) return "";
  const range = (values: number[]) => [Math.log10(Math.min(...values)) - 0.1, Math.log10(Math.max(...values)) + 0.1] as const;
  const [x0, x1] = range(points.map((p) => p.x));
  const [y0, y1] = range(points.map((p) => p.y));
  const px = (x: number) => box.left + ((Math.log10(x) - x0) / (x1 - x0)) * (W - box.left - box.right);
  const py = (y: number) => H - box.bottom - ((Math.log10(y) - y0) / (y1 - y0)) * (H - box.top - box.bottom);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${W} ${H}" width="${W}" height="${H}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${W}" height="${H}" fill="#fff"/>`,
    `<text x="${box.left}" y="18" font-size="14" font-weight="600">${escaped(chart.title)}</text>`,
  ];
  for (const t of ticks(x0, x1)) {
    const x = px(t).toFixed(1);
    parts.push(`<line x1="${x}" x2="${x}" y1="${box.top}" y2="${H - box.bottom}" stroke="#e4e4e4"/>`);
    parts.push(`<text x="${x}" y="${H - box.bottom + 16}" text-anchor="middle" fill="#555">${short(t)}</text>`);
  }
  for (const t of ticks(y0, y1)) {
    const y = py(t).toFixed(1);
    parts.push(`<line x1="${box.left}" x2="${W - box.right}" y1="${y}" y2="${y}" stroke="#e4e4e4"/>`);
    parts.push(`<text x="${box.left - 6}" y="${Number(y) + 4}" text-anchor="end" fill="#555">${short(t)}</text>`);
  }
  parts.push(`<text x="${(W + box.left) / 2}" y="${H - 10}" text-anchor="middle" fill="#333">${escaped(chart.x)}</text>`);
  parts.push(`<text transform="rotate(-90)" x="${-H / 2}" y="14" text-anchor="middle" fill="#333">${escaped(chart.y)}</text>`);
  chart.series.forEach((s, i) => {
    const colour = s.dashed ? "#888" : colours[i % colours.length];
    const shown = s.points.filter((p) => p.x > 0 && p.y > 0);
    if (s.line && shown.length > 1) {
      const path = shown.map((p) => `${px(p.x).toFixed(1)},${py(p.y).toFixed(1)}`).join(" ");
      parts.push(
        `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"${s.dashed ? ' stroke-dasharray="5 4"' : ""}/>`,
      );
    }
    if (!s.dashed)
      for (const p of shown)
        parts.push(
          `<circle cx="${px(p.x).toFixed(1)}" cy="${py(p.y).toFixed(1)}" r="3.5" fill="${colour}"><title>${escaped(p.label)}</title></circle>`,
        );
    const y = box.top + 14 + i * 16;
    parts.push(
      `<rect x="${W - 190}" y="${y - 9}" width="10" height="10" fill="${colour}"/><text x="${W - 174}" y="${y}">${escaped(s.name)}</text>`,
    );
  });
  return [...parts, "</svg>"].join("\n");
}

/** Powers of ten within a range of logarithms, with 2 and 5 between where there are few. */
function ticks(low: number, high: number): number[] {
  const steps = high - low < 2.5 ? [1, 2, 5] : [1];
  const all: number[] = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) for (const s of steps) all.push(s * 10 ** e);
  return all.filter((t) => Math.log10(t) >= low && Math.log10(t) <= high);
}

function short(v: number): string {
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const)
    if (v >= size) return `${+(v / size).toPrecision(2)}${unit}`;
  return `${+v.toPrecision(2)}`;
}

const label = (r: Row) =>
  `${r.kernel}:${r.variant} ${r.types} ${r.case} ${r.cache}: ${duration(r.median!)}, ${r.gflops ? `${digits(r.gflops)} GFLOP/s` : ""} ${r.gbs ? `${digits(r.gbs)} GB/s` : ""}`;

/** GFLOP/s over operations per byte, under the two ceilings. */
export function roofline(report: Report): Chart {
  const timed = report.rows.filter((r) => r.median && r.flops && r.bytes);
  const peak = report.ceilings.arithmetic.f32 ?? 0;
  const { copy } = report.ceilings;
  const at = timed.map((r) => r.flops! / r.bytes!);
  const [low, high] = [Math.min(0.05, ...at), Math.max(200, ...at)];
  const roof = [low, peak / copy, high].map((x) => ({ x, y: Math.min(peak, x * copy), label: "" }));
  const kernels = [...new Set(timed.map((r) => r.kernel))];
  return {
    title: `Roofline: ${report.adapter}`,
    x: "operations per byte",
    y: "GFLOP/s (median)",
    series: [
      { name: `ceiling ${digits(peak)} GFLOP/s, ${digits(copy)} GB/s`, line: true, dashed: true, points: roof },
      ...kernels.map((name) => ({
        name,
        points: timed.filter((r) => r.kernel === name).map((r) => ({ x: r.flops! / r.bytes!, y: r.gflops!, label: label(r) })),
      })),
    ],
  };
}

const seriesOf = (r: Row) => `${r.variant}${r.types ? ` ${r.types}` : ""}${r.cache === "warm" ? " warm" : ""}`;

/** Speed over size, one series a variant: GFLOP/s where operations are counted, else GB/s. */
export function speedOverSize(rows: readonly Row[]): Chart {
  const timed = rows.filter((r) => r.median && (r.flops || r.bytes));
  const inFlops = timed.every((r) => r.flops);
  const names = [...new Set(timed.map((r) => seriesOf(r)))];
  return {
    title: rows[0]?.kernel ?? "",
    x: inFlops ? "operations" : "bytes",
    y: `${inFlops ? "GFLOP/s" : "GB/s"} (median)`,
    series: names.map((name) => ({
      name,
      line: true,
      points: timed
        .filter((r) => seriesOf(r) === name)
        .map((r) => ({ x: (inFlops ? r.flops : r.bytes)!, y: (inFlops ? r.gflops : r.gbs)!, label: label(r) }))
        .sort((a, b) => a.x - b.x),
    })),
  };
}

/** All charts of a report that have points. */
export function charts(report: Report): Chart[] {
  const kernels = [...new Set(report.rows.map((r) => r.kernel))];
  const each = kernels.map((name) => speedOverSize(report.rows.filter((r) => r.kernel === name)));
  const all = report.rows.some((r) => r.median && r.flops && r.bytes) ? [roofline(report), ...each] : each;
  return all.filter((c) => c.series.some((s) => s.points.length > 0));
}

/** A page with the charts and the table. */
export function htmlPage(report: Report): string {
  const row = (texts: readonly string[], tag: string) => `<tr>${texts.map((t) => `<${tag}>${escaped(t)}</${tag}>`).join("")}</tr>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>worldline bench</title><style>
body { font: 14px system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 12px; white-space: nowrap } td, th { padding: 2px 8px; border-bottom: 1px solid #ddd; text-align: right }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left } svg { display: block; margin: 1.5em 0; max-width: 100%; height: auto } div { overflow-x: auto }
</style></head><body>
<h1>worldline bench</h1>
${headerLines(report)
  .map((l) => `<p>${escaped(l)}</p>`)
  .join("\n")}
${charts(report).map(svgChart).join("\n")}
<div><table>${row(columns, "th")}
${report.rows.map((r) => row(cells(r), "td")).join("\n")}
</table></div></body></html>
`;
}

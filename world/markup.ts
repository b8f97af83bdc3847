// HTML pieces of the report: escaped text, numbers in one style, tables, and the intervals as small inline SVG bars. Every function returns markup
// in which all text it was given is escaped.

import type { Rate } from "./report.ts";
import { style } from "./report_style.ts";

/** Text as HTML or attribute content; control characters that HTML forbids become the replacement character. */
export function escapeHtml(text: unknown): string {
  return String(text)
    .replace(/[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\u{10000}-\u{1fffd}]/gu, "\ufffd")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A whole document that loads nothing: `title` is plain text, `main` markup. */
export function documentHtml(title: string, main: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${main}
</main>
</body>
</html>
`;
}

const known = (value: number | undefined): value is number => typeof value === "number" && Number.isFinite(value);

/** 0.336 as 33.6%. */
export const percent = (share: number | undefined): string => (known(share) ? `${(100 * share).toFixed(1)}%` : "\u2013");

/** A number with thousands separators and `digits` decimals (as many as needed where absent, whole from 1,000 on). */
export function figure(value: number | undefined, digits?: number): string {
  if (!known(value)) return "\u2013";
  const shown =
    digits ?? (Number.isInteger(value) || Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 0.1 ? 2 : 4);
  const [whole, fraction] = value.toFixed(shown).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",").replace("-", "\u2212") + (fraction ? `.${fraction}` : "");
}

/** A rate as a value with its interval below, or a dash where nothing was measured. */
export function rateText(rate: Rate | undefined): string {
  if (!rate?.n) return "\u2013";
  return `<b>${percent(rate.value)}</b> <span class="interval">${interval(rate)}</span>`;
}

/** The 95% interval in words: 27.4 to 40.4%. */
export const interval = (rate: Rate): string => `${(100 * rate.low).toFixed(1)} to ${percent(rate.high)}`;

/** The smallest of 5, 10, 25, 50, 75 and 100% that holds every rate: the end of a bar axis. */
export function axisEnd(rates: readonly (Rate | undefined)[]): number {
  const largest = Math.max(0, ...rates.map((rate) => (rate?.n ? rate.high : 0)));
  return [0.05, 0.1, 0.25, 0.5, 0.75, 1].find((end) => largest <= end) ?? 1;
}

/** A bar from 0 to `end` as wide as its place: fill up to the value, whisker over the interval, a line at `mark` where given. */
export function bar(rate: Rate | undefined, tone: string, end = 1, mark?: number): string {
  const x = (share: number) => `${((100 * share) / end).toFixed(2)}%`;
  const parts = [`<rect class="track" x="0" y="3" width="100%" height="10"/>`];
  if (rate?.n) {
    parts.push(`<rect class="${escapeHtml(tone)}" x="0" y="3" width="${x(rate.value)}" height="10"/>`);
    parts.push(`<line class="whisker" x1="${x(rate.low)}" x2="${x(rate.high)}" y1="8" y2="8"/>`);
    for (const share of [rate.low, rate.high]) parts.push(`<line class="whisker" x1="${x(share)}" x2="${x(share)}" y1="5" y2="11"/>`);
  }
  if (mark !== undefined) parts.push(`<line class="mark" x1="${x(mark)}" x2="${x(mark)}" y1="0" y2="16"/>`);
  const label = rate?.n ? `${percent(rate.value)}, 95% interval ${interval(rate)}` : "not measured";
  return `<svg class="bar" width="100%" height="16" role="img" aria-label="${label}">${parts.join("")}</svg>`;
}

/** A column of a table; numbers are right-aligned. */
export interface Column {
  readonly title: string;
  readonly number?: boolean;
}

/** A table in its own scroller. Cells are markup already; the first cell of each row is its header. */
export function table(caption: string, columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  if (!rows.length) return "";
  const kind = (c: number) => (columns[c]?.number ? ` class="number"` : "");
  const head = columns.map(({ title }, c) => `<th scope="col"${kind(c)}>${escapeHtml(title)}</th>`).join("");
  const body = rows.map((cells) => {
    const [first, ...others] = cells;
    return `<tr><th scope="row">${first}</th>${others.map((cell, c) => `<td${kind(c + 1)}>${cell}</td>`).join("")}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="${escapeHtml(caption)}"><table><caption>${escapeHtml(caption)}</caption>
<thead><tr>${head}</tr></thead>
<tbody>${body.join("\n")}</tbody></table></div>`;
}

/** A titled part of the page with an introduction in plain words; left out where the content is empty. */
export function section(title: string, introduction: string, ...content: string[]): string {
  const shown = content.filter(Boolean);
  if (!shown.length) return "";
  const lead = introduction ? `<p>${escapeHtml(introduction)}</p>\n` : "";
  return `<section><h2>${escapeHtml(title)}</h2>\n${lead}${shown.join("\n")}\n</section>`;
}

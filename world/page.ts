// The frame that every stage's report shares: one HTML file with a title, sections, pictures as data URLs and, last, how it was made; nothing outside is loaded.
import type { Picture } from "../tokenizer/pixels.ts";
import { thumbnail } from "./contact_sheet.ts";
import { documentHtml, escapeHtml, section, table } from "./markup.ts";
import { pngDataUrl } from "./sheets.ts";

/** Where a run came from, shown at the end: name and value (command, seed, device, versions). */
export type Origin = Readonly<Record<string, string>>;

/** A page. `lead` is one sentence in plain text; sections are markup, empty ones left out. */
export function pageHtml(title: string, lead: string, sections: readonly string[], origin: Origin): string {
  const facts = table(
    "How it was made",
    [{ title: "what" }, { title: "value" }],
    Object.entries(origin).map(([name, value]) => [escapeHtml(name), `<code>${escapeHtml(value)}</code>`]),
  );
  const opening = `<h1>${escapeHtml(title)}</h1>`;
  const answer = lead ? `<p class="answer">${escapeHtml(lead)}</p>` : "";
  return documentHtml(title, [opening, answer, ...sections, section("Run", "", facts)].filter(Boolean).join("\n"));
}

/** A picture of a row: made small where it is large; `note` stands below its name. `chosen` frames it. */
export interface Shot {
  readonly name: string;
  readonly picture: Picture;
  readonly note?: string;
  readonly chosen?: boolean;
}

/** A row of pictures with the words above it. */
export interface ShotRow {
  readonly heading: string;
  readonly list: readonly Shot[];
  readonly note?: string;
}

/** Pictures side by side under a heading; `note` stands below it. */
export function shots(heading: string, list: readonly Shot[], note = ""): string {
  const cells = list.map(({ name, picture, note = "", chosen }) => {
    const url = pngDataUrl(thumbnail(picture));
    const alt = `${name}: ${heading}`;
    return `<figure${chosen ? ' class="chosen"' : ""}><img src="${url}" alt="${escapeHtml(alt)}" loading="lazy"><figcaption>${escapeHtml(name)}<br>${escapeHtml(note)}</figcaption></figure>`;
  });
  const words = note ? `<p class="note">${escapeHtml(note)}</p>` : "";
  return `<div><h3>${escapeHtml(heading)}</h3>${words}<div class="shots">${cells.join("")}</div></div>`;
}

/** Several `shots` of few pictures beside each other where the page is wide enough. */
export const gallery = (list: readonly string[]): string => (list.length ? `<div class="gallery">${list.join("\n")}</div>` : "");

// The style sheet of the report: one narrow column, light or dark by the reader's setting, tabular figures, and one colour (tone) per system.

export const style = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #5a6470; --rule: #d9dee4; --panel: #f4f6f8; --track: #e7ebef;
  --right: #16803c; --wrong: #c8321f; --base: #7b8794; --ft: #2563c9; --weighted: #0b8a8f; --synthetic: #8b4fc4; --cwm: #d9650b; --cwm4: #c04a12;
  --cwm8: #a02e14; --cdm: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #a3adb8; --rule: #353c45; --panel: #1d2228; --track: #2b323a;
  --right: #48c774; --wrong: #ff7a66; --base: #8d99a6; --ft: #6ea3f7; --weighted: #3fc1c6; --synthetic: #bd8df0; --cwm: #f59547; --cwm4: #f2794a;
  --cwm8: #f0625a; --cdm: #6cc070; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0 1rem; max-width: 46rem; }
.answer { font-size: 1.1rem; }
.note, .interval, caption, figcaption { color: var(--soft); font-size: .8125rem; }
.interval { white-space: nowrap; display: block; font-weight: 400; }
.terms { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .75rem; max-width: 46rem; margin: 1rem 0; }
.terms dt { font-weight: 600; } .terms dd { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.figures li { background: var(--panel); border-radius: .5rem; padding: .75rem .9rem; border-left: .25rem solid currentColor; }
.figures .value { display: block; font-size: 1.9rem; font-weight: 650; line-height: 1.2; }
.figures .name { display: block; color: var(--ink); font-size: .875rem; line-height: 1.35; margin-top: .2rem; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
.scroll:focus-visible { outline: 2px solid var(--ft); }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .8125rem; color: var(--soft); vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 500; }
.number { text-align: right; } thead .number { white-space: nowrap; }
.bar { display: block; min-width: 6rem; margin-top: .15rem; }
rect.track { fill: var(--track); } rect, circle { fill: currentColor; }
.whisker { stroke: var(--ink); stroke-width: 1.5; } .mark { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 2; }
.base, .copy { color: var(--base); } .ft { color: var(--ft); } .ft_weighted { color: var(--weighted); } .ft_synthetic { color: var(--synthetic); }
.cwm { color: var(--cwm); } .cwm_k4 { color: var(--cwm4); } .cwm_k8 { color: var(--cwm8); } .cdm { color: var(--cdm); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem; }
.chart { margin: 0; max-width: 32rem; } .chart svg { display: block; width: 100%; height: auto; }
.chart text { fill: var(--soft); font-size: 12px; } .rule { stroke: var(--rule); }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .thin { stroke-width: 1.5; } .dashed { stroke-dasharray: 5 4; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1rem; margin: .25rem 0 0; padding: 0; font-size: .8125rem; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin-right: .4em; background: currentColor; }
.met { color: var(--right); font-weight: 600; white-space: nowrap; } .missed { color: var(--wrong); font-weight: 600; white-space: nowrap; }
.pictures th, .pictures td { padding: .5rem .3rem .25rem; } .pictures tbody tr:first-child > * { border-bottom: 0; }
.pictures tbody th { width: 30%; min-width: 5.5rem; overflow-wrap: anywhere; } .pictures small { color: var(--soft); font-weight: 400; display: block; }
.pixel, svg image { image-rendering: pixelated; }
.pixel { display: block; width: clamp(2.75rem, 12vw, 6.75rem); height: auto; border: 3px solid var(--rule); }
.pixel.right { border-color: var(--right); } .pixel.wrong { border-color: var(--wrong); }
.verdict { font-size: .75rem; display: block; white-space: nowrap; } .verdict.right { color: var(--right); } .verdict.wrong { color: var(--wrong); }
details { margin: 0 0 .5rem; } summary { cursor: pointer; color: var(--soft); font-size: .8125rem; }
.strip { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0; padding: 0; list-style: none; font-size: .75rem; }
.strip .pixel { width: 4.5rem; } .strip li { width: 4.5rem; } .strip li.heat { width: 7rem; } .heat svg { display: block; width: 100%; height: auto; }
.heat text { font-size: 10px; font-weight: 600; fill: #000; stroke: #fff; stroke-width: 2.5px; paint-order: stroke; text-anchor: middle; }
.heat rect { fill: #d62828; }
code, pre { font: .875rem/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { background: var(--panel); padding: .75rem; border-radius: .4rem; margin: .5rem 0 1rem; }
.shots { display: flex; flex-wrap: wrap; gap: .75rem; margin-bottom: 1rem; } .shots figure { margin: 0; width: 9rem; } .shots figcaption { overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18.75rem), 1fr)); gap: 0 .75rem; }
.shots img { width: 100%; image-rendering: pixelated; display: block; border: 3px solid var(--rule); } .shots .chosen img { border-color: var(--right); }
.sheet { display: block; max-width: 100%; height: auto; background: #fff; }
@media (max-width: 34rem) { body { font-size: 15px; } main { padding: 1rem .75rem 3rem; } h1 { font-size: 1.4rem; } table { font-size: .8125rem; }
  th, td { padding: .35rem .35rem; } .interval { font-size: .7rem; } .bar { min-width: 4.5rem; } .terms { grid-template-columns: 1fr; }
  .terms dd { margin-bottom: .4rem; } .pictures th, .pictures td { padding-left: .15rem; padding-right: .15rem; } .figures .value { font-size: 1.6rem; }
  .verdict { font-size: .65rem; } .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); } .pixel { border-width: 2px; } }
@media print { .scroll { overflow: visible; } section { break-inside: avoid-page; } }
`;

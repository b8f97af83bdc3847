// The paper's own numbers (arXiv 2506.06006v3) to stand beside ours: Table 2 (judge GPT-4o), Table 8 (L1, CLIP-I, CLIP-T, DINO), Table 3 (the
// judge's two scores) and Table 1 (text of the dynamics models). Its judge is another one, asked in other words.

/** One system's values: in the order of the parts of AURORA-Bench, then the average where the paper prints one. */
export interface PaperRow {
  readonly system: string;
  readonly values: readonly number[];
}

const parts = ["magicbrush", "ag", "something", "whatsup", "kubric"] as const;

/** A row's value for a part of the benchmark or "all"; undefined where the paper has none. */
export function paperValue(row: PaperRow, part: string): number | undefined {
  return row.values[part === "all" ? parts.length : parts.indexOf(part as (typeof parts)[number])];
}

const row = (system: string, ...values: number[]): PaperRow => ({ system, values });

const table8: readonly (readonly [system: string, l1: number[], clipI: number[], clipT: number[], dino: number[]])[] = [
  [
    "copy",
    [0.027, 0.069, 0.135, 0.039, 0.011],
    [0.959, 0.943, 0.87, 0.954, 0.963],
    [0.289, 0.279, 0.275, 0.326, 0.282],
    [0.931, 0.929, 0.797, 0.908, 0.955],
  ],
  [
    "PixInstruct",
    [0.114, 0.22, 0.232, 0.138, 0.104],
    [0.877, 0.757, 0.709, 0.817, 0.796],
    [0.275, 0.254, 0.238, 0.287, 0.259],
    [0.761, 0.557, 0.453, 0.615, 0.676],
  ],
  [
    "GoT",
    [0.063, 0.174, 0.184, 0.078, 0.026],
    [0.93, 0.846, 0.807, 0.923, 0.895],
    [0.286, 0.28, 0.269, 0.316, 0.281],
    [0.881, 0.785, 0.636, 0.85, 0.857],
  ],
  [
    "SmartEdit",
    [0.068, 0.137, 0.163, 0.067, 0.064],
    [0.937, 0.811, 0.773, 0.888, 0.868],
    [0.29, 0.268, 0.265, 0.312, 0.271],
    [0.894, 0.774, 0.662, 0.805, 0.798],
  ],
  [
    "C-ZS",
    [0.287, 0.314, 0.293, 0.251, 0.276],
    [0.671, 0.609, 0.649, 0.721, 0.66],
    [0.227, 0.214, 0.232, 0.243, 0.213],
    [0.292, 0.258, 0.297, 0.424, 0.161],
  ],
  [
    "C-FT",
    [0.075, 0.17, 0.184, 0.066, 0.044],
    [0.913, 0.872, 0.82, 0.877, 0.897],
    [0.289, 0.28, 0.271, 0.309, 0.287],
    [0.883, 0.801, 0.675, 0.836, 0.906],
  ],
  [
    "C-FDM",
    [0.09, 0.168, 0.196, 0.07, 0.044],
    [0.906, 0.881, 0.804, 0.87, 0.897],
    [0.291, 0.284, 0.268, 0.306, 0.287],
    [0.864, 0.816, 0.666, 0.831, 0.902],
  ],
];

/** Rows by metric of ours. */
export const paperTables: Readonly<Record<string, { readonly table: string; readonly rows: readonly PaperRow[] }>> = {
  judge: {
    table: "Table 2, GPT-4o",
    rows: [
      row("PixInstruct", 3.12, 1.2, 0.96, 0, 1.88, 1.43),
      row("GoT", 5.96, 1.61, 2.62, 1.58, 3.92, 3.14),
      row("SmartEdit", 6.71, 3.08, 2.81, 0.76, 3.7, 3.41),
      row("C-ZS", 0, 0.17, 0.37, 0.15, 0.14, 0.17),
      row("C-FT", 2.52, 2.48, 3.11, 0.88, 7.3, 3.26),
      row("C-FDM", 3.92, 3.64, 2.92, 0.54, 7.32, 3.67),
      row("L-ZS", 0.68, 0.08, 0.42, 0.82, 2.22, 0.84),
      row("L-FT", 5.56, 2.59, 2.72, 2.88, 6.28, 4.04),
      row("L-FDM", 5.82, 2.98, 2.88, 3.3, 6.6, 4.32),
    ],
  },
  judge_success: {
    table: "Table 3, GPT-4o",
    rows: [row("weighted loss", 3.73, 3.18, 3.32, 0.54, 7.75, 3.71), row("standard loss", 3.68, 2.37, 2.78, 0.76, 7.24, 3.37)],
  },
  judge_minimal: {
    table: "Table 3, GPT-4o",
    rows: [row("weighted loss", 8.17, 8.03, 7.01, 7.25, 8.49, 7.8), row("standard loss", 8.46, 8.13, 7.2, 7.19, 8.7, 7.94)],
  },
  l1: { table: "Table 8", rows: table8.map(([system, values]) => row(system, ...values)) },
  clip_i: { table: "Table 8", rows: table8.map(([system, , values]) => row(system, ...values)) },
  clip_t: { table: "Table 8", rows: table8.map(([system, , , values]) => row(system, ...values)) },
  dino: { table: "Table 8", rows: table8.map(([system, , , , values]) => row(system, ...values)) },
  bert_score: { table: "Table 1", rows: idm([0.05, 0.45, 0.41]) },
  rouge1: { table: "Table 1", rows: idm([0.09, 0.45, 0.41]) },
  rougeL: { table: "Table 1", rows: idm([0.08, 0.44, 0.36]) },
};

/** The paper's BLEU (order not stated): Chameleon zero-shot, Chameleon IDM, Liquid IDM. */
export const paperBleu = idm([0, 0.2, 0.21]);

function idm(values: readonly number[]): PaperRow[] {
  const none = new Array<number>(parts.length).fill(Number.NaN);
  return ["Chameleon zero-shot", "Chameleon IDM", "Liquid IDM"].map((system, i) => row(system, ...none, values[i]));
}

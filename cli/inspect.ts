// worldline inspect: what a model's files hold, what memory they need, and what they can do. Of a model on the hub only headers are read.
import type { Command } from "commander";
import { modelSource } from "../weights/hub_source.ts";
import { defaultGroupSize } from "../weights/stored.ts";
import { type Inspection, inspect, type TensorLine } from "../world/inspect.ts";
import { count, interruption, say } from "./terminal.ts";

interface Flags {
  json?: true;
  all?: true;
  groupSize: number;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("inspect")
    .argument("<model>", "a folder, a hub id (org/name, org/name@revision) or a .safetensors file")
    .description("tensors, sizes, dtypes, memory per dtype, and what the files can do")
    .option("--all", "a line for every tensor; else layers are taken together")
    .option("--group-size <n>", "values per scale in int8 and int4", count(8, 65536), defaultGroupSize)
    .option("--json", "print everything as one JSON object")
    .action(async (name: string, f: Flags) => {
      const found = await inspect(await modelSource(name, { signal: interruption(), onNotice: say }), f.groupSize);
      console.log(f.json ? JSON.stringify({ ...found, name }, null, 2) : report({ ...found, name }, f).join("\n"));
    });
}

function report(r: Inspection, f: Flags): string[] {
  return [
    r.name,
    ...configLines(r),
    "",
    ...table(["tensor", "shape", "dtype", "size"], f.all ? r.tensors.map(tensorCells) : grouped(r.tensors)),
    "",
    ...table(["part", "tensors", "parameters", "size", "dtypes"], r.parts.map(partCells)),
    ...memoryLines(r, f.groupSize),
    ...Object.entries(r.config ? {} : r.metadata).map(
      ([key, value]) => `metadata ${key}: ${value.length > 100 ? `${value.slice(0, 97)}...` : value}`,
    ),
    ...(r.abilities ? ["", ...r.abilities.map((a) => `${a.ability.padEnd(14)} ${a.can ? "yes" : `no: ${a.why}`}`)] : []),
    ...r.faults.map((fault) => `note: ${fault}`),
  ];
}

function configLines({ config: c, pictures: p, generation, quantization }: Inspection): string[] {
  if (!c) return [];
  const heads = `${c.heads} heads of ${c.headDim}${c.kvHeads === c.heads ? "" : ` (${c.kvHeads} for keys and values)`}`;
  const scaling = c.ropeScaling ? `, ${c.ropeScaling.type} scaling ${c.ropeScaling.factor}` : "";
  return [
    `Chameleon: ${c.layers} layers, hidden ${c.hidden}, MLP ${c.intermediate}, ${heads}, norms ${c.swinNorm ? "behind" : "before"} attention and MLP`,
    `vocabulary ${c.vocabSize}, ${c.maxPositions} positions, rope theta ${c.ropeTheta}${scaling}; bos ${c.bosId}, eos ${c.eosId}, begin and end of picture ${c.boiId}, ${c.eoiId}`,
    ...(quantization ? [`matrices quantised: ${quantization}`] : []),
    ...(p ? [`pictures ${p.size} as ${p.codes} codes out of ${p.entries}`] : []),
    ...(generation && Object.keys(generation).length ? [`generation_config: ${JSON.stringify(generation)}`] : []),
  ];
}

function tensorCells(t: TensorLine): string[] {
  return [t.name, `[${t.shape.join(", ")}]`, t.dtype, size(t.bytes)];
}

/** Tensors that differ in numbers of their name alone become one line. */
function grouped(tensors: readonly TensorLine[]): string[][] {
  const groups = new Map<string, TensorLine[]>();
  for (const t of tensors) {
    const key = `${t.name.replace(/(?<=\.)\d+(?=\.)/g, "*")} ${t.dtype} ${t.shape.join()}`;
    groups.set(key, [...(groups.get(key) ?? []), t]);
  }
  return [...groups].map(([key, list]) => {
    const [, shape, dtype] = tensorCells(list[0]);
    const bytes = size(list.reduce((sum, t) => sum + t.bytes, 0));
    return list.length === 1 ? tensorCells(list[0]) : [`${key.split(" ")[0]} (${list.length})`, shape, dtype, bytes];
  });
}

function partCells(p: Inspection["parts"][number]): string[] {
  const parameters = p.parameters.toLocaleString("en");
  const all = Object.entries(p.dtypes);
  const dtypes = all.length === 1 ? all[0][0] : all.map(([dtype, n]) => `${dtype} ${n.toLocaleString("en")}`).join(", ");
  return [p.part, String(p.tensors), parameters, size(p.bytes), dtypes];
}

function memoryLines({ memory, cachePerToken, config }: Inspection, group: number): string[] {
  if (!memory || !config || cachePerToken === undefined) return [];
  const rows = memory.map((m) => [
    m.dtype.startsWith("int") ? `${m.dtype}, groups of ${group}` : m.dtype,
    size(m.languageModel),
    size(m.pictureModel),
    size(m.total),
  ]);
  return [
    "",
    ...table(["weights on the device", "language model", "picture model", "together"], rows),
    `and ${size(cachePerToken)} a token for keys and values in f32 (half in f16): ${size(cachePerToken * config.maxPositions)} for ${config.maxPositions} tokens`,
  ];
}

/** Columns: the first to the left, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((h, c) => Math.max(h.length, ...rows.map((r) => r[c].length)));
  const left = new Set(["tensor", "part", "shape", "dtype", "dtypes", "weights on the device"]);
  return [head, ...rows].map((r) =>
    r
      .map((cell, c) => (left.has(head[c]) ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join("  ")
      .trimEnd(),
  );
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 2 ** 20) return `${(bytes / 2 ** 10).toFixed(1)} KiB`;
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}

// The flags of `worldline train` and `worldline plan`, made from the table of options: `learning_rate` is --learning-rate, and so on. Flags win over the
// configuration file, the file over the preset, the preset over the defaults.
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { type Command, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { check, parseConfigFile, presetConfig } from "../train/config.ts";
import { defaults, fields, kindOf, type PartialConfig } from "../train/options.ts";
import { reasonOf } from "../weights/file_source.ts";

type Key = keyof typeof fields;

/** Names that all commands use. */
const short: Partial<Record<Key, string>> = { model_name_or_path: "model", output_dir: "out" };
const flagOf = (key: Key) => `--${(short[key] ?? key).replaceAll("_", "-")}`;
const keys = Object.keys(fields) as Key[];

/** Adds --config, --preset and one flag for every option but the role. */
export function withOptions(command: Command): Command {
  command.option("--config <file>", "options in a TOML or JSON file, by the names below with underscores");
  command.option("--preset <name>", "paper-cdm, paper-cft, paper-cwm, tabletop-cdm, tabletop-cft, tabletop-cwm");
  for (const key of keys) {
    if (key === "role") continue;
    const value = (defaults as Partial<Record<Key, unknown>>)[key];
    const help = `${fields[key].description ?? ""}${value === undefined ? "" : ` (default: ${Array.isArray(value) ? value.join(",") : value})`}`;
    const value_ = { switch: "[yes]", number: "<n>", files: "<file...>", list: "<names>", text: "<value>" }[kindOf(key)];
    const option = new Option(`${flagOf(key)} ${value_}`, help);
    // Commander takes --no-decay for the opposite of a --decay.
    option.negate = false;
    command.addOption(option);
  }
  return command;
}

/** The options of preset, file and flags, in that order of strength. */
export async function givenOptions(
  flags: Readonly<Record<string, unknown>>,
  role?: string,
): Promise<{ config: PartialConfig; preset?: string }> {
  const preset = flags.preset as string | undefined;
  const path = flags.config as string | undefined;
  const fromFile = path === undefined ? {} : await configFile(path);
  const raw: Record<string, unknown> = role === undefined ? {} : { role };
  for (const key of keys) {
    const name = (short[key] ?? key).replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
    const given = flags[name];
    if (given !== undefined) raw[key] = convert(key, given);
  }
  if (role !== undefined && !["cdm", "cft", "cwm"].includes(role)) throw new WorldlineError(`"${role}" is no role; train cdm, cft or cwm`);
  const fromFlags = check(raw, (key) => (key === "role" ? "the role" : flagOf(key as Key)));
  const fromPreset = preset === undefined ? {} : presetConfig(preset);
  if (preset !== undefined && fromFlags.role && fromPreset.role && fromFlags.role !== fromPreset.role)
    throw new WorldlineError(
      `the preset ${preset} is for ${fromPreset.role}, not ${fromFlags.role}; choose another preset or leave the role out`,
    );
  return { config: { ...fromPreset, ...fromFile, ...fromFlags }, preset };
}

/** Reads a configuration; its paths are relative to it. */
async function configFile(path: string): Promise<PartialConfig> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new WorldlineError(`${path}: ${reasonOf(error)}`);
  });
  const config = parseConfigFile(text, path);
  const place = (p: string) => (isAbsolute(p) ? p : join(dirname(path), p));
  const out: PartialConfig = { ...config };
  for (const key of ["data", "synthetic", "eval_data"] as const) {
    const value = out[key];
    if (typeof value === "string") out[key] = place(value);
    else if (value)
      out[key] = value.map((v) =>
        typeof v === "string" ? place(v) : { ...v, path: place(v.path), ...(v.root === undefined ? {} : { root: place(v.root) }) },
      );
  }
  return out;
}

/** A flag's text as the kind of value the option takes. */
function convert(key: Key, given: unknown): unknown {
  const kind = kindOf(key);
  if (given === true || kind === "files") return given;
  const text = String(given);
  if (kind === "switch") return { true: true, yes: true, "1": true, false: false, no: false, "0": false }[text] ?? text;
  if (kind === "number") return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
  if (kind === "list") return /^[\w,]+$/.test(text) ? text.split(",") : text;
  return text;
}

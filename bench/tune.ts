// Chooses variants by measuring: for each class of shapes that a kernel's check times, every variant and every constant it lists in `tries` is
// checked against f64 at all cases that fit it, and what is right is timed against the others. The engine's own choice stays unless
// another is faster by more than the noise, so that tuning twice gives the same answer.
import type { Device } from "../engine/device.ts";
import { fits } from "../engine/device.ts";
import { descriptionHash, shapeClass, sourceHashes, type Trial, type Tuned, type TunedKernel, type TuningFile } from "../engine/tuning.ts";
import type { Check, DType, Numbers, Variant } from "../kernels/kernel.ts";
import { caseData, caseName, runCase, typings, variantsFor } from "./checks.ts";
import { type Candidate, measureCase, type Options, type Row } from "./measure.ts";
import { duration } from "./report.ts";
import type { Timer } from "./timer.ts";

/** A gain below this is not worth a change. */
const LEAST_GAIN = 0.03;
/** Candidates of the first, quick race that meet again in the second. */
const FINALISTS = 3;

/** Every variant that fits, with its own constants and with each other combination that it lists. */
export function candidates(device: Device, check: Check, c: Numbers, params: Numbers, dtypes: Record<string, DType>): Candidate[] {
  return variantsFor(device, check, c, dtypes).flatMap((variant) => {
    const own = device.chosen(check.kernel, variant, params, dtypes).consts;
    return combinations(variant, own)
      .filter((consts) => !("WG" in consts) || consts.WG <= device.capabilities.maxInvocations)
      .map((consts) => ({ variant, consts }));
  });
}

function combinations(variant: Variant, own: Numbers): Numbers[] {
  let all: Numbers[] = [{}];
  for (const [name, values] of Object.entries(variant.tries ?? {})) {
    if (!(name in own)) continue;
    const others = values.filter((v) => v !== own[name]);
    all = all.flatMap((consts) => [consts, ...others.map((v) => ({ ...consts, [name]: v }))]);
  }
  return all;
}

/** Why a candidate must not be used, or undefined when every case that it fits comes out right. */
export async function refusal(
  device: Device,
  check: Check,
  candidate: Candidate,
  dtypes: Record<string, DType>,
): Promise<string | undefined> {
  for (const c of check.cases) {
    if (!fits(device.capabilities, candidate.variant, { ...c }, dtypes)) continue;
    try {
      await runCase(device, check, c, dtypes, candidate.variant, candidate.consts);
    } catch (cause) {
      return `${caseName(c)}: ${(cause as Error).message.split("\n")[0]}`;
    }
  }
  return undefined;
}

/** Tunes one kernel for the shapes its check times; `told` hears of each class. */
export async function tuneKernel(
  device: Device,
  timer: Timer,
  check: Check,
  options: Options,
  told: (kernelClass: string, tuned: Tuned) => void = () => {},
): Promise<TunedKernel> {
  const { kernel } = check;
  const classes: Record<string, Tuned> = {};
  const refusals = new Map<string, string | undefined>();
  for (const c of check.bench ?? []) {
    for (const dtypes of typings(device, check)) {
      const { params } = caseData(check, c, dtypes, options.seed);
      const name = shapeClass(kernel, params, dtypes);
      if (name in classes) continue;
      const all = candidates(device, check, c, params, dtypes);
      if (all.length === 0) continue;
      const right: Candidate[] = [];
      const refused: Trial[] = [];
      for (const candidate of all) {
        const key = `${describe(candidate)} ${JSON.stringify(dtypes)}`;
        if (!refusals.has(key)) refusals.set(key, await refusal(device, check, candidate, dtypes));
        const why = refusals.get(key);
        if (why) refused.push({ variant: candidate.variant.name, consts: candidate.consts, refused: why });
        else right.push(candidate);
      }
      const rows = await race(device, timer, check, c, dtypes, right, options);
      const fallback = device.choose(kernel, params, dtypes).variant.name;
      classes[name] = { ...pick(rows, fallback), shape: caseName(c), trials: [...rows.map(trialOf), ...refused] };
      told(name, classes[name]);
    }
  }
  return { description: descriptionHash(kernel), sources: await sourceHashes(device.host, kernel), classes };
}

/** A quick race of all, then a longer one of the best. The engine's own choice is always among those. */
async function race(
  device: Device,
  timer: Timer,
  check: Check,
  c: Numbers,
  dtypes: Record<string, DType>,
  right: readonly Candidate[],
  options: Options,
): Promise<Row[]> {
  const run = (some: readonly Candidate[], seconds: number) =>
    measureCase(device, timer, check, c, dtypes, some, undefined, { ...options, seconds });
  const quick = await run(right, options.seconds / 4);
  const timed = right.map((candidate, i) => ({ candidate, row: quick[i] }));
  const sorted = timed.filter((t) => t.row.median !== undefined).sort((a, b) => a.row.median! - b.row.median!);
  const own = sorted.find((t) => t.row.chosen && Object.keys(t.candidate.consts).length === 0);
  const finalists = [...new Set([...sorted.slice(0, FINALISTS), ...(own ? [own] : [])])];
  const final = await run(
    finalists.map((t) => t.candidate),
    options.seconds,
  );
  return timed.map((t) => {
    const at = finalists.indexOf(t);
    return at >= 0 ? final[at] : t.row;
  });
}

/** The fastest right row, or the engine's own choice where none is faster by more than the noise. */
export function pick(rows: readonly Row[], fallback: string): { variant: string; consts: Numbers } {
  const right = rows.filter((r) => r.median !== undefined && typeof r.error === "number");
  const own = right.find((r) => r.variant === fallback && !r.consts);
  const best = right.reduce<Row | undefined>((a, r) => (!a || r.median! < a.median! ? r : a), undefined);
  if (!best) return { variant: fallback, consts: {} };
  const clear =
    !own || (best.median! * (1 + best.spread!) < own.median! * (1 - own.spread!) && best.median! < own.median! * (1 - LEAST_GAIN));
  const taken = clear ? best : own;
  return { variant: taken.variant, consts: taken.consts ?? {} };
}

const describe = ({ variant, consts }: { variant: { name: string }; consts: Numbers }) => `${variant.name}${constsText(consts)}`;
const constsText = (consts: Numbers) => {
  const text = Object.entries(consts).map(([k, v]) => `${k}=${v}`);
  return text.length ? `{${text.join(",")}}` : "";
};

function trialOf(r: Row): Trial {
  const { variant, consts = {}, median, spread } = r;
  return median === undefined ? { variant, consts, refused: `${r.error}` } : { variant, consts, median, spread };
}

/** What was chosen and why, as lines: every trial of every class, the fastest first. */
export function explain(file: TuningFile, filter = ""): string[] {
  const lines: string[] = [];
  for (const [kernel, { classes }] of Object.entries(file.kernels)) {
    if (!kernel.startsWith(filter)) continue;
    for (const [name, tuned] of Object.entries(classes)) {
      lines.push(`${kernel} ${name} (timed at ${tuned.shape}): ${tuned.variant}${constsText(tuned.consts)}`);
      const sorted = [...tuned.trials].sort((a, b) => (a.median ?? Number.POSITIVE_INFINITY) - (b.median ?? Number.POSITIVE_INFINITY));
      const chosen = sorted.find((t) => t.variant === tuned.variant && constsText(t.consts) === constsText(tuned.consts));
      for (const t of sorted) lines.push(`    ${trialLine(t, chosen)}`);
    }
  }
  return lines;
}

function trialLine(t: Trial, chosen: Trial | undefined): string {
  const name = `${t.variant}${constsText(t.consts)}`.padEnd(32);
  if (t.refused) return `${name} refused: ${t.refused}`;
  const time = `${duration(t.median!).padStart(8)} +-${Math.round((t.spread ?? 0) * 100)}%`;
  if (t === chosen) return `${name} ${time}  chosen`;
  const ratio = t.median! / (chosen?.median ?? t.median!);
  return `${name} ${time}  ${ratio.toFixed(2)} times the chosen one's time${ratio < 1 ? ", within the noise or too small a gain" : ""}`;
}

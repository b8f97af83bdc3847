// Right or wrong, without timing: every case, element type and variant of the checks that were found, one line a kernel.
import type { Device } from "../engine/device.ts";
import type { DType, Numbers } from "../kernels/kernel.ts";
import { caseName, runCase, typings, variantsFor } from "./checks.ts";
import type { Found } from "./find.ts";

export interface Verdict {
  readonly name: string;
  /** Runs that agreed with the reference, and their worst error. */
  readonly passed: number;
  readonly worst: number;
  /** One line for each run that did not. */
  readonly failures: readonly string[];
  /** Variants that no case could use on this adapter. */
  readonly skipped: readonly string[];
}

/** Runs the cases of one check, with `timed` the sizes that are timed as well, or only the named variant or case. */
export async function runCheck(
  device: Device,
  { name, check }: Pick<Found, "name" | "check">,
  only: { variant?: string; case?: string; timed?: boolean; kernels?: readonly string[] } = {},
): Promise<Verdict> {
  const seen = new Set<string>();
  const failures: string[] = [];
  let passed = 0;
  let worst = 0;
  const cases = [...check.cases, ...(only.case || only.timed ? (check.bench ?? []) : [])];
  for (const c of cases) {
    if (only.case && caseName(c) !== only.case) continue;
    for (const dtypes of typings(device, check)) {
      for (const variant of variantsFor(device, check, c, dtypes)) {
        if (only.variant && variant.name !== only.variant) continue;
        seen.add(variant.name);
        try {
          worst = Math.max(worst, await runCase(device, check, c, dtypes, variant));
          passed++;
        } catch (cause) {
          failures.push(failureLine(name, variant.name, c, dtypes, (cause as Error).message, only.kernels));
        }
      }
    }
  }
  return { name, passed, worst, failures, skipped: check.kernel.variants.map((v) => v.name).filter((v) => !seen.has(v)) };
}

function failureLine(
  name: string,
  variant: string,
  c: Numbers,
  dtypes: Record<string, DType>,
  message: string,
  kernels: readonly string[] = [],
): string {
  const where = kernels.length
    ? ` --kernels ${kernels.map((k) => (/^[\w@%+=:,./-]+$/.test(k) ? k : `'${k.replaceAll("'", "'\\''")}'`)).join(" ")}`
    : "";
  const types = Object.values(dtypes).includes("f16") ? ` ${JSON.stringify(dtypes)}` : "";
  return `${name}:${variant}${types}: ${message}\n    rerun: worldline bench check ${name}:${variant}:${caseName(c)}${where}`;
}

// Every kernel, variant, element type and case against its f64 reference. Rerun one with: npm test -- rmsnorm:rows=3,C=100
import { test } from "uvu";
import { caseName, runCase, typings, variantsFor } from "../bench/checks.ts";
import { findChecks } from "../bench/find.ts";
import { openDevice } from "../engine/node.ts";

const [only = "", wanted = ""] = (process.env.WORLDLINE_TEST_FILTER ?? process.argv[2] ?? "").split(":");
const device = await openDevice();
const checks = await findChecks(only);

/** Variants that ran, by kernel: a kernel may have several checks. */
const ran = new Map<string, Set<string>>();

for (const { name, check } of checks) {
  const seen = ran.get(name) ?? new Set<string>();
  ran.set(name, seen);
  test(name, async () => {
    for (const c of check.cases) {
      if (wanted && caseName(c) !== wanted) continue;
      for (const dtypes of typings(device, check)) {
        for (const variant of variantsFor(device, check, c, dtypes)) {
          seen.add(variant.name);
          try {
            await runCase(device, check, c, dtypes, variant);
          } catch (cause) {
            const types = Object.values(dtypes).some((d) => d !== "f32" && d !== "u32") ? ` ${JSON.stringify(dtypes)}` : "";
            throw new Error(`${name}:${variant.name}${types}: ${(cause as Error).message}\n    rerun: npm test -- ${name}:${caseName(c)}`);
          }
        }
      }
    }
  });
}

test.after(() => {
  const kernels = new Map(checks.map(({ name, check }) => [name, check.kernel]));
  for (const [name, { variants }] of kernels)
    for (const v of variants) if (!wanted && !ran.get(name)!.has(v.name)) console.log(`skipped on this adapter: ${name}:${v.name}`);
});

test.run();

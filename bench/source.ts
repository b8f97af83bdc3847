// Finds the variant whose text `worldline bench source` prints.
import type { Choice, Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { caseData, caseName, typings, variantsFor } from "./checks.ts";
import type { Found } from "./find.ts";

/** The choice that the first case of a check (those worth timing first) makes for a variant: by name, else the one the engine takes. */
export function choiceOf(device: Device, found: readonly Found[], only: { variant?: string; case?: string }): Choice {
  for (const { check } of found) {
    for (const c of [...(check.bench ?? []), ...check.cases]) {
      if (only.case && caseName(c) !== only.case) continue;
      for (const dtypes of typings(device, check)) {
        const variant = variantsFor(device, check, c, dtypes).find((v) => !only.variant || v.name === only.variant);
        if (!variant) continue;
        const { params } = caseData(check, c, dtypes);
        return only.variant ? device.chosen(check.kernel, variant, params, dtypes) : device.choose(check.kernel, params, dtypes);
      }
    }
  }
  const names = [...new Set(found.flatMap(({ check }) => check.kernel.variants.map((v) => `${check.kernel.name}:${v.name}`)))];
  throw new WorldlineError(
    names.length
      ? `no case of ${found[0].name} uses ${[only.variant ?? "a variant", only.case].filter(Boolean).join(":")} on this adapter; there are ${names.join(", ")}`
      : "no kernel has that name; `worldline bench check` lists them all",
  );
}

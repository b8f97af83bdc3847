// How a row kernel splits a row over the lanes of a subgroup. LPR lanes share a row (a power of two, at most a subgroup) and combine
// their parts by shuffles (lib/lanes.wgsl). On the software adapter one lane per row is fastest as soon as there are rows enough, up to 512 columns;
// from 1,024 on a row shared by all lanes takes up to 13% less (docs/log.md).
import { type Capabilities, type Grid, grid2d, type Numbers } from "./kernel.ts";

/** Constants WG (workgroup size) and LPR (lanes per row) for `rows` rows of `vectors` vec4 each. */
export function splitRow(rows: number, vectors: number, device: Capabilities): Numbers {
  const lanes = Math.max(1, device.lanes);
  if (device.software) return { WG: lanes * 2, LPR: rows >= 4 * lanes && vectors <= 128 ? 1 : lanes };
  let LPR = 1;
  while (LPR < lanes && LPR < vectors) LPR *= 2;
  return { WG: Math.max(64, lanes), LPR };
}

/** Workgroups for `rows` rows under the constants of `splitRow`. */
export function rowGrid(rows: number, consts: Numbers): Grid {
  return grid2d(Math.ceil((rows * consts.LPR) / consts.WG));
}

/** Everything but name and source of a variant whose lanes share rows of `p.rows` x `p[columns]` values in vec4 steps. */
export function rowVariant(columns = "C") {
  return {
    lib: ["grid", "lanes"],
    needs: ["subgroups"],
    when: (p: Numbers, device: Capabilities) => p[columns] % 4 === 0 && device.lanes >= 4,
    consts: (p: Numbers, device: Capabilities): Numbers => splitRow(p.rows, p[columns] / 4, device),
    tries: { LPR: [1, 2, 4, 8, 16, 32] },
    grid: (p: Numbers, consts: Numbers) => rowGrid(p.rows, consts),
  };
}

/** Like `rowVariant` for rows short enough to be held in registers: N vec4 a lane (at most `most`), PER rows a subgroup. */
export function heldVariant(columns = "C", most = 8) {
  const vectors = (p: Numbers, device: Capabilities) => Math.ceil(p[columns] / 4 / Math.max(1, device.lanes));
  return {
    lib: ["grid", "lanes"],
    needs: ["subgroups"],
    when: (p: Numbers, device: Capabilities) => p[columns] % 4 === 0 && device.lanes >= 4 && vectors(p, device) <= most,
    consts: (p: Numbers, { lanes, software }: Capabilities): Numbers => ({
      LPR: lanes,
      PER: software ? Math.min(16, Math.ceil(p.rows / 8)) : 1,
    }),
    tries: { PER: [1, 2, 4, 8, 16] },
    rebind: (p: Numbers, device: Capabilities): Numbers => ({ N: vectors(p, device) }),
    grid: (p: Numbers, consts: Numbers) => grid2d(Math.ceil(p.rows / consts.PER)),
  };
}

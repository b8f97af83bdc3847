// The second half of `npm run build`: puts shaders and the shipped base beside the emitted modules, where their import.meta.url finds them.
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
cpSync(`${root}kernels`, `${root}dist/kernels`, { recursive: true, filter: (path) => !path.endsWith(".ts") });
for (const base of ["world/tabletop/base", "world/tabletop/base_full"]) {
  if (existsSync(root + base)) cpSync(root + base, `${root}dist/${base}`, { recursive: true });
}
writeFileSync(`${root}dist/package.json`, readFileSync(`${root}package.json`));

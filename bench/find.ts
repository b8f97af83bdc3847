// Finds checks by convention: every <folder>/<name>/*.check.ts (or .js) under kernels/ and under the folders that --kernels names, which may
// lie outside the repository. Such a folder imports `kernel` and `check` from "worldline/kernel", which is answered from here wherever it lies.
import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { register } from "node:module";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { WorldlineError } from "../engine/errors.ts";
import type { Check } from "../kernels/kernel.ts";

export interface Found {
  /** The kernel's name. */
  readonly name: string;
  readonly check: Check;
  /** The kernel's folder, and its check file. */
  readonly folder: string;
  readonly file: string;
}

const own = fileURLToPath(new URL("../kernels/", import.meta.url));
const pattern = /\.check\.[jt]s$/;

/** All checks of kernels/, or of `folders` instead, whose kernel, file or folder begins with `filter`. */
export async function findChecks(filter = "", folders: readonly string[] = [own]): Promise<Found[]> {
  const found: Found[] = [];
  for (const root of folders.map((f) => resolve(f))) {
    if (!existsSync(root) || !statSync(root).isDirectory())
      throw new WorldlineError(`--kernels ${root}: there is no such folder; name one that holds kernel folders, or one kernel's folder`);
    if (root !== resolve(own)) answerImports(root);
    const inside = readdirSync(root, { withFileTypes: true }).filter(
      (f) => f.isDirectory() && f.name !== "lib" && f.name !== "node_modules",
    );
    const places = checkFiles(root).length ? [root] : inside.map((f) => join(root, f.name));
    for (const place of places) found.push(...(await checksOf(place)));
    if (!places.some((place) => checkFiles(place).length))
      throw new WorldlineError(`--kernels ${root}: no *.check.ts lies in it or in a folder of it; \`worldline bench new NAME\` writes one`);
  }
  return filter ? found.filter((f) => [f.name, ...shortNames(f)].some((name) => name.startsWith(filter))) : found;
}

const checkFiles = (folder: string) => readdirSync(folder).filter((file) => pattern.test(file));
const shortNames = ({ file, folder }: Found) => [file.replace(pattern, ""), folder].map((path) => path.split(/[\\/]/).pop()!);

async function checksOf(folder: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of checkFiles(folder)) {
    const file = join(folder, name);
    const module = await import(pathToFileURL(file).href).catch((cause: Error & { code?: string }) => {
      if (cause instanceof WorldlineError) throw cause;
      if (cause.code === "ERR_UNKNOWN_FILE_EXTENSION" || (cause instanceof SyntaxError && file.endsWith(".ts") && !readsTypes()))
        throw new WorldlineError(`${file}: this Node cannot load TypeScript; start it with \`node --import tsx\`, or write .js files`);
      // The fault lies in the kernel's own files; the first line of the stack that names one says where.
      const at = /\(?(?:file:\/\/)?([^\s()]*\.[jt]s)(?:\?[^:\s]*)?:(\d+)/.exec(
        cause.stack?.split("\n").find((l) => l.includes(basename(folder))) ?? "",
      );
      throw new WorldlineError(
        `${file} cannot be loaded: ${cause.name}: ${cause.message}${at ? ` (${basename(at[1])}:${at[2]})` : ""}; correct the kernel's files`,
      );
    });
    const checks = [(module as { default?: Check | Check[] }).default].flat();
    for (const check of checks) {
      if (!check?.kernel || !check.cases || !check.reference)
        throw new WorldlineError(`${file}: the default export must be a check or a list of checks; wrap it in check({ ... })`);
      found.push({ name: check.kernel.name, check, folder, file });
    }
  }
  return found;
}

/** Whether TypeScript can be loaded here: from a checkout always, in an installed package where Node strips types. */
const readsTypes = () =>
  import.meta.url.endsWith(".ts") || Boolean((process as { features: { typescript?: unknown } }).features.typescript);

const answered = new Set<string>();

/**
 * Lets files under a folder import "worldline/kernel", and reads them as modules whether or not a package.json says so. What they import of each other by its
 * whole name is resolved here: asked, tsx would take it for CommonJS where no package.json says otherwise, and leave its types in.
 */
function answerImports(folder: string): void {
  if (answered.has(folder)) return;
  answered.add(folder);
  const here = import.meta.url.endsWith(".ts") ? "../kernels/kernel.ts" : "../kernels/kernel.js";
  const target = JSON.stringify(new URL(here, import.meta.url).href);
  const inside = JSON.stringify(`${pathToFileURL(realpathSync(folder)).href}/`);
  // In an installed package Node itself strips types, and only of what is called TypeScript.
  const strips = import.meta.url.endsWith(".js") && readsTypes();
  const hook = `import { existsSync } from "node:fs";
  const own = (name, parent) => {
    if (!parent?.startsWith(${inside}) || !/^\\.\\.?\\/.*\\.[jt]s$/.test(name)) return undefined;
    const url = new URL(name, parent);
    return existsSync(url) ? { url: url.href, shortCircuit: true } : undefined;
  };
  export async function resolve(name, context, next) {
    if (name === "worldline/kernel") return { url: ${target}, shortCircuit: true, format: "module" };
    const found = own(name, context.parentURL) ?? (await next(name, context));
    if (!found.url.startsWith(${inside})) return found;
    const typed = ${strips} && found.url.endsWith(".ts") && (found.format ?? "typescript").endsWith("typescript");
    return { ...found, format: typed ? "module-typescript" : "module" };
  }`;
  register(`data:text/javascript,${encodeURIComponent(hook)}`);
}

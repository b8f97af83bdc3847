// The order of the folders: every import, dynamic import and URL of a file is read from the syntax tree and held against one table. Also which
// files may use Node, packages and `navigator`, and that every kernel has a check and every shader a kernel.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import type { Check, Kernel } from "../kernels/kernel.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What each folder may import besides itself: folders, or single files; "" is the root itself. */
const table: Record<string, readonly string[]> = {
  kernels: [],
  engine: ["kernels"],
  weights: ["engine/errors.ts"],
  models: ["kernels", "engine", "weights"],
  tokenizer: ["kernels", "engine", "weights", "models"],
  train: ["kernels", "engine", "weights", "models", "tokenizer"],
  world: ["kernels", "engine", "weights", "models", "tokenizer", "train"],
  bench: ["kernels", "engine", "weights", "models", "tokenizer", "train", "world"],
  cli: ["kernels", "engine", "weights", "models", "tokenizer", "train", "world", "bench", "setup", "package.json"],
  setup: ["kernels", "engine", "package.json", "node_modules", ""],
  web: ["kernels", "engine", "weights", "models", "tokenizer", "train", "world"],
};

/** Files that may use Node's modules. In engine/ and below nothing else may, so that a browser can load the rest. */
const nodeAllowed = [
  /^engine\/host_node\.ts$/,
  /^weights\/(file_source|hub|hub_source|download)\.ts$/,
  /^train\/(checkpoints|run_folder)\.ts$/,
  /^world\//,
  /^setup\//,
  /^cli\//,
  /^bench\/(find|machine|rerun|scaffold|watch|everywhere|profile|picture_model|scale_lora)\.ts$/,
  /^bench\/peers\//,
];

/** Packages by file. */
const packages: Record<string, readonly RegExp[]> = {
  webgpu: [/^engine\/host_node\.ts$/],
  pngjs: [/^world\//],
  sharp: [/^world\//],
  commander: [/^cli\//],
  zod: [/^train\//, /^world\/(experiment_config|job_manifest)\.ts$/],
  "smol-toml": [/^train\//, /^world\/(experiment_config|job_manifest)\.ts$/],
  bullmq: [/^world\/job_queue\.ts$/],
  ioredis: [/^world\/job_queue\.ts$/],
  "@huggingface/hub": [/^weights\/hub\.ts$/],
  "onnxruntime-node": [/^world\/metrics\/onnx\.ts$/],
  "onnxruntime-web": [/^world\/metrics\/onnx(runtime_node\.d)?\.ts$/],
};

interface Reference {
  readonly file: string;
  readonly line: number;
  /** The specifier as written; undefined where an import is computed. */
  readonly to: string | undefined;
  readonly kind: "import" | "url";
}

/** Every reference of a source text to another file or package, and the lines that name `navigator`. */
function read(file: string, text: string): { references: Reference[]; navigator: number[] } {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const references: Reference[] = [];
  const navigator: number[] = [];
  const lineOf = (node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
  const put = (node: ts.Node, to: ts.Node | undefined, kind: Reference["kind"]) =>
    void references.push({ file, line: lineOf(node), to: to && ts.isStringLiteralLike(to) ? to.text : undefined, kind });
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || (ts.isExportDeclaration(node) && node.moduleSpecifier)) put(node, node.moduleSpecifier, "import");
    else if (ts.isImportTypeNode(node)) put(node, ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, "import");
    else if (ts.isExternalModuleReference(node)) put(node, node.expression, "import");
    else if (ts.isCallExpression(node) && importing.test(node.expression.getText())) put(node, node.arguments[0], "import");
    else if (ts.isNewExpression(node) && node.expression.getText() === "URL" && node.arguments?.[1]?.getText() === "import.meta.url")
      put(node, urlStart(node.arguments[0]), "url");
    if ((ts.isIdentifier(node) || ts.isStringLiteralLike(node)) && node.text === "navigator") navigator.push(lineOf(node));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { references, navigator };
}

const importing = /^(import|require|require\.resolve|import\.meta\.resolve|process\.getBuiltinModule)$/;

/** The fixed beginning of a URL's path; a template's text up to its first hole. */
function urlStart(node: ts.Node): ts.Node {
  return ts.isTemplateExpression(node) ? ts.factory.createStringLiteral(node.head.text) : node;
}

/** Files whose business it is to import what they are told. */
const computing = new Set(["cli/main.ts", "bench/find.ts", "bench/peers/engine.ts"]);

/** What a reference breaks, as one line; undefined if nothing. */
function breach({ file, line, to, kind }: Reference, dependencies: ReadonlySet<string>): string | undefined {
  const at = `${file}:${line}`;
  const folder = file.split("/")[0];
  if (to === undefined) return kind === "import" && !computing.has(file) ? `${at} computes what it imports; name it` : undefined;
  if (kind === "url" || to.startsWith(".")) {
    const target = relative(root, resolve(root, dirname(file), to))
      .split(sep)
      .join("/");
    const [home] = target.split("/");
    const free = home === folder || table[folder].some((allowed) => target === allowed || home === allowed);
    return free ? undefined : `${at} reaches into ${target}; ${folder}/ may use ${[folder, ...table[folder]].join(", ")}`;
  }
  if (isBuiltin(to)) {
    if (!to.startsWith("node:")) return `${at} imports ${to}; write node:${to}`;
    return nodeAllowed.some((p) => p.test(file))
      ? undefined
      : `${at} imports ${to}; only ${nodeAllowed.map((p) => p.source).join(", ")} may use Node`;
  }
  const name = to
    .split("/")
    .slice(0, to.startsWith("@") ? 2 : 1)
    .join("/");
  if (to.endsWith("/package.json") && folder === "cli") return undefined;
  if (!packages[name]?.some((p) => p.test(file))) return `${at} imports the package ${name}, which this folder must do without`;
  return dependencies.has(name) ? undefined : `${at} imports ${name}, which package.json does not list among its dependencies`;
}

function sources(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|tsx|mts|cts|js|mjs|cjs)$/.test(name))
    .map((name) => `${folder}/${name.split(sep).join("/")}`);
}

const listed = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { dependencies: object; peerDependencies: object };
const dependencies = new Set([...Object.keys(listed.dependencies), ...Object.keys(listed.peerDependencies)]);
const files = Object.keys(table).flatMap(sources);
const all = files.map((file) => ({ file, ...read(file, readFileSync(join(root, file), "utf8")) }));

test("every import obeys the table of folders", () => {
  assert.ok(files.length > 100 && all.reduce((n, f) => n + f.references.length, 0) > 300, "hardly anything was read");
  assert.equal(
    all.flatMap((f) => f.references.flatMap((r) => breach(r, dependencies) ?? [])),
    [],
  );
});

test("what is imported exists", () => {
  const missing = all.flatMap((f) =>
    f.references.filter((r) => r.kind === "import" && r.to?.startsWith(".") && !existsSync(resolve(root, dirname(r.file), r.to))),
  );
  assert.equal(
    missing.map((r) => `${r.file}:${r.line} ${r.to}`),
    [],
  );
});

test("only engine/host_browser.ts names navigator, and the process in which other libraries look for it", () => {
  assert.equal(
    all.filter((f) => f.navigator.length).map((f) => f.file),
    ["engine/host_browser.ts", "bench/peers/child.ts"].filter((f) => existsSync(join(root, f))),
  );
});

test("opening a device in Node puts nothing on globalThis.navigator", async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const device = await openDevice();
  assert.equal(Object.getOwnPropertyDescriptor(globalThis, "navigator"), before);
  assert.not("gpu" in ((globalThis as { navigator?: object }).navigator ?? {}));
  device.destroy();
});

const cases: [file: string, text: string, breaches: RegExp | undefined][] = [
  ["kernels/a/a.ts", 'import { x } from "../../engine/tape.ts";', /^kernels\/a\/a\.ts:1 reaches into engine\/tape\.ts/],
  ["kernels/a/a.ts", 'import { kernel } from "../kernel.ts";', undefined],
  ["engine/a.ts", '\nexport * from "../models/chameleon.ts";', /^engine\/a\.ts:2 reaches into models/],
  ["weights/a.ts", 'import { ShapeError } from "../engine/errors.ts";', undefined],
  ["weights/a.ts", 'import type { Device } from "../engine/device.ts";', /reaches into engine\/device\.ts/],
  ["models/a.ts", 'const m = await import("../tokenizer/text.ts");', /reaches into tokenizer/],
  ["models/a.ts", 'type T = import("../train/loop.ts").Store;', /reaches into train/],
  ["world/a.ts", 'import "../cli/main.ts";', /reaches into cli/],
  ["world/a.ts", 'const u = new URL("../test/goldens/x", import.meta.url);', /reaches into test/],
  ["world/a.ts", 'import { runCase } from "../bench/checks.ts";', /reaches into bench/],
  ["bench/measure.ts", 'import { readFileSync } from "node:fs";', /imports node:fs; only/],
  ["cli/a.ts", 'import "../examples/x.ts"; import "../docs/y.ts";', /reaches into examples/],
  ["cli/a.ts", "await import(name);", /computes what it imports/],
  ["engine/ops/a.ts", 'await import("node:fs");', /imports node:fs; only/],
  ["engine/a.ts", 'import { readFile } from "fs/promises";', /write node:fs/],
  ["engine/a.ts", 'import { create } from "webgpu";', /imports the package webgpu/],
  ["models/a.ts", 'import lodash from "lodash";', /imports the package lodash/],
  ["tokenizer/a.ts", 'import sharp from "sharp";', /imports the package sharp/],
  ["world/a.ts", 'import { test } from "uvu";', /imports the package uvu/],
  ["engine/a.ts", '// import "../cli/main.ts"\nconst s = \'import "node:fs"\';', undefined],
];

for (const [file, text, want] of cases) {
  test(`the reader sees ${JSON.stringify(text)} in ${file}`, () => {
    const [first] = read(file, text).references.flatMap((r) => breach(r, dependencies) ?? []);
    if (want) assert.match(first ?? "", want);
    else assert.is(first, undefined);
  });
}

test("the reader sees navigator as a name, as a key and as text", () => {
  for (const text of ["navigator.gpu", "globalThis.navigator", 'globalThis["navigator"]', "const { navigator } = globalThis;"])
    assert.equal(read("web/a.ts", text).navigator, [1]);
  assert.equal(read("web/a.ts", "// navigator").navigator, []);
});

const isKernel = (value: unknown): value is Kernel =>
  typeof value === "object" && value !== null && "variants" in value && "reads" in value && "writes" in value;
const kernelFolders = readdirSync(join(root, "kernels"), { withFileTypes: true })
  .filter((f) => f.isDirectory() && f.name !== "lib")
  .map((f) => f.name);

interface KernelFolder {
  readonly kernels: readonly Kernel[];
  readonly checked: readonly Kernel[];
  readonly shaders: readonly string[];
}

async function kernelFolder(name: string): Promise<KernelFolder> {
  const files = readdirSync(join(root, "kernels", name));
  const load = async (file: string) =>
    (await import(new URL(`../kernels/${name}/${file}`, import.meta.url).href)) as Record<string, unknown>;
  const modules = await Promise.all(files.filter((f) => f.endsWith(".ts") && !f.endsWith(".check.ts")).map(load));
  const checks = await Promise.all(files.filter((f) => f.endsWith(".check.ts")).map(load));
  return {
    kernels: modules.flatMap((m) => Object.values(m).flat().filter(isKernel)),
    checked: checks.flatMap((m) => [m.default as Check | Check[]].flat().map((c) => c.kernel)),
    shaders: files.filter((f) => f.endsWith(".wgsl")),
  };
}

for (const name of kernelFolders) {
  test(`every kernel of kernels/${name} has a check, and every shader a kernel`, async () => {
    const { kernels, checked, shaders } = await kernelFolder(name);
    assert.ok(kernels.length > 0, `kernels/${name} exports no kernel`);
    for (const k of kernels) {
      assert.ok(
        checked.some((c) => c.name === k.name && k.variants.every((v) => c.variants.includes(v))),
        `no check covers ${k.name} with all its variants`,
      );
    }
    const used = new Set(kernels.flatMap((k) => k.variants.map((v) => v.source.href)));
    assert.equal(
      shaders.filter((s) => !used.has(new URL(`../kernels/${name}/${s}`, import.meta.url).href)),
      [],
      "shaders that no kernel uses",
    );
  });
}

test("every helper of kernels/lib is used", async () => {
  const folders = await Promise.all(kernelFolders.map(kernelFolder));
  // "stored_{b}" stands for one helper per type that may be bound to b.
  const names = (k: Kernel, lib: string) => {
    const type = k.types[/\{(\w+)\}/.exec(lib)?.[1] ?? ""];
    return typeof type === "object" ? type.dtypes.map((d) => lib.replace(/\{\w+\}/, d)) : [lib];
  };
  const used = new Set(
    folders.flatMap((f) => f.kernels.flatMap((k) => k.variants.flatMap((v) => (v.lib ?? []).flatMap((l) => names(k, l))))),
  );
  const helpers = readdirSync(join(root, "kernels/lib"))
    .filter((f) => f.endsWith(".wgsl"))
    .map((f) => f.replace(".wgsl", ""));
  assert.equal(
    helpers.filter((h) => !used.has(h)),
    [],
  );
});

test.run();

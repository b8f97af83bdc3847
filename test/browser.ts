// The engine in a real browser: serves the checkout with its types stripped, opens a page in headless Chromium through engine/host_browser.ts and
// runs kernel checks there against the same f64 references as in Node. All of them: npm run browser [-- kernel ...]
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import ts from "typescript";
import { findChecks } from "../bench/find.ts";
import type { Asked, Checked, Opened } from "./browser_page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const programs = [
  process.env.CHROMIUM_PATH,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-webgpu-adapter=swiftshader"];

/** A page with an open device, or the sentence that says why there is none. */
export interface Opening {
  readonly missing?: string;
  readonly browser?: string;
  readonly opened?: Opened;
  /** Runs checks in the page; `only` is a variant or case as in `worldline bench check`. */
  check(asked: Asked): Promise<Checked>;
  /** Calls an exported function of a module of the checkout in the page; its argument and result travel as JSON. */
  call<T>(module: string, name: string, argument?: unknown): Promise<T>;
  close(): Promise<void>;
}

/** Opens Chromium on a page served from this checkout and a device in it. `program` is the browser's file. */
export async function openPage(program = programs.find((p) => p && existsSync(p))): Promise<Opening> {
  const closed = { check: never, call: never, close: async () => {} };
  if (!program) return { ...closed, missing: "no Chromium was found; name one in CHROMIUM_PATH" };
  const server = serve();
  let browser: Browser | undefined;
  const close = async () => {
    await browser?.close();
    server.close();
  };
  try {
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    browser = await chromium.launch({ executablePath: program, args: flags });
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const call = <T>(module: string, name: string, argument?: unknown) => inPage<T>(page, module, name, argument);
    const opened = await call<Opened | { missing: string }>("/test/browser_page.ts", "open");
    if ("missing" in opened) {
      await close();
      return { ...closed, missing: `${program}: ${opened.missing}` };
    }
    return { browser: browser.version(), opened, call, close, check: (asked) => call("/test/browser_page.ts", "check", asked) };
  } catch (cause) {
    await close();
    if (browser) throw cause;
    return { ...closed, missing: `${program} did not start: ${(cause as Error).message.split("\n")[0]}` };
  }
}

const never = (): never => {
  throw new Error("there is no page");
};

/** In the page: import, call, give back. As text, because this file is compiled for Node. */
function inPage<T>(page: Page, module: string, name: string, argument: unknown): Promise<T> {
  return page.evaluate(`import(${JSON.stringify(module)}).then((m) => m[${JSON.stringify(name)}](${JSON.stringify(argument ?? null)}))`);
}

/** Files of the checkout; TypeScript comes with its types stripped, each file by itself, so that import.meta.url stays true. */
function serve(): Server {
  const compilerOptions = { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true };
  return createServer((request, reply) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
    const allowed =
      /^\/(kernels|engine|models|weights|tokenizer|train|bench|test)\/[\w./-]+\.(ts|wgsl)$/.test(path) && !path.includes("..");
    const file = `${root}${path.slice(1)}`;
    if (path === "/") reply.setHeader("content-type", "text/html").end("<!doctype html><title>worldline</title>");
    else if (!allowed || !existsSync(file)) reply.writeHead(404).end();
    else if (path.endsWith(".wgsl")) reply.setHeader("content-type", "text/plain; charset=utf-8").end(readFileSync(file));
    else {
      const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), { compilerOptions, fileName: file });
      reply.setHeader("content-type", "text/javascript; charset=utf-8").end(outputText);
    }
  });
}

/** Addresses in the page of the check files of kernels whose name begins with `filter`. */
export async function checkFiles(filter: string): Promise<string[]> {
  const found = await findChecks(filter);
  return [...new Set(found.map((f) => `/${relative(root, f.file).split(sep).join("/")}`))];
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const page = await openPage();
  if (page.missing) throw new Error(page.missing);
  console.log(`Chromium ${page.browser}, ${page.opened!.adapter}, ${page.opened!.features.join(" ") || "no optional features"}`);
  const filters = process.argv.length > 2 ? process.argv.slice(2) : [""];
  const files = [...new Set((await Promise.all(filters.map(checkFiles))).flat())];
  let [passed, failed] = [0, 0];
  for (const file of files) {
    const done = await page.check({ files: [file] });
    passed += done.passed;
    failed += done.failures.length;
    console.log(
      `${done.failures.length ? "WRONG" : "right"} ${file.padEnd(56)} ${done.passed} runs, worst error ${done.worst.toExponential(1)}`,
    );
    for (const failure of done.failures) console.log(`      ${failure}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  await page.close();
  if (failed || !passed) process.exitCode = 1;
}

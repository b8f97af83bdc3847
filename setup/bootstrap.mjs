// One command sets everything up: `node setup/bootstrap.mjs [--modules-only] <command...>` checks Node, installs the modules of
// package-lock.json, sees to a WebGPU adapter (a software driver is installed if there is none), then runs the command.
// Plain JavaScript without dependencies, because it runs before anything is installed. What it did is remembered: the next start costs nothing.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { constants, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = [20, 19];
const INSTALL_LIMIT_MS = 30 * 60_000;

/** The sentence for a Node that is too old, or null. */
export function nodeProblem(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return null;
  return `This is Node ${version.replace(/^v/, "")}; worldline needs ${NEEDED.join(".")} or newer. Install one from https://nodejs.org and run the command again.`;
}

function readJSON(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}

const digest = (text) => createHash("sha256").update(text).digest("hex");
const markerPath = (root) => join(root, "node_modules", ".worldline-lock");

/**
 * Whether node_modules is what package-lock.json says: "current", "missing" or "stale". Modules that npm installed by hand count as current
 * when every version agrees; packages for other platforms (optional ones) may be absent.
 */
export function modulesState(root) {
  if (!existsSync(join(root, "node_modules"))) return "missing";
  const lockText = readFileSync(join(root, "package-lock.json"), "utf8");
  const marker = markerPath(root);
  if (existsSync(marker) && readFileSync(marker, "utf8") === digest(lockText)) return "current";
  const installed = readJSON(join(root, "node_modules", ".package-lock.json"))?.packages;
  if (!installed) return "missing";
  const agrees = ([path, { version, optional, link }]) =>
    path === "" || link || (installed[path] ? installed[path].version === version : optional === true);
  return Object.entries(JSON.parse(lockText).packages).every(agrees) ? "current" : "stale";
}

/** Writes down that node_modules is what package-lock.json says. */
export function rememberModules(root) {
  remember(markerPath(root), digest(readFileSync(join(root, "package-lock.json"), "utf8")));
}

function remember(path, text) {
  try {
    if (existsSync(path) && readFileSync(path, "utf8") === text) return;
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text);
  } catch {
    // A folder that cannot be written costs the check again next time, nothing else.
  }
}

/** Everything the presence of an adapter hangs on, as a key: it changes when a driver comes, goes or is hidden. */
export function adapterKey(root, env = process.env) {
  const stamp = (path) => {
    try {
      const { mtimeMs, size } = statSync(path);
      return `${path} ${mtimeMs} ${size}`;
    } catch {
      return `${path} -`;
    }
  };
  const cache = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
  const manifests = folders.flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [folder]));
  const cached = ["lavapipe", "swiftshader"].map((kind) => join(cache, "worldline", "driver", kind, "driver.json"));
  const webgpu = join(root, "node_modules", "webgpu", "package.json");
  const stamps = ["/etc/ld.so.cache", ...manifests.sort(), ...cached, webgpu].map(stamp);
  const seen = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LD_LIBRARY_PATH"].map((name) => `${name}=${env[name] ?? ""}`);
  return digest([process.version, process.platform, process.arch, ...seen, ...stamps].join("\n"));
}

/** The way to start npm: the one that started us, else the one on the path. */
function npm(args) {
  const own = process.env.npm_execpath;
  if (own && /\.c?js$/.test(own) && existsSync(own)) return [process.execPath, [own, ...args]];
  return [process.platform === "win32" ? "npm.cmd" : "npm", args];
}

/** Runs a program with our stdio (or silent stdin and all output on stderr), hands signals on, gives its exit code (128 + n after signal n). */
function run(file, args, { aside = false, limit } = {}) {
  return new Promise((done) => {
    const child = spawn(file, args, { stdio: aside ? ["ignore", 2, 2] : "inherit", shell: file.endsWith(".cmd") });
    // A terminal sends Ctrl-C to the child itself; handed on as well it would arrive twice.
    const pass = (signal) => (signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal));
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    const timer = limit && setTimeout(() => child.kill("SIGKILL"), limit);
    const end = (code) => {
      clearTimeout(timer);
      for (const signal of signals) process.off(signal, pass);
      done(code);
    };
    child.on("error", (error) => {
      console.error(`worldline: ${file} could not be started: ${error.message}`);
      end(127);
    });
    child.on("exit", (code, signal) => end(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

/** Installs the modules where they are not what package-lock.json says; whether they are now. */
export async function seeToModules(root) {
  const state = modulesState(root);
  if (state !== "current") {
    const why = state === "missing" ? "node_modules is missing" : "package-lock.json changed since node_modules was installed";
    console.error(`worldline: ${why}; running npm ci once (about 185 MB, under a minute on a fast line).`);
    // NODE_ENV=production or omit=dev in an .npmrc leave out what the commands run with (tsx, a compiler, test tools).
    const flags = [
      "--include=dev",
      "--include=optional",
      "--loglevel=notice",
      "--no-audit",
      "--no-fund",
      "--fetch-retries=1",
      "--fetch-retry-mintimeout=2000",
      "--fetch-retry-maxtimeout=5000",
    ];
    const [file, args] = npm(["ci", "--prefix", root, ...flags]);
    const code = await run(file, args, { limit: INSTALL_LIMIT_MS, aside: true });
    if (code !== 0) {
      console.error(
        `worldline: the modules could not be installed (npm ci ended with code ${code}, its reason is above); npm's registry must be reachable for this once.`,
      );
      return false;
    }
  }
  rememberModules(root);
  return true;
}

async function seeToAdapter(root) {
  const place = join(root, "node_modules", ".cache", "worldline", "adapter");
  if (existsSync(place) && readFileSync(place, "utf8") === adapterKey(root)) return true;
  const tsx = new URL("../node_modules/tsx/dist/loader.mjs", import.meta.url).href;
  const code = await run(process.execPath, ["--import", tsx, join(root, "setup", "adapter.ts")], {
    limit: INSTALL_LIMIT_MS,
    aside: true,
  });
  if (code === 0) remember(place, adapterKey(root));
  return code === 0;
}

async function main(argv) {
  const problem = nodeProblem(process.version);
  if (problem) {
    console.error(`worldline: ${problem}`);
    return 1;
  }
  const modulesOnly = argv[0] === "--modules-only";
  const [command, ...args] = modulesOnly ? argv.slice(1) : argv;
  if (!command) {
    console.error("worldline: no command was given; use node setup/bootstrap.mjs [--modules-only] <command...>");
    return 1;
  }
  const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "");
  if (!(await seeToModules(root))) return 1;
  if (!modulesOnly && !(await seeToAdapter(root))) return 1;
  return run(command === "node" ? process.execPath : command, args);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = await main(process.argv.slice(2));

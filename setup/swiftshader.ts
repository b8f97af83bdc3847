// SwiftShader, a software Vulkan driver, out of an npm package that carries it for headless Chromium: for machines without apt.
// x64 Linux only, no f16, slower than lavapipe. The package is fetched by npm, checked against the hash below, and only one file of it is kept.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { writeManifests } from "./apt.ts";
import type { Say } from "./run.ts";
import { runQuietly } from "./run.ts";

const PACKAGE = "@sparticuz/chromium@153.0.0";
const SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==";
const ENTRY = "package/bin/swiftshader.tar.br";

/** The plain files of a tar archive by name (ustar and GNU short names, which is what npm and this package write). */
export function untar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (from: number, length: number) => new TextDecoder().decode(archive.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    if (!Number.isSafeInteger(size) || at + 512 + size > archive.length)
      throw new Error(`the tar archive is cut off or damaged at byte ${at}`);
    const kind = text(at + 156, 1);
    const prefix = text(at + 257, 5) === "ustar" ? text(at + 345, 155) : "";
    const name = (prefix ? `${prefix}/` : "") + text(at, 100);
    if (kind === "" || kind === "0") files.set(name.replace(/^\.\//, ""), archive.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** Fetches and unpacks SwiftShader into `folder`. Throws a sentence where it cannot. */
export async function installSwiftShader(folder: string, say: Say): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error(`SwiftShader comes for x64 Linux only, this is ${process.arch} ${process.platform}`);
  say(`the software driver SwiftShader is fetched with npm into ${folder} (67 MB, no f16, slow), once.`);
  mkdirSync(join(folder, ".."), { recursive: true });
  const work = mkdtempSync(`${folder}.partial-`);
  try {
    const own = process.env.npm_execpath;
    const [npm, first] = own && /\.c?js$/.test(own) ? [process.execPath, [own]] : ["npm", []];
    const quiet = ["--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-retry-maxtimeout=5000"];
    await runQuietly(npm, [...first, "pack", PACKAGE, "--pack-destination", work, ...quiet], { say, limit: 20 * 60_000 });
    const name = readdirSync(work).find((file) => file.endsWith(".tgz"));
    if (!name) throw new Error(`npm fetched no archive of ${PACKAGE}`);
    const packed = readFileSync(join(work, name));
    if (createHash("sha512").update(packed).digest("base64") !== SHA512)
      throw new Error(`the archive of ${PACKAGE} is not the known one (its SHA-512 differs)`);
    const inner = untar(gunzipSync(packed)).get(ENTRY);
    if (!inner) throw new Error(`${PACKAGE} holds no ${ENTRY}`);
    const whole = join(work, "whole");
    mkdirSync(whole);
    const parts = untar(brotliDecompressSync(inner));
    for (const [path, bytes] of parts) if (/vulkan|libvk_/.test(path)) writeFileSync(join(whole, basename(path)), bytes, { mode: 0o755 });
    rmSync(folder, { recursive: true, force: true });
    renameSync(whole, folder);
    writeManifests(folder, "SwiftShader in the user's cache", "libvk_swiftshader.so", ["."]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

// Debian's and Ubuntu's packages as a source of the software Vulkan driver (Mesa's lavapipe): as root by a plain apt-get install; otherwise
// apt resolves what is missing with its state in a private folder, and the packages are unpacked there and loaded by engine/host_node.ts.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemStamp } from "../engine/host_node.ts";
import type { Say } from "./run.ts";
import { runQuietly } from "./run.ts";

const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1"];
const LIMITS = [
  "-o",
  "Acquire::http::Timeout=20",
  "-o",
  "Acquire::https::Timeout=20",
  "-o",
  "Acquire::Retries=1",
  "-o",
  "DPkg::Lock::Timeout=120",
];
const BACKPORTS = "/etc/apt/sources.list.d/worldline-backports.list";

/** One archive that apt reads. */
export interface Source {
  uri: string;
  suites: string[];
  components: string[];
  signedBy: string | null;
}

/** Reads apt's source files, both the one-line and the deb822 form; disabled and source-only entries are left out. */
export function parseSources(text: string): Source[] {
  const sources: Source[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) continue;
    const signedBy = /signed-by=(\/\S+)/i.exec(match[1] ?? "")?.[1] ?? null;
    sources.push({ uri: match[2], suites: [match[3]], components: words(match[4]), signedBy });
  }
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (name: string) =>
      new RegExp(`^${name}:[ \\t]*(.*(?:\\n[ \\t]+.*)*)`, "im").exec(stanza.replace(/^#.*\n?/gm, ""))?.[1].trim();
    const [types, uris, suites] = [field("Types"), field("URIs"), field("Suites")];
    if (!types || !uris || !suites || !words(types).includes("deb") || field("Enabled")?.toLowerCase() === "no") continue;
    const key = field("Signed-By");
    const signedBy = key?.startsWith("/") ? key.split(/\s+/)[0] : null;
    for (const uri of words(uris)) sources.push({ uri, suites: words(suites), components: words(field("Components") ?? ""), signedBy });
  }
  return sources;
}

const words = (text: string) => text.split(/\s+/).filter((word) => word);

/** The distribution as /etc/os-release names it. */
export interface Release {
  id: string;
  codename: string;
}

export function readRelease(path = "/etc/os-release"): Release {
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  return { id: field("ID"), codename: field("VERSION_CODENAME") };
}

/**
 * The distribution's own archives among all sources, as lines of a sources.list, with backports added for Debian 12, whose own driver is too
 * old for Dawn. `added` is the backports line alone, null where it is there already or not needed.
 */
export function sourceLines(all: Source[], release: Release): { lines: string[]; added: string | null } {
  const own = all.filter((source) => source.suites.some((suite) => suite === release.codename || suite.startsWith(`${release.codename}-`)));
  const write = (source: Source, suite: string) =>
    ["deb", source.signedBy ? `[signed-by=${source.signedBy}]` : "", source.uri, suite, ...source.components]
      .filter((part) => part)
      .join(" ");
  const lines = own.flatMap((source) => source.suites.map((suite) => write(source, suite)));
  const backports = `${release.codename}-backports`;
  const main = own.find((source) => source.suites.includes(release.codename));
  if (release.id !== "debian" || release.codename !== "bookworm" || own.some((source) => source.suites.includes(backports)) || !main) {
    return { lines, added: null };
  }
  const added = write({ ...main, components: ["main"] }, backports);
  return { lines: [...lines, added], added };
}

function systemSources(): Source[] {
  const folder = "/etc/apt/sources.list.d";
  const parts = existsSync(folder) ? readdirSync(folder).filter((name) => /\.(list|sources)$/.test(name)) : [];
  const files = ["/etc/apt/sources.list", ...parts.map((name) => join(folder, name))].filter((path) => existsSync(path));
  return files.flatMap((path) => parseSources(readFileSync(path, "utf8")));
}

const target = (release: Release) => (release.codename === "bookworm" ? ["-t", "bookworm-backports"] : []);

/** Installs the driver system-wide; needs root. Throws the last line of what apt said. */
export async function installAsRoot(say: Say): Promise<void> {
  const release = readRelease();
  const { added } = sourceLines(systemSources(), release);
  const packages = PACKAGES.join(" ");
  say(`no WebGPU adapter works here, so the software Vulkan driver is installed with apt-get (${packages}), once.`);
  if (added) {
    say(`Debian 12's own driver is too old, so ${BACKPORTS} is added (one line: ${added}).`);
    writeFileSync(BACKPORTS, `# Added by worldline for ${packages}; safe to remove.\n${added}\n`);
  }
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // A foreign archive that fails to update is no reason to stop: the install says whether what it needs is there.
  await runQuietly("apt-get", ["-qq", ...LIMITS, "update"], { env, say, limit: 5 * 60_000 }).catch(() => undefined);
  const install = ["-qq", ...LIMITS, "install", "-y", "--no-install-recommends", ...target(release), ...PACKAGES];
  try {
    await runQuietly("apt-get", install, { env, say, limit: 20 * 60_000 });
  } catch (error) {
    if (added) rmSync(BACKPORTS, { force: true });
    throw error;
  }
}

/** Unpacks the driver and what the system lacks of its libraries into `folder`, without root. Throws the last line of what failed. */
export async function installPrivately(folder: string, say: Say): Promise<void> {
  const release = readRelease();
  const { lines } = sourceLines(systemSources(), release);
  if (lines.length === 0) throw new Error(`apt's sources name no archive of ${release.id} ${release.codename}`);
  say(`no WebGPU adapter works here, so a software Vulkan driver is fetched with apt into ${folder} (about 60 MB, no root needed), once.`);
  mkdirSync(join(folder, ".."), { recursive: true });
  const work = mkdtempSync(`${folder}.partial-`);
  try {
    for (const name of ["lists/partial", "archives/partial", "parts", "root"]) mkdirSync(join(work, name), { recursive: true });
    writeFileSync(join(work, "sources.list"), lines.join("\n") + "\n");
    const places: Record<string, string> = {
      "Dir::State": work,
      "Dir::State::status": "/var/lib/dpkg/status",
      "Dir::State::lists": join(work, "lists"),
      "Dir::Cache": work,
      "Dir::Cache::archives": join(work, "archives"),
      "Dir::Etc::SourceList": join(work, "sources.list"),
      "Dir::Etc::SourceParts": join(work, "parts"),
      "Dir::Log": work,
      "Debug::NoLocking": "1",
      "APT::Sandbox::User": "",
    };
    const options = [...LIMITS, ...Object.entries(places).flatMap(([name, value]) => ["-o", `${name}=${value}`])];
    await runQuietly("apt-get", ["-qq", ...options, "update"], { say, limit: 5 * 60_000 });
    const fetch = ["-qq", ...options, "install", "-y", "-d", "--reinstall", "--no-install-recommends", ...target(release), ...PACKAGES];
    await runQuietly("apt-get", fetch, { say, limit: 20 * 60_000 });
    await unpack(join(work, "archives"), join(work, "root"), say);
    keepDriver(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function unpack(archives: string, root: string, say: Say): Promise<void> {
  const packages = readdirSync(archives).filter((name) => name.endsWith(".deb"));
  if (packages.length === 0) throw new Error("apt-get fetched no package");
  for (const name of packages) await runQuietly("dpkg", ["-x", join(archives, name), root], { say, limit: 5 * 60_000 });
}

/** Moves the library folders of an unpacked root into place and writes the manifests, driver.json last. */
function keepDriver(work: string, folder: string): void {
  const inside = ["usr/lib", "lib"].flatMap((base) => {
    const at = join(work, "root", base);
    const triplets = existsSync(at) ? readdirSync(at).filter((name) => name.endsWith("-linux-gnu")) : [];
    return triplets.map((triplet) => join(base, triplet));
  });
  const holder = inside.find((path) => existsSync(join(work, "root", path, "libvulkan_lvp.so")));
  if (!holder) throw new Error("the packages hold no libvulkan_lvp.so");
  for (const name of readdirSync(join(work, "root", holder))) {
    if (/^libvulkan_(?!lvp).*\.so$/.test(name)) rmSync(join(work, "root", holder, name));
  }
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const path of inside) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    renameSync(join(work, "root", path), join(folder, path));
  }
  writeManifests(folder, "lavapipe in the user's cache", join(holder, "libvulkan_lvp.so"), inside);
}

/** Writes the Vulkan loader's manifest with the library's full path, then driver.json, whose presence says the folder is whole. */
export function writeManifests(folder: string, name: string, library: string, folders: string[]): void {
  const icd = join(folder, "icd.json");
  const manifest = { file_format_version: "1.0.0", ICD: { library_path: join(folder, library), api_version: "1.3.0" } };
  writeFileSync(icd, JSON.stringify(manifest, null, 2) + "\n");
  const driver = { name, icd, library: join(folder, library), folders: folders.map((path) => join(folder, path)), system: systemStamp() };
  writeFileSync(join(folder, "driver.json"), JSON.stringify(driver, null, 2) + "\n");
}

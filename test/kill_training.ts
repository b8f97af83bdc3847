// Kills a run with SIGKILL at random moments, most of them while it saves, and lets it go on: every state must resume at a step that was not lost, and the run
// must end with the bits of an undisturbed one.
//   npm run kill -- 200      (about 2 s a kill)
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { trainIn } from "./train_child.ts";

const child = fileURLToPath(new URL("./train_child.ts", import.meta.url));
const root = fileURLToPath(new URL("../", import.meta.url));

export interface KillReport {
  readonly kills: number;
  readonly runs: number;
  /** Kills while a checkpoint was being written, as far as the folder shows. */
  readonly midSave: number;
}

/** Runs and kills; throws a sentence at the first state that is lost. */
export async function killRuns(
  kills: number,
  steps: number,
  seed: number,
  say: (text: string) => void = () => undefined,
): Promise<KillReport> {
  const rng = new Rng(seed, "kills");
  const folders: string[] = [];
  const fresh = () => {
    folders.push(mkdtempSync(join(tmpdir(), "worldline-kill-")));
    return folders[folders.length - 1];
  };
  try {
    const whole = await trainIn(await openDevice(), fresh(), steps, () => undefined, 1e9);
    let folder = fresh();
    let [done, runs, midSave, kept] = [0, 0, 0, 0];
    while (done < kills) {
      // After up to three checkpoints, and then anywhere in the time that one takes.
      const end = await one(folder, steps, kept, { saves: rng.int(4), share: rng.uniform() });
      if (end.resumed < kept) throw new Error(`step ${kept} was saved, but the run went on from ${end.resumed} (${folder})`);
      kept = Math.max(kept, end.saved);
      if (!end.finished) {
        done++;
        midSave += end.writing ? 1 : 0;
        say(`kill ${done}: resumed at ${end.resumed}, saved up to ${end.saved}${end.writing ? ", while writing" : ""}`);
        if (done < kills) continue;
        await one(folder, steps, kept, undefined);
      }
      const bits = readFileSync(join(folder, "result.bin"));
      if (!bits.equals(whole)) throw new Error(`a run that was killed ended with other bits than an undisturbed one (${folder})`);
      const lines = readFileSync(join(folder, "log.jsonl"), "utf8").trim().split("\n");
      const logged = lines.map((l) => (JSON.parse(l) as { step: number }).step).join();
      if (logged !== Array.from({ length: steps }, (_, i) => i + 1).join()) throw new Error(`the log holds the steps ${logged}`);
      runs++;
      [folder, kept] = [fresh(), 0];
    }
    return { kills: done, runs, midSave };
  } finally {
    for (const f of folders) rmSync(f, { recursive: true, force: true });
  }
}

interface End {
  readonly resumed: number;
  readonly saved: number;
  readonly finished: boolean;
  readonly writing: boolean;
}

/** When to kill: after so many checkpoints, and then after a share of the time between two. */
interface Moment {
  readonly saves: number;
  readonly share: number;
}

/** One start of the child, killed at `moment` if one is given. */
function one(folder: string, steps: number, kept: number, moment: Moment | undefined): Promise<End> {
  return new Promise((resolve, reject) => {
    const p: ChildProcess = spawn(process.execPath, ["--import", "tsx", child, folder, `${steps}`], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [resumed, saved, last, errors] = [-1, kept, "", ""];
    // The time between two lines: a first guess until there are two.
    let [since, interval, count] = [0, 100, 0];
    p.stderr!.on("data", (d: Buffer) => (errors += d.toString()));
    let rest = "";
    p.stdout!.on("data", (d: Buffer) => {
      const lines = (rest + d.toString()).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        last = line;
        const [word, step] = line.split(" ");
        if (word === "saved") saved = Math.max(saved, Number(step));
        if (word === "resumed") resumed = Number(step);
        const now = performance.now();
        interval = count === 0 ? interval : now - since;
        since = now;
        if (moment && count++ === moment.saves) setTimeout(() => p.kill("SIGKILL"), moment.share * 1.2 * interval);
      }
    });
    p.on("close", (code, signal) => {
      if (signal === null && code !== 0) return reject(new Error(`a run did not resume:\n${errors}`));
      const writing = signal !== null && unfinished(folder);
      resolve({ resumed, saved, finished: last === "done", writing });
    });
  });
}

function unfinished(folder: string): boolean {
  return readdirSync(folder).some((name) => name.endsWith(".tmp"));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const kills = Number(process.argv[2] ?? 200);
  const seed = Number(process.argv[3] ?? 1);
  const begin = performance.now();
  const r = await killRuns(kills, 40, seed, (text) => void process.stderr.write(`${text}\n`));
  console.log(
    `${r.kills} kills (${r.midSave} while a checkpoint was being written), ${r.runs} runs ended with the bits of an undisturbed one; seed ${seed}, ${((performance.now() - begin) / 1000).toFixed(0)} s`,
  );
  process.exit();
}

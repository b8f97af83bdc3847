// `worldline frames`: key frames of videos as PNG, and neighbouring ones as pairs.
// Exit code 0 when at least one video gave its frames, 1 when every one failed or an argument is wrong, 130 when interrupted.
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { NoAdapterError } from "../engine/host.ts";
import { openDevice } from "../engine/node.ts";
import { checkWritable } from "../weights/file_source.ts";
import { flowMeasure } from "../world/flow_motion.ts";
import { extractKeyFrames, type FramesProgress, type FramesReport } from "../world/frames.ts";
import { writeText } from "../world/records.ts";
import { framesHtml } from "../world/stage_reports.ts";
import { listVideos } from "../world/video.ts";
import { originOf } from "./versions.ts";

const sheets = 20;

interface Flags {
  readonly out: string;
  readonly keyFrames: "motion" | "rest";
  readonly count: number;
  readonly spacing: number;
  readonly size: number | "native";
  readonly square?: "crop" | "pad";
  readonly fps?: number;
  readonly classes?: boolean;
  readonly keepGlitches?: boolean;
  readonly measure: "auto" | "flow" | "difference";
}

/** Optical flow on the device; without an adapter `auto` measures differences of frames and says so. */
async function openMeasure({ measure, keyFrames }: Flags): Promise<(ReturnType<typeof flowMeasure> & { device: Device }) | undefined> {
  if (measure === "difference" || (measure === "auto" && keyFrames === "rest")) return undefined;
  try {
    const device = await openDevice();
    return { ...flowMeasure(device), device };
  } catch (error) {
    if (measure === "flow" || !(error instanceof NoAdapterError)) throw error;
    process.stderr.write(`frames: motion is measured by differences of frames, as there is no WebGPU adapter (${error.message})\n`);
    return undefined;
  }
}

function whole(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1) throw new InvalidArgumentError("give a whole number from 1 on");
  return Number(text);
}

function pixels(text: string): number | "native" {
  return text === "native" ? text : whole(text);
}

function rate(text: string): number {
  if (!(Number(text) > 0)) throw new InvalidArgumentError("give a number of frames a second above 0");
  return Number(text);
}

/** Prints failures as they come; on a terminal the last line counts, elsewhere every tenth part is a line. */
function reporter(): (progress: FramesProgress) => void {
  const live = process.stderr.isTTY;
  return ({ done, total, state, reason }) => {
    const clear = live ? "\r\x1b[K" : "";
    if (state === "failed") process.stderr.write(`${clear}left out: ${reason}\n`);
    const line = `frames: ${done} of ${total} videos`;
    if (live) process.stderr.write(`${clear}${line}${done === total ? "\n" : ""}`);
    else if (done === total || done % Math.ceil(total / 10) === 0) process.stderr.write(`${line}\n`);
  };
}

function summary(report: FramesReport, out: string, seconds: number): string {
  const { videos, written, kept, failed, keyFrames, pairs, black, glitches, dropped } = report;
  const lines = [
    `videos      ${videos}: ${written} read, ${kept} kept from an earlier run, ${failed.length} left out`,
    `key frames  ${keyFrames} (passed over: ${black} black frames, ${glitches} glitches)`,
    `pairs       ${pairs} (left out: ${dropped.cut} across a cut or black, ${dropped.duplicate} of nearly equal frames)`,
    `time        ${seconds.toFixed(1)} s`,
    `written to  ${out}: report.html, pairs.jsonl, frames/, sheets/`,
  ];
  if (failed.length) lines.push(`warning     ${failed.length} of ${videos} videos could not be read; see above`);
  return lines.join("\n");
}

/** The contact sheets as data URLs. */
async function contactSheets(out: string): Promise<{ name: string; url: string }[]> {
  const files = (await readdir(join(out, "sheets")).catch(() => [])).filter((file) => file.endsWith(".png")).sort();
  const url = async (file: string) => `data:image/png;base64,${(await readFile(join(out, "sheets", file))).toString("base64")}`;
  return Promise.all(files.slice(0, sheets).map(async (file) => ({ name: basename(file, ".png"), url: await url(file) })));
}

async function frames(paths: readonly string[], all: Flags): Promise<void> {
  const { out, size, measure: _, ...flags } = all;
  const stop = new AbortController();
  const interrupt = () => stop.abort(new WorldlineError("interrupted; run the same command again to go on"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const start = performance.now();
    await checkWritable(join(out, "report.html"));
    const videos = await listVideos(paths);
    const flow = await openMeasure(all);
    const options = { ...flags, size: size === "native" ? undefined : size, sheets, measure: flow?.measure };
    const report = await extractKeyFrames(videos, out, options, { onProgress: reporter(), signal: stop.signal });
    await flow?.destroy();
    const origin = { ...originOf(flow?.device), motion: flow ? "optical flow" : "differences of frames" };
    await writeText(join(out, "report.html"), framesHtml(report, await contactSheets(out), origin));
    process.stdout.write(`${summary(report, out, (performance.now() - start) / 1000)}\n`);
    if (report.failed.length === videos.length) process.exitCode = 1;
  } catch (error) {
    if (!(error instanceof WorldlineError || error instanceof NoAdapterError)) throw error;
    process.stderr.write(`frames: ${error.message}\n`);
    process.exitCode = stop.signal.aborted ? 130 : 1;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

/** Adds the command to the program. */
export function register(program: Command): void {
  program
    .command("frames")
    .description("find key frames in videos and write neighbouring ones as pairs; a run that was stopped goes on where it was")
    .argument("<videos...>", "video files, folders of pictures sorted by name, or folders of these")
    .requiredOption("--out <folder>", "where frames/, sheets/ and pairs.jsonl go")
    .addOption(
      new Option("--key-frames <kind>", "the strongest moments of motion, or the rests between them")
        .choices(["motion", "rest"])
        .default("motion"),
    )
    .addOption(
      new Option("--measure <how>", "optical flow, or differences of frames; auto: flow for motion, differences for rests")
        .choices(["auto", "flow", "difference"])
        .default("auto"),
    )
    .option("--count <n>", "motion: most key frames of a video", whole, 6)
    .option("--spacing <n>", "motion: least number of frames between two", whole, 20)
    .option("--size <pixels>", 'side of a square picture, shorter side of any other; "native" leaves it', pixels, 512)
    .addOption(new Option("--square <how>", "make pictures square: cut the centre out, or fill up with black").choices(["crop", "pad"]))
    .option("--classes", "the folder a video lies in is its class, for `worldline filter --by-class`")
    .option("--keep-glitches", "leave single frames in that are unlike both neighbours while these are alike, as a decoder's errors are")
    .option("--fps <n>", "frames a second to look at (the video's own where absent)", rate)
    .action(frames);
}

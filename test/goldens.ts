// Reads the reference data in test/goldens (see its MANIFEST.md) for the tests.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fileSource } from "../weights/file_source.ts";
import { openSafetensors, type Safetensors, toFloat32 } from "../weights/safetensors.ts";

/** The path of a golden file or folder. */
export const goldenPath = (path: string): string => fileURLToPath(new URL(`./goldens/${path}`, import.meta.url));

/** A golden JSON file. */
export const goldenJson = <T = Record<string, unknown>>(path: string): T => JSON.parse(readFileSync(goldenPath(path), "utf8")) as T;

/** A golden safetensors file, opened. */
export const goldenTensors = async (path: string): Promise<Safetensors> => openSafetensors(await fileSource(goldenPath(path)), path);

/** One float tensor of an opened file. */
export const floats = async (file: Safetensors, name: string): Promise<Float32Array> =>
  toFloat32(await file.read(name), file.tensors.get(name)?.dtype ?? "F32");

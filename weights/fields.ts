// Reads typed fields out of a JSON object, with one sentence per fault. Absent and null fields take the default.

import { WorldlineError } from "../engine/errors.ts";
import { isObject, quote } from "./source.ts";

/** Typed access to the fields of one JSON object; `where` opens every message. A default of undefined makes a field required. */
export interface Fields {
  readonly has: (name: string) => boolean;
  readonly refuse: (name: string, needed: string) => WorldlineError;
  readonly count: (name: string, fallback?: number) => number;
  readonly number: (name: string, fallback?: number) => number;
  readonly flag: (name: string, fallback?: boolean) => boolean;
  readonly text: (name: string, fallback?: string) => string;
  readonly counts: (name: string, fallback?: number[]) => number[];
  readonly object: (name: string) => Record<string, unknown> | null;
  /** A token id: a whole number from 0 up, or null where absent. */
  readonly id: (name: string) => number | null;
}

/** Wraps `json` for typed reading. */
export function fieldsOf(json: Record<string, unknown>, where: string): Fields {
  const refuse = (name: string, needed: string) =>
    new WorldlineError(`${where}: ${name} is ${quote(json[name])}, ${needed} is needed; correct the file`);
  const field = <T>(name: string, fallback: T | undefined, is: (value: unknown) => boolean, needed: string): T => {
    const value = json[name] ?? fallback;
    if (is(value)) return value as T;
    if (value === undefined) throw new WorldlineError(`${where}: ${name} is missing, ${needed} is needed; is this the right file?`);
    throw refuse(name, needed);
  };
  return {
    has: (name) => json[name] !== undefined && json[name] !== null,
    refuse,
    count: (name, fallback) => field(name, fallback, (v) => isCount(v, 1), "a whole number from 1 up"),
    number: (name, fallback) => field(name, fallback, (v) => typeof v === "number" && Number.isFinite(v), "a number"),
    flag: (name, fallback) => field(name, fallback, (v) => typeof v === "boolean", "true or false"),
    text: (name, fallback) => field(name, fallback, (v) => typeof v === "string", "text"),
    counts: (name, fallback) => [
      ...field<number[]>(name, fallback, (v) => Array.isArray(v) && v.every((n) => isCount(n, 1)), "a list of whole numbers from 1 up"),
    ],
    object: (name) => field<Record<string, unknown> | null>(name, null, (v) => v === null || isObject(v), "an object"),
    id: (name) => field<number | null>(name, null, (v) => v === null || isCount(v, 0), "a token id (a whole number from 0 up)"),
  };
}

function isCount(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

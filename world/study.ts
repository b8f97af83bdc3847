// The human study (the paper's section 4.3.1 and appendix I): people see a source picture, an action and the results of several systems, unnamed and in an
// order drawn for each item, and choose the best and the worst: +1 and -1, 0 for the others. The page knows positions only; which system stood
// where is in a key file that stays with the maker.
import { createHash } from "node:crypto";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { isObject, parseJsonObject } from "../weights/source.ts";
import type { BenchSystem, Sample } from "./bench.ts";
import type { TripletRecord } from "./records.ts";
import { type Mean, meanOf, type Paired, spearman, wilcoxon } from "./statistics.ts";

/** An item and the systems in the order in which their pictures are shown. */
export interface StudyItem {
  readonly id: string;
  readonly subset: string;
  readonly order: readonly string[];
}

/** What stays with the maker. */
export interface StudyKey {
  readonly study: string;
  readonly systems: readonly string[];
  readonly items: readonly StudyItem[];
}

/** What one person exports: positions from 0, by item. */
export interface StudyAnswers {
  readonly study: string;
  readonly rater: string;
  readonly answers: readonly { readonly id: string; readonly best: number; readonly worst: number }[];
}

/** Draws `perSubset` records of each part for which every system has a picture, and an order of the systems for each. */
export function makeStudy(records: readonly TripletRecord[], systems: readonly BenchSystem[], perSubset: number, seed: number): StudyKey {
  if (systems.length < 2) throw new WorldlineError("study: people choose between systems; give two or more");
  const rng = new Rng(seed, "study");
  const shuffled = <T>(list: readonly T[]): T[] => {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = rng.int(i + 1);
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  };
  const able = records.filter((r) => systems.every((s) => s.pictureOf(r) !== undefined));
  const parts = [...new Set(able.map((r) => r.family ?? "all"))];
  const chosen = parts.flatMap((part) => shuffled(able.filter((r) => (r.family ?? "all") === part)).slice(0, perSubset));
  if (chosen.length === 0) throw new WorldlineError("study: there is no record for which every system has a picture; check the folders");
  const names = systems.map((s) => s.name);
  const items = shuffled(chosen).map((r) => ({ id: r.id, subset: r.family ?? "all", order: shuffled(names) }));
  const study = createHash("sha256")
    .update(JSON.stringify([seed, items]))
    .digest("hex")
    .slice(0, 12);
  return { study, systems: names, items };
}

/** Reads a person's exported file. Throws a sentence where it is not of this study or holds what cannot be. */
export function parseAnswers(text: string, name: string, key: StudyKey): StudyAnswers {
  const json = parseJsonObject(text, name);
  if (json.study !== key.study)
    throw new WorldlineError(`${name} answers study ${String(json.study)}, the key is of ${key.study}; give the files of one study`);
  if (typeof json.rater !== "string" || !Array.isArray(json.answers))
    throw new WorldlineError(`${name} has no rater or no answers; export it again from the page`);
  const seen = new Set<string>();
  const answers = json.answers.map((value: unknown, i) => {
    const item = isObject(value) ? key.items.find(({ id }) => id === value.id) : undefined;
    const { best, worst } = (value ?? {}) as { best?: unknown; worst?: unknown };
    const place = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0 && (v as number) < (item?.order.length ?? 0);
    if (!item || !place(best) || !place(worst) || best === worst || seen.has(item.id))
      throw new WorldlineError(`${name}: answer ${i + 1} is no choice of two different pictures of an item of this study, each item once`);
    seen.add(item.id);
    return { id: item.id, best, worst };
  });
  return { study: key.study, rater: json.rater, answers };
}

/** One annotation: the scores of all systems on an item. */
interface Annotation {
  readonly id: string;
  readonly subset: string;
  readonly scores: Readonly<Record<string, number>>;
}

export interface StudyScores {
  readonly raters: number;
  readonly annotations: number;
  /** scores[system][subset or "all"] */
  readonly scores: Readonly<Record<string, Readonly<Record<string, Mean>>>>;
  readonly comparisons: readonly (Paired & { readonly first: string; readonly second: string; readonly subset: string })[];
  /** Agreement with a judge, where its samples were given. */
  readonly judge?: { readonly rho: number; readonly p: number; readonly n: number; readonly sameBest: number; readonly items: number };
}

/** Mean best-worst scores by part and overall, Wilcoxon's signed-rank test for each two systems, and agreement with a judge's samples. */
export function scoreStudy(key: StudyKey, people: readonly StudyAnswers[], samples?: readonly Sample[]): StudyScores {
  const twice = people.find((p, i) => people.findIndex((o) => o.rater === p.rater) !== i);
  if (twice) throw new WorldlineError(`study: rater "${twice.rater}" comes twice; give each person's file once`);
  const items = new Map(key.items.map((item) => [item.id, item]));
  const annotations: Annotation[] = people.flatMap(({ answers }) =>
    answers.map(({ id, best, worst }) => {
      const { order, subset } = items.get(id)!;
      return { id, subset, scores: Object.fromEntries(order.map((system, at) => [system, at === best ? 1 : at === worst ? -1 : 0])) };
    }),
  );
  const subsets = [...new Set([...key.items.map((i) => i.subset), "all"])];
  const of = (system: string, subset: string) =>
    annotations.filter((a) => subset === "all" || a.subset === subset).map((a) => a.scores[system]);
  const scores = Object.fromEntries(
    key.systems.map((s) => [s, Object.fromEntries(subsets.map((subset) => [subset, meanOf(of(s, subset))]))]),
  );
  const comparisons = subsets.flatMap((subset) =>
    key.systems.flatMap((first, i) =>
      key.systems.slice(i + 1).map((second) => ({ first, second, subset, ...wilcoxon(of(first, subset), of(second, subset)) })),
    ),
  );
  return {
    raters: people.length,
    annotations: annotations.length,
    scores,
    comparisons,
    ...(samples && { judge: agreement(key, annotations, samples) }),
  };
}

/** Rank correlation of mean human scores with the judge's over items and systems, and how often both name the same best system (ties count for neither). */
function agreement(key: StudyKey, annotations: readonly Annotation[], samples: readonly Sample[]): NonNullable<StudyScores["judge"]> {
  const judged = new Map(samples.flatMap((s) => (s.verdict ? [[`${s.id} ${s.system}`, s.verdict.score] as const] : [])));
  const [people, judge]: [number[], number[]] = [[], []];
  let [same, both] = [0, 0];
  for (const { id, order } of key.items) {
    const mine = annotations.filter((a) => a.id === id);
    if (mine.length === 0 || !order.every((system) => judged.has(`${id} ${system}`))) continue;
    const human = order.map((system) => meanOf(mine.map((a) => a.scores[system])).mean);
    const machine = order.map((system) => judged.get(`${id} ${system}`)!);
    people.push(...human);
    judge.push(...machine);
    const [best, chosen] = [human, machine].map((values) => {
      const most = Math.max(...values);
      return values.filter((v) => v === most).length === 1 ? values.indexOf(most) : undefined;
    });
    if (best === undefined || chosen === undefined) continue;
    both++;
    if (best === chosen) same++;
  }
  if (people.length === 0)
    throw new WorldlineError("study: the samples hold no verdicts on this study's items; evaluate the same systems with --judge");
  return { ...spearman(people, judge), sameBest: same, items: both };
}

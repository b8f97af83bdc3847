// Training and test material: labelled triplets (source, sentence, target), unlabelled pairs of one or two actions, and the wrong but
// plausible action of the probe.
import { WorldlineError } from "../../engine/errors.ts";
import type { Rng } from "../../engine/rng.ts";
import {
  type Action,
  chooseAction,
  describe,
  FAMILIES,
  type Family,
  familyOf,
  legalActions,
  type Sampled,
  sampleAction,
} from "./actions.ts";
import { judge } from "./oracle.ts";
import { driftView, type Picture, randomView, render } from "./render.ts";
import { kindsOf, randomScene, type Scene, type Tabletop, toRng } from "./world.ts";

/** A source, what is done, and the outcome, as scenes and as pictures. */
export type Triplet = Sampled & { readonly before: Scene; readonly source: Picture; readonly target: Picture };

/** Two pictures some actions apart, with the truth that training must not see. */
export type Pair = {
  readonly before: Scene;
  readonly after: Scene;
  readonly actions: readonly Action[];
  readonly texts: readonly string[];
  readonly source: Picture;
  readonly target: Picture;
};

const TRIES = 1000;

/** A labelled triplet; without a family the five families come in equal shares. */
export function triplet(world: Tabletop, seed: number | Rng, family?: Family): Triplet {
  const rng = toRng(seed, "tabletop triplet");
  const wanted = family ?? rng.pick(FAMILIES);
  for (let i = 0; i < TRIES; i++) {
    const before = randomScene(world, rng, wanted === "count");
    const sampled = sampleAction(world, before, rng, wanted);
    if (sampled) return { before, ...sampled, ...shoot(world, before, sampled.after, rng) };
  }
  throw new WorldlineError(`tabletop: no scene of this world allows an action of family "${wanted}"; give it more cells or fewer objects`);
}

/**
 * An unlabelled pair of `steps` consecutive actions (1 or more). With 2 or more steps the pair is one that no single sentence explains,
 * like two neighbours of a missed key frame.
 */
export function pair(world: Tabletop, seed: number | Rng, options: { steps?: number; family?: Family } = {}): Pair {
  const { steps = 1, family } = options;
  if (!Number.isInteger(steps) || steps < 1) throw new WorldlineError(`tabletop: steps is ${steps}; give a whole number of at least 1`);
  const rng = toRng(seed, "tabletop pair");
  if (steps === 1) {
    const { before, after, action, text, source, target } = triplet(world, rng, family);
    return { before, after, actions: [action], texts: [text], source, target };
  }
  for (let i = 0; i < TRIES; i++) {
    const before = randomScene(world, rng, family === "count");
    const taken = sampleSteps(world, before, rng, steps, family);
    if (!taken) continue;
    const { after } = taken[steps - 1];
    if (!needsSeveral(world, before, after)) continue;
    return { before, after, actions: taken.map((t) => t.action), texts: taken.map((t) => t.text), ...shoot(world, before, after, rng) };
  }
  throw new WorldlineError(`tabletop: no scene of this world allows ${steps} actions in a row; give it more cells or fewer objects`);
}

/** Several actions in a row, the first of a family if given; undefined when one is not possible. */
export function sampleSteps(world: Tabletop, before: Scene, rng: Rng, steps: number, family?: Family): Sampled[] | undefined {
  const taken: Sampled[] = [];
  for (let scene = before; taken.length < steps; scene = taken[taken.length - 1].after) {
    const next = sampleAction(world, scene, rng, taken.length === 0 ? family : undefined);
    if (!next) return undefined;
    taken.push(next);
  }
  return taken;
}

function needsSeveral(world: Tabletop, before: Scene, after: Scene): boolean {
  const kinds = kindsOf(after);
  if (kindsOf(before).every((kind, cell) => kind === kinds[cell])) return false;
  return !legalActions(world, before).some((action) => judge(world, action, before, kinds).success);
}

/** Both pictures of a pair: the second under light and camera that drifted on from the first. */
export function shoot(world: Tabletop, before: Scene, after: Scene, rng: Rng): { source: Picture; target: Picture } {
  const view = randomView(world, rng);
  return { source: render(world, before, view), target: render(world, after, driftView(world, view, rng)) };
}

/** An action that is legal in `before` but does not lead to `after`, and its sentence: the plausible negative of the probe. */
export function otherAction(
  world: Tabletop,
  before: Scene,
  after: Scene,
  rng: Rng,
): { action: Action; text: string; family: Family } | undefined {
  const kinds = kindsOf(after);
  const wrong = legalActions(world, before).filter((action) => !judge(world, action, before, kinds).success);
  const action = chooseAction(wrong, rng);
  return action && { action, text: describe(world, action), family: familyOf(action) };
}

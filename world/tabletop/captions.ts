// What can be said about a single picture: how many of what there are, or how two neighbours lie. No word of an action occurs.
//   "two red rings, one blue square"        "the red ring is to the left of the blue square"
import type { Rng } from "../../engine/rng.ts";
import { kindName, numberWord, type Side, sideWords } from "./actions.ts";
import { EMPTY, kindsOf, type Scene, type Tabletop } from "./world.ts";

/** All kinds on the table with their numbers, in reading order of their first object; "" for an empty table. */
export function countCaption(world: Tabletop, scene: Scene): string {
  const counts = new Map<number, number>();
  for (const kind of kindsOf(scene)) if (kind !== EMPTY) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, n]) => `${numberWord(n)} ${kindName(world, kind, n)}`).join(", ");
}

/** Every true sentence about two unique objects in touching cells of a row or column, both ways round. */
export function spatialFacts(world: Tabletop, scene: Scene): string[] {
  const kinds = kindsOf(scene);
  const unique = (kind: number) => kind !== EMPTY && kinds.indexOf(kind) === kinds.lastIndexOf(kind);
  const facts: string[] = [];
  const say = (a: number, side: Side, b: number) => facts.push(`the ${kindName(world, a)} is ${sideWords(side)} the ${kindName(world, b)}`);
  kinds.forEach((kind, cell) => {
    if (!unique(kind)) return;
    const right = (cell + 1) % world.grid ? kinds[cell + 1] : EMPTY;
    const below = cell + world.grid < kinds.length ? kinds[cell + world.grid] : EMPTY;
    if (unique(right)) {
      say(kind, "left", right);
      say(right, "right", kind);
    }
    if (unique(below)) {
      say(kind, "above", below);
      say(below, "below", kind);
    }
  });
  return facts;
}

/** A caption: the counts, or with even chance one spatial fact when there is one. */
export function caption(world: Tabletop, scene: Scene, rng: Rng): string {
  const facts = spatialFacts(world, scene);
  return facts.length > 0 && rng.uniform() < 0.5 ? rng.pick(facts) : countCaption(world, scene);
}

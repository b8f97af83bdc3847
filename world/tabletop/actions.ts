// What may happen on the table: five families of actions, when each is legal, what it changes, and its one English sentence.
//   edit     paint the red ring blue / turn the red ring into a square / make the large red ring small /
//            remove the red ring / add a red ring
//   move     move the red ring left
//   swap     swap the red ring and the blue square                       (lower kind number first)
//   spatial  put the red ring to the left of the blue square             (from at least two steps away, else it is a move)
//   count    make it two red rings
import { WorldlineError } from "../../engine/errors.ts";
import type { Rng } from "../../engine/rng.ts";
import { EMPTY, type Item, kindCount, kindOf, restingItem, type Scene, type Tabletop, traits } from "./world.ts";

export const FAMILIES = ["edit", "move", "swap", "spatial", "count"] as const;
export type Family = (typeof FAMILIES)[number];
export type Way = "left" | "right" | "up" | "down";
export type Side = "left" | "right" | "above" | "below";

/** One action; `kind` is the kind number of the object it is about. */
export type Action =
  | { readonly op: "paint" | "turn" | "resize"; readonly kind: number; readonly to: number }
  | { readonly op: "remove" | "add"; readonly kind: number }
  | { readonly op: "move"; readonly kind: number; readonly way: Way }
  | { readonly op: "swap"; readonly kind: number; readonly other: number }
  | { readonly op: "put"; readonly kind: number; readonly side: Side; readonly anchor: number }
  | { readonly op: "count"; readonly kind: number; readonly n: number };

const STEPS: Record<Way | Side, readonly [number, number]> = {
  left: [-1, 0],
  right: [1, 0],
  up: [0, -1],
  down: [0, 1],
  above: [0, -1],
  below: [0, 1],
};
const WAYS = ["left", "right", "up", "down"] as const;
const SIDES = ["left", "right", "above", "below"] as const;
const SIDE_WORDS: Record<Side, string> = { left: "to the left of", right: "to the right of", above: "above", below: "below" };
const NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const FAMILY_OF: Record<Action["op"], Family> = {
  paint: "edit",
  turn: "edit",
  resize: "edit",
  remove: "edit",
  add: "edit",
  move: "move",
  swap: "swap",
  put: "spatial",
  count: "count",
};

/** The family of an action. */
export function familyOf(action: Action): Family {
  return FAMILY_OF[action.op];
}

/** The word for a small number, 0 to 9. */
export function numberWord(n: number): string {
  return NUMBERS[n];
}

/** "left", "to the left of" and so on, as captions and "put" say it. */
export function sideWords(side: Side): string {
  return SIDE_WORDS[side];
}

/** The name of n objects of a kind: "red ring", "small blue crosses". */
export function kindName(world: Tabletop, kind: number, n = 1): string {
  const { size, colour, shape } = traits(world, kind);
  const noun = world.shapes[shape];
  const sized = world.sizes.length > 1 ? `${world.sizes[size].name} ` : "";
  return `${sized}${world.colours[colour].name} ${n === 1 ? noun : noun + (/(s|x|ch|sh)$/.test(noun) ? "es" : "s")}`;
}

const withArticle = (words: string) => `${/^[aeiou]/.test(words) ? "an" : "a"} ${words}`;

/** The sentence of an action. */
export function describe(world: Tabletop, action: Action): string {
  const name = kindName(world, action.kind);
  switch (action.op) {
    case "paint":
      return `paint the ${name} ${world.colours[traits(world, action.to).colour].name}`;
    case "turn":
      return `turn the ${name} into ${withArticle(world.shapes[traits(world, action.to).shape])}`;
    case "resize":
      return `make the ${name} ${world.sizes[traits(world, action.to).size].name}`;
    case "remove":
      return `remove the ${name}`;
    case "add":
      return `add ${withArticle(name)}`;
    case "move":
      return `move the ${name} ${action.way}`;
    case "swap":
      return `swap the ${name} and the ${kindName(world, action.other)}`;
    case "put":
      return `put the ${name} ${SIDE_WORDS[action.side]} the ${kindName(world, action.anchor)}`;
    case "count":
      return `make it ${NUMBERS[action.n]} ${kindName(world, action.kind, action.n)}`;
  }
}

/** Kinds that differ from this one in exactly one trait, with the verb that makes the change. */
function changes(world: Tabletop, kind: number): Action[] {
  const { size, colour, shape } = traits(world, kind);
  const list: Action[] = [];
  for (let c = 0; c < world.colours.length; c++) if (c !== colour) list.push({ op: "paint", kind, to: kindOf(world, size, c, shape) });
  for (let s = 0; s < world.shapes.length; s++) if (s !== shape) list.push({ op: "turn", kind, to: kindOf(world, size, colour, s) });
  for (let s = 0; s < world.sizes.length; s++) if (s !== size) list.push({ op: "resize", kind, to: kindOf(world, s, colour, shape) });
  return list;
}

/** Every action on these objects; `absent` are kinds that may be added. */
function actionsOn(world: Tabletop, present: readonly number[], absent: readonly number[]): Action[] {
  const list: Action[] = [];
  for (const kind of present) {
    list.push(...changes(world, kind), { op: "remove", kind });
    for (const way of WAYS) list.push({ op: "move", kind, way });
    for (const other of present) if (other > kind) list.push({ op: "swap", kind, other });
    for (const anchor of present) if (anchor !== kind) for (const side of SIDES) list.push({ op: "put", kind, side, anchor });
    for (let n = 1; n <= world.maxCount; n++) list.push({ op: "count", kind, n });
  }
  for (const kind of absent) list.push({ op: "add", kind });
  return list;
}

/** Where an action takes place: the cells of its object, the cell it goes to, empty cells. */
export type Places = { readonly from: readonly number[]; readonly goal: number; readonly empty: readonly number[] };

/** The cells that hold a kind, or that hold nothing. */
function cellsOf(scene: Scene, kind: number): number[] {
  const cells: number[] = [];
  for (let cell = 0; cell < scene.cells.length; cell++) if ((scene.cells[cell]?.kind ?? EMPTY) === kind) cells.push(cell);
  return cells;
}

function neighbour(world: Tabletop, cell: number, step: readonly [number, number]): number {
  const x = (cell % world.grid) + step[0];
  const y = Math.floor(cell / world.grid) + step[1];
  return x < 0 || y < 0 || x >= world.grid || y >= world.grid ? -1 : y * world.grid + x;
}

function distance(world: Tabletop, a: number, b: number): number {
  return Math.abs((a % world.grid) - (b % world.grid)) + Math.abs(Math.floor(a / world.grid) - Math.floor(b / world.grid));
}

/** The places of an action in a scene, or undefined when it is not legal there. */
export function placesOf(world: Tabletop, scene: Scene, action: Action): Places | undefined {
  const from = cellsOf(scene, action.kind);
  const empty = cellsOf(scene, EMPTY);
  const objects = scene.cells.length - empty.length;
  const free = (goal: number) => (goal >= 0 && scene.cells[goal] === null ? { from, goal, empty } : undefined);
  if (action.op === "add")
    return from.length === 0 && objects < world.maxObjects && empty.length > 0 ? { from, goal: -1, empty } : undefined;
  if (action.op === "count") {
    const more = action.n - from.length;
    const legal = from.length > 0 && more !== 0 && more <= empty.length && objects + more <= world.maxObjects;
    return legal ? { from, goal: -1, empty } : undefined;
  }
  if (from.length !== 1) return undefined;
  switch (action.op) {
    case "paint":
    case "turn":
    case "resize":
      return cellsOf(scene, action.to).length === 0 ? { from, goal: from[0], empty } : undefined;
    case "remove":
      return objects > 2 ? { from, goal: -1, empty } : undefined;
    case "move":
      return free(neighbour(world, from[0], STEPS[action.way]));
    case "swap": {
      const other = cellsOf(scene, action.other);
      return other.length === 1 && action.other !== action.kind ? { from, goal: other[0], empty } : undefined;
    }
    case "put": {
      const anchor = cellsOf(scene, action.anchor);
      if (anchor.length !== 1 || action.anchor === action.kind) return undefined;
      const goal = neighbour(world, anchor[0], STEPS[action.side]);
      return goal >= 0 && distance(world, from[0], goal) >= 2 ? free(goal) : undefined;
    }
  }
}

/** Whether an action is legal in a scene. */
export function isLegal(world: Tabletop, scene: Scene, action: Action): boolean {
  return placesOf(world, scene, action) !== undefined;
}

/** Every legal action of a scene, always in the same order. */
export function legalActions(world: Tabletop, scene: Scene): Action[] {
  const present = new Set<number>();
  for (const item of scene.cells) if (item) present.add(item.kind);
  const sorted = [...present].sort((a, b) => a - b);
  const absent: number[] = [];
  for (let kind = 0; kind < kindCount(world); kind++) if (!present.has(kind)) absent.push(kind);
  return actionsOn(world, sorted, absent).filter((action) => isLegal(world, scene, action));
}

/** The scene after a legal action; free choices (cells of new objects, which of a group leave, how moved things rest) come from `rng`. */
export function apply(world: Tabletop, scene: Scene, action: Action, rng: Rng): Scene {
  const places = placesOf(world, scene, action);
  if (!places) throw new WorldlineError(`tabletop: "${describe(world, action)}" is not legal in this scene; take one of legalActions`);
  const { from, goal, empty } = places;
  const cells: (Item | null)[] = [...scene.cells];
  const first = cells[from[0]];
  switch (action.op) {
    case "paint":
    case "turn":
    case "resize":
      cells[goal] = { ...(first as Item), kind: action.to };
      break;
    case "remove":
      cells[from[0]] = null;
      break;
    case "add":
      cells[rng.pick(empty)] = restingItem(action.kind, rng);
      break;
    case "move":
    case "put":
      cells[goal] = restingItem(action.kind, rng);
      cells[from[0]] = null;
      break;
    case "swap":
      cells[goal] = restingItem(action.kind, rng);
      cells[from[0]] = restingItem(action.other, rng);
      break;
    case "count": {
      const more = action.n - from.length;
      for (const cell of rng.shuffle([...empty]).slice(0, Math.max(0, more))) cells[cell] = restingItem(action.kind, rng);
      for (const cell of rng.shuffle([...from]).slice(0, Math.max(0, -more))) cells[cell] = null;
    }
  }
  return { cells, clutter: scene.clutter };
}

/** One of these actions: families in equal shares, within a family verbs (or numbers) in equal shares. Undefined for an empty list. */
export function chooseAction(actions: readonly Action[], rng: Rng): Action | undefined {
  if (actions.length === 0) return undefined;
  const drawn = <K>(list: readonly Action[], key: (action: Action) => K) => {
    const keys = [...new Set(list.map(key))];
    const kept = keys[rng.int(keys.length)];
    return list.filter((action) => key(action) === kept);
  };
  const family = drawn(actions, familyOf);
  return rng.pick(drawn(family, (action) => (action.op === "count" ? action.n : action.op)));
}

/** What `sampleAction` returns. */
export type Sampled = { readonly action: Action; readonly text: string; readonly family: Family; readonly after: Scene };

/** A random legal action, of one family if given, and its outcome; undefined when none is legal. */
export function sampleAction(world: Tabletop, scene: Scene, rng: Rng, family?: Family): Sampled | undefined {
  const legal = legalActions(world, scene);
  const action = chooseAction(family ? legal.filter((a) => familyOf(a) === family) : legal, rng);
  return action && { action, text: describe(world, action), family: familyOf(action), after: apply(world, scene, action, rng) };
}

const sentenceTables = new WeakMap<Tabletop, Map<string, Action>>();

/** Every sentence of the grammar and its action. */
export function sentences(world: Tabletop): ReadonlyMap<string, Action> {
  let table = sentenceTables.get(world);
  if (!table) {
    const kinds = Array.from({ length: kindCount(world) }, (_, kind) => kind);
    table = new Map(actionsOn(world, kinds, kinds).map((action) => [describe(world, action), action]));
    sentenceTables.set(world, table);
  }
  return table;
}

/** The action of a sentence, or undefined when the grammar does not have it. Case and spacing do not matter, nor the order in "swap". */
export function parseAction(world: Tabletop, text: string): Action | undefined {
  const plain = text.trim().toLowerCase().replace(/\s+/g, " ").replace(/\.$/, "");
  const table = sentences(world);
  const found = table.get(plain);
  if (found) return found;
  const pair = /^swap the (.+) and the (.+)$/.exec(plain);
  return pair ? table.get(`swap the ${pair[2]} and the ${pair[1]}`) : undefined;
}

/** All words of sentences and captions in a fixed order, the comma of captions last. */
export function words(world: Tabletop): string[] {
  const all = new Set<string>();
  for (const text of sentences(world).keys()) for (const word of text.split(" ")) all.add(word);
  all.add("is");
  return [...[...all].sort(), ","];
}

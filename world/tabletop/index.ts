// The embedded tabletop world: scenes, pictures, sentences, clips and the exact judge. Runs in Node and in a browser alike;
// clip_files.ts, which writes files, is imported by itself.
export {
  type Action,
  apply,
  chooseAction,
  describe,
  FAMILIES,
  type Family,
  familyOf,
  isLegal,
  kindName,
  legalActions,
  parseAction,
  type Sampled,
  type Side,
  sampleAction,
  sentences,
  type Way,
  words,
} from "./actions.ts";
export { caption, countCaption, spatialFacts } from "./captions.ts";
export { type Clip, type ClipOptions, clip } from "./clips.ts";
export { explains, judge, type Parsed, parse, type Verdict } from "./oracle.ts";
export { driftView, type Picture, pictureSide, randomView, render, type View } from "./render.ts";
export { otherAction, type Pair, pair, sampleSteps, shoot, type Triplet, triplet } from "./samples.ts";
export {
  checkWorld,
  defaultWorld,
  EMPTY,
  fullWorld,
  type Item,
  kindCount,
  kindOf,
  kindsOf,
  type Mark,
  makeWorld,
  type Rgb,
  randomScene,
  type Scene,
  type ShapeName,
  shapeNames,
  type Tabletop,
  traits,
  UNKNOWN,
} from "./world.ts";

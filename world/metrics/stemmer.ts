// The Porter stemmer (Porter 1980, "An algorithm for suffix stripping") with the departures that NLTK makes by default and that rouge_score
// therefore has: a few irregular words, "ies" and "ied" of four letters keep the e, y turns to i after any consonant but the first letter, "bli", "alli",
// "fulli" and "logi" in step 2, and two-letter vowel-consonant stems count as short.

const irregular = new Map([
  ["skies", "sky"],
  ["sky", "sky"],
  ["dying", "die"],
  ["lying", "lie"],
  ["tying", "tie"],
  ["news", "news"],
  ["innings", "inning"],
  ["inning", "inning"],
  ["outings", "outing"],
  ["outing", "outing"],
  ["cannings", "canning"],
  ["canning", "canning"],
  ["howe", "howe"],
  ["proceed", "proceed"],
  ["exceed", "exceed"],
  ["succeed", "succeed"],
]);

/** c for a consonant and v for a vowel at each place; y is a vowel after a consonant. */
function shape(stem: string): string {
  let out = "";
  for (const [i, letter] of [...stem].entries())
    out += "aeiou".includes(letter) || (letter === "y" && i > 0 && out[i - 1] === "c") ? "v" : "c";
  return out;
}

/** Porter's m: how often consonants follow vowels. */
const measure = (stem: string): number => (shape(stem).match(/v+c/g) ?? []).length;
const hasVowel = (stem: string): boolean => shape(stem).includes("v");
const doubled = (stem: string): boolean => stem.length > 1 && stem.at(-1) === stem.at(-2) && shape(stem).endsWith("c");

/** Consonant, vowel, consonant other than w, x, y at the end; or just vowel and consonant. */
function short(stem: string): boolean {
  const s = shape(stem);
  return stem.length === 2 ? s === "vc" : s.endsWith("cvc") && !/[wxy]$/.test(stem);
}

type Rule = readonly [suffix: string, put: string, when?: (stem: string) => boolean];

/** The first rule whose suffix fits decides, whether or not its condition holds. */
function apply(word: string, rules: readonly Rule[], when: (stem: string) => boolean = () => true): string {
  for (const [suffix, put, own = when] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return own(stem) ? stem + put : word;
  }
  return word;
}

const step1a = (word: string): string =>
  word.endsWith("ies") && word.length === 4
    ? word.slice(0, -1)
    : apply(word, [
        ["sses", "ss"],
        ["ies", "i"],
        ["ss", "ss"],
        ["s", ""],
      ]);

function step1b(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith("eed")) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  const suffix = ["ed", "ing"].find((s) => word.endsWith(s) && hasVowel(word.slice(0, -s.length)));
  if (!suffix) return word;
  const stem = word.slice(0, -suffix.length);
  if (/(at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (doubled(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && short(stem) ? `${stem}e` : stem;
}

function step1c(word: string): string {
  const stem = word.slice(0, -1);
  return word.endsWith("y") && stem.length > 1 && shape(stem).endsWith("c") ? `${stem}i` : word;
}

const some = (stem: string): boolean => measure(stem) > 0;

function step2(word: string): string {
  if (word.endsWith("alli") && some(word.slice(0, -4))) return step2(word.slice(0, -2));
  return apply(
    word,
    [
      ["ational", "ate"],
      ["tional", "tion"],
      ["enci", "ence"],
      ["anci", "ance"],
      ["izer", "ize"],
      ["bli", "ble"],
      ["alli", "al"],
      ["entli", "ent"],
      ["eli", "e"],
      ["ousli", "ous"],
      ["ization", "ize"],
      ["ation", "ate"],
      ["ator", "ate"],
      ["alism", "al"],
      ["iveness", "ive"],
      ["fulness", "ful"],
      ["ousness", "ous"],
      ["aliti", "al"],
      ["iviti", "ive"],
      ["biliti", "ble"],
      ["fulli", "ful"],
      // The l stays with the stem, so that "geology" fares as "philology" does.
      ["logi", "log", (stem) => some(`${stem}l`)],
    ],
    some,
  );
}

const step3 = (word: string): string =>
  apply(
    word,
    [
      ["icate", "ic"],
      ["ative", ""],
      ["alize", "al"],
      ["iciti", "ic"],
      ["ical", "ic"],
      ["ful", ""],
      ["ness", ""],
    ],
    some,
  );

const several = (stem: string): boolean => measure(stem) > 1;
const plainRemovals = "al ance ence er ic able ible ant ement ment ent".split(" ");
const laterRemovals = "ou ism ate iti ous ive ize".split(" ");

const step4 = (word: string): string =>
  apply(
    word,
    [
      ...plainRemovals.map((s): Rule => [s, ""]),
      ["ion", "", (stem) => several(stem) && /[st]$/.test(stem)],
      ...laterRemovals.map((s): Rule => [s, ""]),
    ],
    several,
  );

function step5(word: string): string {
  const stem = word.slice(0, -1);
  const bare = word.endsWith("e") && (measure(stem) > 1 || (measure(stem) === 1 && !short(stem))) ? stem : word;
  return bare.endsWith("ll") && measure(bare.slice(0, -1)) > 1 ? bare.slice(0, -1) : bare;
}

/** The stem of a lower-case word. */
export function stem(word: string): string {
  const known = irregular.get(word);
  if (known !== undefined) return known;
  if (word.length <= 2) return word;
  return [step1a, step1b, step1c, step2, step3, step4, step5].reduce((w, step) => step(w), word);
}

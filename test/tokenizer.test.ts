// Text and sequence layouts: tokenizer.json against the Rust library's answers, training, the id space, prompts. Long because every fault has
// its row. Run: node --import tsx test/tokenizer.test.ts

import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { type AddedToken, addedTokenFinder } from "../tokenizer/added.ts";
import { byteCharacters, byteOrder, tokenBytes, tokenText } from "../tokenizer/bytes.ts";
import { Merges, mergePiece } from "../tokenizer/merge.ts";
import { modelFiles } from "../tokenizer/model_files.ts";
import { parsePattern } from "../tokenizer/pattern.ts";
import { parsePreTokenizer } from "../tokenizer/pieces.ts";
import { chameleonPrompt, fillPlaceholders, fillTemplate, layout, layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import { parseTemplate, templates } from "../tokenizer/templates.ts";
import { parseTokenizer, type Tokenizer } from "../tokenizer/text.ts";
import { trainBpe } from "../tokenizer/train_bpe.ts";
import { allowedIds, codesToIds, idsToCodes, vocabOf } from "../tokenizer/vocab.ts";
import { parseConfig, writeConfig } from "../weights/names.ts";
import { goldenJson, goldenTensors } from "./goldens.ts";

interface Case {
  text: string;
  ids: number[];
  tokens: string[];
  decoded: string;
  decoded_skip_special_tokens: string;
}

const cases = goldenJson<{ cases: Case[]; decode_cases: Omit<Case, "text" | "tokens">[] }>("tokenizer/cases.json");
const golden = (): Record<string, unknown> => goldenJson("tokenizer/tokenizer.json");
const large = parseTokenizer(golden());
const tiny = parseTokenizer(goldenJson("tiny-mha/tokenizer.json"));
const tinyCoder = { vocab: vocabOf(parseConfig(goldenJson("tiny-mha/config.json"))), tokenizer: tiny };

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.instance(error, WorldlineError, String(error));
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

/** Runs a stream over ids and joins what it gives. */
function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial = false): string {
  const stream = tokenizer.stream({ skipSpecial });
  return ids.map((id) => stream.push(id)).join("") + stream.end();
}

test("187 texts have the Rust library's ids, tokens and decoded texts", () => {
  assert.is(cases.cases.length, 187);
  for (const { text, ids, tokens, decoded, decoded_skip_special_tokens: skipped } of cases.cases) {
    const name = JSON.stringify(text);
    assert.equal(large.ids(text), ids, name);
    assert.equal(large.ids(text, { addBos: true }), [0, ...ids], name);
    assert.equal(
      ids.map((id) => large.token(id)),
      tokens,
      name,
    );
    assert.is(large.decode(ids), decoded, name);
    assert.is(large.decode(ids, { skipSpecial: true }), skipped, name);
    assert.is(streamed(large, ids), decoded, name);
    assert.is(streamed(large, ids, true), skipped, name);
  }
});

test("ids that are no valid UTF-8 decode as the Rust library does it", () => {
  for (const { ids, decoded, decoded_skip_special_tokens: skipped } of cases.decode_cases) {
    assert.is(large.decode(ids), decoded, String(ids));
    assert.is(large.decode(ids, { skipSpecial: true }), skipped, String(ids));
    assert.is(streamed(large, ids), decoded, String(ids));
  }
  assert.match(
    messageOf(() => large.decode([1000])),
    /the id 1000 has no token in this vocabulary of 1000/,
  );
  assert.match(
    messageOf(() => large.stream().push(-1)),
    /the id -1 has no token/,
  );
});

test("random texts survive a round trip, and a stream never gives half a character", () => {
  const rng = new Rng(11, "texts");
  const alphabet = [..."abcdefg  '’sthe\n\t0123.,!?#éß世界한😀👩‍🚀\u0301\u200d\u00a0\ufeff<>", "<s>", "IMGIMGAZ", "<image>", "    "];
  for (let round = 0; round < 1500; round++) {
    const text = Array.from({ length: rng.int(40) }, () => alphabet[rng.int(alphabet.length)]).join("");
    for (const options of [{}, { specialTokens: false }]) {
      const ids = large.ids(text, options);
      assert.is(large.decode(ids), text);
      const stream = large.stream();
      const parts = [...ids.map((id) => stream.push(id)), stream.end()];
      assert.is(parts.join(""), text);
      assert.not.ok(parts.some((part) => part.includes("\ufffd")));
    }
  }
});

test("names of special tokens are plain text where asked", () => {
  const ids = large.ids("a</s>IMGIMGAZ<image>", { specialTokens: false });
  assert.not.ok(ids.some((id) => large.isSpecial(id)));
  assert.is(large.decode(ids), "a</s>IMGIMGAZ<image>");
  assert.ok(large.ids("a</s>").includes(2));
});

test("added tokens are found leftmost, the longest first", () => {
  const plain: Omit<AddedToken, "id" | "content"> = { special: true, normalized: false, lstrip: false, rstrip: false, singleWord: false };
  const find = addedTokenFinder(["<a", "<a>b", "b<", "😀x"].map((content, i) => ({ ...plain, id: i + 1, content })));
  assert.equal(find("x<a>b<ab<😀😀x"), ["x", 2, 1, 3, "😀", 4]);
  assert.equal(find("<<a"), ["<", 1]);
  assert.equal(find(""), []);
  assert.equal(addedTokenFinder([])("<a"), ["<a"]);
});

test("the pre-tokenizer cuts as the Rust library does where tokens alone do not show it", () => {
  const { cut } = parsePreTokenizer(golden().pre_tokenizer, "pre_tokenizer");
  assert.equal(cut("a+=b$$<^`|~"), ["a", "+", "=", "b", "$", "$", "<", "^", "`", "|", "~"]);
  assert.equal(cut("\u0085\u0085b"), ["\u0085", "\u0085", "b"]);
  assert.equal(cut("\ufeff\ufeffb"), ["\ufeff\ufeff", "b"]);
  assert.equal(cut("½Ⅷ٣ x"), ["½", "Ⅷ", "٣", " x"]);
  assert.equal(cut("a     b"), ["a", "    ", " b"]);
});

test("merges given as text and as pairs are the same", () => {
  const json = golden();
  const model = json.model as Record<string, unknown>;
  const spelled = { ...json, model: { ...model, merges: (model.merges as string[][]).map((pair) => pair.join(" ")) } };
  const other = parseTokenizer(JSON.stringify(spelled));
  for (const { text, ids } of cases.cases) assert.equal(other.ids(text), ids);
});

test("the heap merges as the plain rule does: lowest rank, leftmost first", () => {
  const rng = new Rng(5, "merges");
  for (let round = 0; round < 400; round++) {
    const merges = new Merges(64);
    let next = 4;
    for (let n = 0; n < 30; n++) if (merges.add(rng.int(next), rng.int(next), next)) next++;
    const ids = Array.from({ length: rng.int(40) }, () => rng.int(4));
    assert.equal(mergePiece([...ids], merges), plainMerge([...ids], merges));
  }
});

function plainMerge(ids: number[], merges: Merges): number[] {
  for (;;) {
    const ranks = ids.slice(1).map((id, i) => merges.rank(ids[i], id));
    const known = ranks.filter((rank) => rank >= 0);
    if (known.length === 0) return ids;
    const least = Math.min(...known);
    ids.splice(ranks.indexOf(least), 2, merges.result(least));
  }
}

test("long texts without a space do not stall, and normal text is fast", () => {
  const started = performance.now();
  assert.is(large.decode(large.ids("ha".repeat(50000))), "ha".repeat(50000));
  assert.ok(performance.now() - started < 5000);
  const text = cases.cases
    .map((c) => c.text)
    .join(" ")
    .repeat(100);
  large.ids(text);
  const again = performance.now();
  const count = large.ids(text).length;
  const perSecond = (count / (performance.now() - again)) * 1000;
  console.log(`tokenizer: ${Math.round(perSecond / 1000)} thousand tokens a second over ${count} tokens`);
  assert.ok(perSecond > 50000, `${perSecond} tokens a second`);
});

test("patterns mean what they mean to the Rust library's Oniguruma", () => {
  const cut = (pattern: object, text: string) => {
    const expression = parsePattern(pattern, "here");
    const pieces: string[] = [];
    let end = 0;
    for (const m of text.matchAll(expression)) {
      if (m.index > end) pieces.push(text.slice(end, m.index));
      pieces.push(m[0]);
      end = m.index + m[0].length;
    }
    return end < text.length ? [...pieces, text.slice(end)] : pieces;
  };
  // Answers of tokenizers 0.23.2, Split with behavior Isolated.
  assert.equal(cut({ Regex: "^a" }, "a\na b"), ["a", "\n", "a", " b"]);
  assert.equal(cut({ Regex: "b$" }, "b\nb"), ["b", "\n", "b"]);
  assert.equal(cut({ Regex: "." }, "x\r\u2028y"), ["x", "\r", "\u2028", "y"]);
  assert.equal(cut({ Regex: "[.^$]" }, "a.b^c$"), ["a", ".", "b", "^", "c", "$"]);
  for (let c = 33; c < 127; c++) {
    const mark = String.fromCharCode(c);
    assert.equal(cut({ String: mark }, ` ${mark} `), [" ", mark, " "]);
  }
});

test("a WordPiece vocabulary of any size is read", () => {
  const names = ["[UNK]", "##b", ...Array.from({ length: 200_000 }, (_, i) => `a${i}`)];
  const vocab = Object.fromEntries(names.map((name, i) => [name, i]));
  assert.is(parseTokenizer({ model: { type: "WordPiece", vocab }, added_tokens: [] }).size, names.length);
});

test("tokenizers that ask for something else are refused with one sentence", () => {
  const json = golden();
  const model = json.model as Record<string, unknown>;
  const vocab = model.vocab as Record<string, number>;
  const { "!": _, ...lacking } = vocab;
  const step = (pre: Record<string, unknown>) => ({
    ...json,
    pre_tokenizer: { type: "Sequence", pretokenizers: [pre, { type: "ByteLevel", add_prefix_space: false }] },
  });
  const faults: [Record<string, unknown>, RegExp][] = [
    [{ ...json, model: null }, /model is missing/],
    [{ ...json, model: { ...model, type: "Unigram" } }, /model\.type "Unigram" is not supported/],
    [{ ...json, model: { ...model, dropout: 0.1 } }, /model\.dropout 0\.1 is not supported/],
    [{ ...json, model: { ...model, continuing_subword_prefix: "##" } }, /model\.continuing_subword_prefix "##" is not supported/],
    [{ ...json, model: { ...model, end_of_word_suffix: 3 } }, /end_of_word_suffix is 3, text is needed/],
    [{ ...json, model: { type: "WordPiece", vocab: {} } }, /model\.unk_token is "\[UNK\]", which model\.vocab lacks/],
    [{ ...json, model: { type: "WordPiece" } }, /model\.vocab is missing/],
    [{ ...json, model: { ...model, byte_fallback: 1 } }, /byte_fallback is 1, true or false is needed/],
    [{ ...json, model: { ...model, unk_token: "<nobody>" } }, /model\.unk_token is "<nobody>", which model\.vocab lacks/],
    [{ ...json, model: { ...model, merges: ["a"] } }, /model\.merges\[0\] is "a"/],
    [{ ...json, model: { ...model, merges: ["a zzz"] } }, /needs the token "zzz", which model\.vocab lacks/],
    [{ ...json, model: { ...model, merges: ["Ġ t", "Ġ t"] } }, /occurs twice/],
    [{ ...json, model: { ...model, vocab: lacking } }, /no token for byte 33/],
    [{ ...json, model: { ...model, vocab: { ...vocab, twin: 5 } } }, /have the same id 5/],
    [{ ...json, model: { ...model, vocab: { ...vocab, odd: -1 } } }, /"odd" has the id -1/],
    [{ ...json, normalizer: { type: "Precompiled" } }, /the normalizer "Precompiled" is not supported; NFC, /],
    [{ ...json, decoder: { type: "CTC" } }, /the decoder \{"type":"CTC"\} is not supported; ByteLevel, /],
    [{ ...json, post_processor: { type: "BertProcessing" } }, /the post_processor .* is not supported/],
    [{ ...json, pre_tokenizer: 3 }, /pre_tokenizer is 3; an object is needed/],
    [
      { ...json, pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "ByteLevel" }, { type: "Digits" }] } },
      /a step after ByteLevel/,
    ],
    [step({ type: "UnicodeScripts" }), /the step "UnicodeScripts" is not supported; Split, /],
    [step({ type: "Split", pattern: { Regex: "a" }, behavior: "Sideways" }), /behavior is "Sideways", Removed, Isolated/],
    ...["(?<x", "(?i:a)", "a++", "(?>a)", "\\bx", "[a[b]]", "\\R", "[a&&b]"].map((regex): [Record<string, unknown>, RegExp] => [
      step({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated" }),
      /the pattern ".*" uses what this tokenizer does not know/,
    ]),
    [step({ type: "Split", pattern: "a" }), /the pattern is "a"; \{"Regex": text\} or \{"String": text\}/],
    [{ ...json, added_tokens: [{ id: 9, content: "<s>" }] }, /"<s>" has id 0 in model\.vocab and 9 in added_tokens/],
    [{ ...json, added_tokens: [3] }, /added_tokens\[0\]/],
  ];
  for (const [file, expected] of faults)
    assert.match(
      messageOf(() => parseTokenizer(file)),
      expected,
    );
  assert.match(
    messageOf(() => parseTokenizer("{", "t.json")),
    /t\.json: the file is not valid JSON/,
  );
});

test("a byte-fallback stream gives no part of a character before it is whole", () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const names = ["<unk>", ...bytes, "▁", "a"];
  const decoders = [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }];
  const file = (strip: Record<string, unknown>) => ({
    model: { type: "BPE", unk_token: "<unk>", byte_fallback: true, merges: [], vocab: Object.fromEntries(names.map((n, id) => [n, id])) },
    decoder: { type: "Sequence", decoders: [...decoders, { type: "Strip", content: " ", ...strip }] },
  });
  const tokenizer = parseTokenizer(file({ start: 1, stop: 0 }));
  const ids = tokenizer.ids("▁a世a");
  assert.equal(
    ids.map((id) => tokenizer.token(id)),
    ["▁", "a", "<0xE4>", "<0xB8>", "<0x96>", "a"],
  );
  const stream = tokenizer.stream();
  assert.equal([...ids.map((id) => stream.push(id)), stream.end()], ["", "a", "", "", "", "世a", ""]);
  const broken = tokenizer.stream();
  assert.equal([...[258, ...ids.slice(2, 4), 258].map((id) => broken.push(id)), broken.end()], ["a", "", "", "\ufffd\ufffda", ""]);
  const ends = parseTokenizer(file({ start: 0, stop: 2 }));
  const held = ends.stream();
  assert.equal([...[258, 257, 257, 257, 258, 257].map((id) => held.push(id)), held.end()], ["a", "", "", " ", "  a", "", ""]);
  assert.is(ends.decode([257, 257, 257]), " ");
});

test("the byte table is GPT-2's", () => {
  assert.is(byteCharacters[32], "Ġ");
  assert.is(byteCharacters[10], "Ċ");
  assert.is(new Set(byteCharacters).size, 256);
  assert.equal(byteOrder.slice(0, 2), [33, 34]);
  assert.equal([...(tokenBytes(tokenText([0, 32, 255])) ?? [])], [0, 32, 255]);
  assert.is(tokenBytes("世"), null);
});

const sentences = [
  "push the red cube to the left",
  "push the blue ball to the right",
  "pick up the red ball",
  "The hand moves 12 cm, then stops.",
];

test("a trained vocabulary has Chameleon's layout and encodes its texts", () => {
  const options = { codes: 12, merges: 40, minCount: 1 };
  const json = trainBpe(sentences, options);
  assert.equal(trainBpe(sentences, options), json);
  const tokenizer = parseTokenizer(JSON.stringify(json));
  const expected = {
    "<s>": 0,
    "<pad>": 1,
    "</s>": 2,
    "<unk>": 3,
    IMGIMGAZ: 4,
    IMGIMGBBZ: 15,
    "<eoss>": 16,
    "<racm3:break>": 17,
    "<reserved08706>": 18,
    "<image>": 19,
    "!": 20,
  };
  for (const [name, id] of Object.entries(expected)) assert.is(tokenizer.id(name), id, name);
  assert.is(tokenizer.size, 20 + 256 + 40);
  for (const text of [...sentences, "<image>", "日本 unseen text\n"]) assert.is(tokenizer.decode(tokenizer.ids(text)), text);
  assert.ok(tokenizer.ids(sentences[0]).length <= 14, String(tokenizer.ids(sentences[0]).length));
  assert.equal(tokenizer.ids("x", { addBos: true })[0], 0);
  for (const key of ["pre_tokenizer", "post_processor", "decoder"]) assert.equal(json[key], golden()[key], key);
  assert.equal(Object.keys(json).sort(), Object.keys(golden()).sort());
  assert.match(
    messageOf(() => trainBpe([], { codes: -1, merges: 1 })),
    /codes is -1/,
  );
});

test("training merges the most frequent pair first", () => {
  const merges = (texts: string[]) => (trainBpe(texts, { codes: 0, merges: 9 }).model as { merges: string[] }).merges;
  assert.equal(merges(["abab abab abab"]).slice(0, 3), ["a b", "ab ab", "Ġ abab"]);
  assert.equal(merges(["xyz xyz", "xy"])[0], "x y");
  assert.equal(merges(["q"]), []);
  for (const texts of [
    ["dc ba", "dc ba"],
    ["ba dc", "ba dc"],
    ["ba", "dc", "dc", "ba"],
  ])
    assert.is(merges(texts)[0], "b a");
});

test("the files beside a trained vocabulary make a config that is read back", () => {
  const { configFields, files } = modelFiles(trainBpe(sentences, { codes: 16, merges: 10 }), { size: 48, imageSeqLength: 36 });
  const base = parseConfig({ ...goldenJson("tiny-mha/config.json"), vocabulary_map: null, vq_config: null });
  const config = { ...base, ...configFields };
  assert.equal(parseConfig(JSON.parse(JSON.stringify(writeConfig(config)))), config);
  assert.is(config.vocabSize, 4 + 16 + 4 + 256 + 10);
  for (const name of [
    "processor_config.json",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "generation_config.json",
  ]) {
    assert.equal(
      Object.keys(files[name]).sort(),
      Object.keys(goldenJson(`tiny-mha/${name}`))
        .filter((key) => key !== "add_prefix_space")
        .sort(),
      name,
    );
  }
  assert.equal(files["preprocessor_config.json"], {
    ...goldenJson("tiny-mha/preprocessor_config.json"),
    size: { shortest_edge: 48 },
    crop_size: { height: 48, width: 48 },
  });
  assert.is(files["processor_config.json"].image_seq_length, 36);
  assert.equal(files["special_tokens_map.json"], goldenJson("tiny-mha/special_tokens_map.json"));
  assert.match(
    messageOf(() => modelFiles({ model: { vocab: {} } }, { size: 48, imageSeqLength: 36 })),
    /the vocabulary has no <s>/,
  );
});

test("the id space: codes and ids, and masks", async () => {
  const vocab = vocabOf(parseConfig(goldenJson("tiny-gqa/config.json")));
  assert.equal([...codesToIds(vocab, [0, 47])], [51, 4]);
  assert.equal([...idsToCodes(vocab, [51, 4])], [0, 47]);
  assert.match(
    messageOf(() => codesToIds(vocab, [48])),
    /48 is no picture code; codes run from 0 to 47/,
  );
  assert.match(
    messageOf(() => idsToCodes(vocab, [52])),
    /the id 52 is no picture code/,
  );
  const file = await goldenTensors("tiny-gqa/expected/generated_image.safetensors");
  assert.ok(file.tensors.size > 0);
  await file.close();
  const image = allowedIds(vocab, "image");
  const text = allowedIds(vocab, "text");
  for (let id = 0; id < vocab.size; id++) {
    const isCode = id >= 4 && id <= 51;
    assert.is(image[id], isCode ? 1 : 0, `${id}`);
    assert.is(text[id], isCode || id === 52 || id === 53 ? 0 : 1, `${id}`);
  }
  assert.is(allowedIds(vocab, "all").indexOf(0), -1);
  const config = parseConfig({ vocab_size: 100, boi_token_id: 5, eoi_token_id: 6, image_token_id: 7 });
  assert.match(
    messageOf(() => vocabOf(config)),
    /no vocabulary_map and no tokenizer's vocabulary/,
  );
  const few = vocabOf(config, { "<s>": 0, a: 1, IMGIMGAZ: 4 });
  assert.equal([...allowedIds(few, "text").slice(0, 6)], [1, 1, 0, 0, 0, 0]);
});

test("the two roles: ids, completions, target codes and loss weights", () => {
  const { vocab } = tinyCoder;
  const words = tiny.ids("see the house");
  const a = [...codesToIds(vocab, [1, 2])];
  const b = [...codesToIds(vocab, [63, 0])];
  const values = { source: [1, 2], target: [63, 0], action: "see the house" };
  const { boi, eoi, bos, eos } = vocab;
  const cdm = layoutTemplate("cdm", values, tinyCoder);
  assert.equal([...cdm.ids], [bos, boi, ...a, eoi, boi, ...b, eoi, ...words, eos]);
  assert.equal(cdm.completion, { begin: 9, end: cdm.ids.length });
  assert.is(cdm.targetCodes, null);
  const cwm = layoutTemplate("cwm", values, tinyCoder);
  assert.equal([...cwm.ids], [bos, ...words, boi, ...a, eoi, boi, ...b, eoi]);
  const begin = 1 + words.length + 5;
  assert.equal(
    [cwm.completion, cwm.targetCodes],
    [
      { begin, end: begin + 3 },
      { begin, end: begin + 2 },
    ],
  );
  assert.equal(
    cwm.spans.map((span) => [span.slot, span.begin, span.end]),
    [
      ["action", 1, 1 + words.length],
      ["source", 1 + words.length, begin - 1],
      ["target", begin - 1, begin + 3],
    ],
  );
  assert.equal([...layoutTemplate("cwm", values, tinyCoder, { closeTarget: false, end: "eos" }).ids].slice(-4), [boi, ...b, eos]);
  assert.equal(
    [...lossWeights(cdm)],
    [...cdm.ids].map((_, i) => (i >= 9 ? 1 : 0)),
  );
  assert.equal(
    [...lossWeights(cwm, [0.5, 3])],
    [...cwm.ids].map((_, i) => [0.5, 3, 1][i - begin] ?? 0),
  );
  assert.match(
    messageOf(() => lossWeights(cwm, [1])),
    /1 code weights were given for a completion of 2/,
  );
  assert.match(
    messageOf(() => lossWeights(cdm, [1])),
    /a completion of 0 picture codes/,
  );
});

test("without the completion a template gives the prompt of its sequence", () => {
  for (const name of Object.keys(templates)) {
    const values = { source: [1, 2], target: [63, 0], action: "see" };
    const whole = layoutTemplate(name, values, tinyCoder);
    const { completion } = parseTemplate(name);
    const { [completion as "source"]: _, ...rest } = values;
    const prompt = layoutTemplate(name, rest, tinyCoder);
    assert.equal([...prompt.ids], [...whole.ids].slice(0, whole.completion.begin), name);
    assert.equal(prompt.completion, { begin: prompt.ids.length, end: prompt.ids.length });
  }
});

test("templates are data: phrases, special names in phrases only, own slots", () => {
  const template = parseTemplate({
    name: "steps",
    segments: [
      { text: "Task: <reserved08706>" },
      { slot: "maze", kind: "image" },
      { slot: "moves", kind: "text" },
      { slot: "next", kind: "image" },
    ],
    completion: "next",
    end: "eos",
  });
  const { vocab } = tinyCoder;
  const made = layoutTemplate(template, { maze: [5], moves: "up</s>", next: [6] }, tinyCoder);
  assert.equal(
    [...made.ids],
    [
      vocab.bos,
      ...tiny.ids("Task: <reserved08706>"),
      vocab.boi,
      9,
      vocab.eoi,
      ...tiny.ids("up</s>", { specialTokens: false }),
      vocab.boi,
      10,
      vocab.eoi,
      vocab.eos,
    ],
  );
  assert.is([...made.ids].filter((id) => id === vocab.eos).length, 1);
  assert.ok([...made.ids].includes(vocab.sep ?? -1));
  assert.match(
    messageOf(() => fillTemplate(template, { maze: [5] })),
    /needs a value for its slot "moves"/,
  );
  assert.match(
    messageOf(() => fillTemplate(template, { maze: "x", moves: "up" })),
    /slot "maze" .* takes picture codes/,
  );
  assert.match(
    messageOf(() => parseTemplate("nope")),
    /no template "nope"; known are cdm, cwm/,
  );
  assert.match(
    messageOf(() => parseTemplate({ name: "x", segments: [{ slot: "a", kind: "text" }, { text: "b" }], completion: "a" })),
    /must end with the slot/,
  );
  assert.match(
    messageOf(() => parseTemplate({ name: "x", segments: [{ slot: "a", kind: "sound" }], completion: "a" })),
    /needs segments/,
  );
  assert.match(
    messageOf(() =>
      layout(
        [
          { kind: "text", text: null },
          { kind: "text", text: "a" },
        ],
        tinyCoder,
      ),
    ),
    /segment 0 of 2 is open/,
  );
});

test("Chameleon's own prompts are the processor's", () => {
  interface Prompt {
    text: string;
    images: string[];
    input_ids_with_placeholders: number[];
    input_ids: number[];
    new_ids: number[];
    answer: string;
  }
  const { vocab } = tinyCoder;
  for (const [name, prompt] of Object.entries(goldenJson<Record<string, Prompt>>("tiny-mha/expected/prompt.json"))) {
    const ids = chameleonPrompt(prompt.text, tinyCoder, { imageSeqLength: 64 });
    assert.equal([...ids], prompt.input_ids_with_placeholders, name);
    const codes = idsToCodes(
      vocab,
      prompt.input_ids.filter((id) => vocab.codes[id] >= 0),
    );
    const pictures = prompt.images.map((_, i) => codes.slice(64 * i, 64 * (i + 1)));
    assert.equal([...fillPlaceholders(ids, pictures, vocab)], prompt.input_ids, name);
    assert.is(tiny.decode(prompt.new_ids, { skipSpecial: true }), prompt.answer, name);
    assert.equal(
      [...chameleonPrompt(prompt.text, tinyCoder, { imageSeqLength: 64, endTurn: false })],
      prompt.input_ids_with_placeholders.slice(0, -1),
      name,
    );
  }
  assert.match(
    messageOf(() => fillPlaceholders([75, 75], [[1]], vocab)),
    /2 picture placeholders, the 1 pictures have 1 codes/,
  );
});

test.run();

// Random strings through our tokenizer and through the Rust library (npm `tokenizers`), over many pipelines: ids, decoded texts, streams. Used by
// fuzz.ts (npm run fuzz) and fuzz.test.ts.

import { Tokenizer as Rust } from "tokenizers";
import { Rng } from "../engine/rng.ts";
import { byteCharacters } from "../tokenizer/bytes.ts";
import { parseTokenizer, type Tokenizer } from "../tokenizer/text.ts";
import { goldenJson } from "./goldens.ts";

type Json = Record<string, unknown>;

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const sequence = (...pretokenizers: Json[]) => ({ type: "Sequence", pretokenizers });
const split = (pattern: Json, behavior: string, invert = false) => sequence({ type: "Split", pattern, behavior, invert }, byteLevel);
const added = (id: number, content: string, more: Json = {}) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...more,
});

/** Tokenizer files by name: Chameleon's own, every supported step, normaliser and decoder, and the SentencePiece style with byte fallback. */
export function pipelines(): Record<string, Json> {
  const golden = goldenJson<Json>("tokenizer/tokenizer.json");
  const model = golden.model as Json;
  const pre = (pre_tokenizer: Json | null) => ({ ...golden, pre_tokenizer });
  const normal = (normalizer: Json) => ({ ...golden, normalizer });
  const tokens = (...list: Json[]) => ({ ...golden, added_tokens: [...(golden.added_tokens as Json[]), ...list] });
  const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
  return {
    chameleon: golden,
    tiny: goldenJson<Json>("tiny-mha/tokenizer.json"),
    "no post-processor": { ...golden, post_processor: null },
    "sequence of processors": { ...golden, post_processor: { type: "Sequence", processors: [byteLevel, golden.post_processor] } },
    "ignored merges": { ...golden, model: { ...model, ignore_merges: true } },
    "GPT-2": pre({ ...byteLevel, add_prefix_space: true }),
    "bytes alone": pre({ ...byteLevel, use_regex: false }),
    "white space": pre(sequence({ type: "Whitespace" }, byteLevel)),
    "white space split": pre(sequence({ type: "WhitespaceSplit" }, { ...byteLevel, add_prefix_space: true })),
    "digits together": pre(sequence({ type: "Digits", individual_digits: false }, byteLevel)),
    "three digits": pre(split({ Regex: "\\p{N}{1,3}|[^\\s\\p{L}\\p{N}]+|\\s+\\w|\\d" }, "Isolated")),
    "words and gaps": pre(split({ Regex: "\\w+|[^\\w\\d]\\s|\\W\\D|[\\S_][\\s-]" }, "Isolated")),
    ...Object.fromEntries(behaviors.map((b) => [`punctuation ${b}`, pre(sequence({ type: "Punctuation", behavior: b }, byteLevel))])),
    ...Object.fromEntries(behaviors.map((b) => [`split ${b}`, pre(split({ Regex: "\\s+|[aeiou]{2}|th" }, b))])),
    ...Object.fromEntries(behaviors.map((b) => [`split at text ${b}, inverted`, pre(split({ String: " a" }, b, true))])),
    ...Object.fromEntries(["NFC", "NFD", "NFKC", "NFKD", "Lowercase"].map((type) => [type, normal({ type })])),
    "stripped and replaced": normal({
      type: "Sequence",
      normalizers: [
        { type: "Strip", strip_left: true, strip_right: false },
        { type: "Replace", pattern: { Regex: "[0-9]+" }, content: "$1#" },
        { type: "Replace", pattern: { String: "the" }, content: "THE" },
        { type: "Prepend", prepend: " " },
      ],
    }),
    "added tokens": {
      ...tokens(
        added(1000, "cat", { single_word: true }),
        added(1001, "dog", { lstrip: true }),
        added(1002, "<é>", { rstrip: true, special: false }),
        added(1003, "éé", { lstrip: true, rstrip: true }),
        added(1004, "Ġx", { special: false }),
        added(1005, "norm", { normalized: true, special: false }),
        added(1006, "<a", {}),
        added(1007, "<a>b", {}),
      ),
      normalizer: { type: "Lowercase" },
    },
    ...sentencePieces(),
    ...metricPipelines(),
  };
}

const plainWords = ["the", "cat", "dog", "norm", "éé", "hello", "world", "12", "'s", "ing", "an", "世", "한국", "σ"];

/** Files as the text models of the metrics have them: CLIP's byte pairs with a mark at the end of words, RoBERTa's, and BERT's word pieces. */
export function metricPipelines(): Record<string, Json> {
  const end = "</w>";
  const utf8 = (text: string) => Array.from(new TextEncoder().encode(text), (byte) => byteCharacters[byte]);
  const merges: [string, string][] = plainWords.flatMap((word) => {
    const parts = utf8(word);
    parts[parts.length - 1] += end;
    return parts.slice(1).map((part, i): [string, string] => [parts.slice(0, i + 1).join(""), part]);
  });
  const once = [...new Map(merges.map((m) => [m.join(" "), m])).values()];
  const names = [...new Set([...byteCharacters, ...byteCharacters.map((c) => c + end), ...once.map((m) => m.join(""))])];
  names.push("<|startoftext|>", "<|endoftext|>");
  const id = (name: string) => names.indexOf(name);
  const plain = { version: "1.0", truncation: null, padding: null };
  const clip: Json = {
    ...plain,
    added_tokens: [added(id("<|startoftext|>"), "<|startoftext|>", { normalized: true }), added(id("<|endoftext|>"), "<|endoftext|>")],
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { Regex: "\\s+" }, content: " " }, { type: "Lowercase" }],
    },
    pre_tokenizer: sequence(
      {
        type: "Split",
        pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
        behavior: "Removed",
        invert: true,
      },
      byteLevel,
    ),
    post_processor: {
      type: "RobertaProcessing",
      sep: ["<|endoftext|>", id("<|endoftext|>")],
      cls: ["<|startoftext|>", id("<|startoftext|>")],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<|endoftext|>",
      continuing_subword_prefix: "",
      end_of_word_suffix: end,
      fuse_unk: false,
      vocab: Object.fromEntries(names.map((name, i) => [name, i])),
      merges: once.map((m) => m.join(" ")),
    },
  };
  const letters = [..."abcdefghijklmnopqrstuvwxyzABCDETHαςσ0123456789.,!?'-<>/世界é"];
  const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  const pieces = [...specials, ...letters, ...letters.map((c) => `##${c}`), ...plainWords, "##ing", "##he", "##at", "##ll", "##orm"];
  const bertNames = [...new Set(pieces)];
  const bertNormalizer = { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true };
  const special = (name: string) => ({ SpecialToken: { id: name, type_id: 0 } });
  const named = (name: string) => [name, { id: name, ids: [bertNames.indexOf(name)], tokens: [name] }];
  const bert: Json = {
    ...plain,
    added_tokens: specials.map((name, i) => added(i, name)),
    normalizer: bertNormalizer,
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, special("[SEP]")],
      pair: [special("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, special("[SEP]"), { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: Object.fromEntries([named("[CLS]"), named("[SEP]")]),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 20,
      vocab: Object.fromEntries(bertNames.map((name, i) => [name, i])),
    },
  };
  const normal = (more: Json) => ({ ...bert, normalizer: { ...bertNormalizer, ...more } });
  return {
    CLIP: clip,
    BERT: bert,
    "BERT, cased": normal({ lowercase: false }),
    "BERT, cased, accents off": normal({ lowercase: false, strip_accents: true }),
    "BERT, nothing cleaned": normal({ clean_text: false, handle_chinese_chars: false, strip_accents: false }),
    "BERT, untidied": {
      ...bert,
      post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
      decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    },
  };
}

const words = ["▁the", "▁cat", "▁dog", "he", "in", "▁in", "ing", "▁a", "an", "世界", "▁▁", "▁▁▁▁", "12", "é", "ñ", "▁<", "ed"];

/** Files in SentencePiece's style: pieces of characters, <0xNN> for the rest. */
function sentencePieces(): Record<string, Json> {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const letters = [...new Set(`▁abcdefghijklmnopqrstuvwxyz0123456789.,<>s/${words.join("")}`)];
  const merges = [...new Set(words.flatMap((w) => [...w].slice(1).map((c, i) => `${[...w].slice(0, i + 1).join("")} ${c}`)))];
  const names = [...new Set(["<unk>", "<s>", "</s>", ...bytes, ...letters, ...merges.map((m) => m.replace(" ", ""))])];
  const vocab = (list: string[]) => Object.fromEntries(list.map((name, id) => [name, id]));
  const model = { type: "BPE", dropout: null, unk_token: "<unk>", continuing_subword_prefix: null, end_of_word_suffix: null };
  const decoders = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ];
  const file: Json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => added(id, content)),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Sequence", decoders },
    model: { ...model, fuse_unk: true, byte_fallback: true, ignore_merges: false, vocab: vocab(names), merges },
  };
  const withModel = (more: Json) => ({ ...file, model: { ...(file.model as Json), ...more } });
  const noBytes = names.filter((n) => !bytes.includes(n));
  const someBytes = names.filter((n) => !/^<0x[A-D]/.test(n));
  const metaspace = (prepend_scheme: string, cut: boolean): Json => {
    const step = { type: "Metaspace", replacement: "▁", prepend_scheme, split: cut };
    return { ...file, normalizer: null, pre_tokenizer: step, decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, step] } };
  };
  const stripped = (strip: Json): Json => ({ ...file, decoder: { type: "Sequence", decoders: [...decoders.slice(0, 3), strip] } });
  return {
    "byte fallback": file,
    "byte fallback, merges as pairs": withModel({ merges: merges.map((m) => m.split(" ")) }),
    "some bytes lack": withModel({ vocab: vocab(someBytes) }),
    "some bytes lack, unknown ones apart": withModel({ vocab: vocab(someBytes), fuse_unk: false }),
    "no byte tokens": withModel({ vocab: vocab(noBytes) }),
    "no byte tokens, unknown ones apart": withModel({ vocab: vocab(noBytes), fuse_unk: false, byte_fallback: false }),
    "nothing for unknown": withModel({ vocab: vocab(noBytes), unk_token: null, byte_fallback: false }),
    "metaspace always": metaspace("always", true),
    "metaspace first": metaspace("first", true),
    "metaspace never, uncut": metaspace("never", false),
    // No `stop`: on a shorter token the Rust library (0.23.2) ends the process.
    "stripped front": stripped({ type: "Strip", content: "e", start: 2, stop: 0 }),
    "stripped tokens": { ...file, decoder: { type: "Sequence", decoders: [{ type: "Strip", content: "▁", start: 1, stop: 0 }] } },
    "no decoder": { ...file, decoder: null },
  };
}

const alphabet = [
  ...[..."abcdefghinorstuwxyz ABC ETH  ..,,!?'\"-_()<>/#@&*+=~^`|\\[]{}0123456789\n\t\r"],
  ...[
    "'s",
    "'ll",
    " the",
    " cat",
    "dog",
    "NORM",
    "norm",
    "cat",
    " a",
    "<a>b",
    "<a",
    "<é>",
    "é",
    "e\u0301",
    "Ġx",
    "▁",
    "▁the",
    "  ",
    "    ",
  ],
  ...["<s>", "éé", "</s>", "<image>", "IMGIMGAZ", "IMGIMGBFZ", "<sentinel:3>", "<racm3:break>", "<reserved08706>", "<0x41>", "<unk>"],
  ...["世界", "한국", "ñ", "ß", "İ", "ΑΣ", "σ", "Ⅷ", "½", "٣", "²", "ﬁ", "Å", "\u1e9b\u0323", "。", "「", "—", "…", "€", "√", "\u200d"],
  ...["😀", "👩‍🚀", "🇩🇪", "\u00a0", "\u0085", "\u2003", "\u3000", "\ufeff", "\u0000", "\u00ad", "\u0300", "𝔘", "\u{10ffff}", "�"],
];

/** A random string of up to `most` parts. */
export function randomText(rng: Rng, most: number): string {
  return Array.from({ length: rng.int(most) }, () => alphabet[rng.int(alphabet.length)]).join("");
}

/** Compares ours and Rust's on `count` random strings over all pipelines in turn. Gives the differences, each in one line. */
export async function compareStrings(
  count: number,
  seed: number,
  onProgress?: (done: number) => void,
  files = pipelines(),
): Promise<string[]> {
  const all = Object.entries(files).map(([name, json]) => ({
    name,
    ours: parseTokenizer(json, name),
    rust: Rust.fromString(JSON.stringify(json)),
    ids: Object.values((json.model as { vocab: Record<string, number> }).vocab),
    template: json.post_processor !== null,
  }));
  const rng = new Rng(seed, "strings");
  const differences: string[] = [];
  for (let i = 0; i < count && differences.length < 10; i++) {
    const { name, ours, rust, ids, template } = all[i % all.length];
    const text = randomText(rng, 30);
    const note = (what: string, a: unknown, b: unknown) => {
      if (JSON.stringify(a) !== JSON.stringify(b))
        differences.push(`${name}: ${what} of ${JSON.stringify(text)}: ours ${JSON.stringify(a)}, Rust's ${JSON.stringify(b)}`);
    };
    const theirs = (await rust.encode(text, null, { addSpecialTokens: false })).getIds();
    note("ids", ours.ids(text), theirs);
    if (template)
      note("ids with <s>", ours.ids(text, { addBos: true }), (await rust.encode(text, null, { addSpecialTokens: true })).getIds());
    const list = i % 2 ? theirs : Array.from({ length: rng.int(20) }, () => ids[rng.int(ids.length)]);
    for (const skipSpecial of [false, true]) {
      const decoded = await rust.decode(list, skipSpecial);
      note(`text of [${list}]`, ours.decode(list, { skipSpecial }), decoded);
      note(`stream of [${list}]`, streamed(ours, list, skipSpecial), decoded);
    }
    onProgress?.(i + 1);
  }
  return differences;
}

function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean): string {
  const stream = tokenizer.stream({ skipSpecial });
  return ids.map((id) => stream.push(id)).join("") + stream.end();
}

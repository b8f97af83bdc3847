// Metrics against published values and slow references.
// Published: ROUGE against the values of ROUGE-1.5.5 in google-research/rouge/rouge_scorer_test.py with its test data, BLEU against the docstrings of
// nltk/translate/bleu_score.py and the COCO output in the README of the language-evaluation package, stems against NLTK's docstrings
// (porter.py) and the words of Porter's paper, whose stems after all steps were worked out by hand.
// SSIM has no published value for a picture at hand: it is held against the definition written out per window, and against closed forms.
// Run: node --import tsx test/metrics.test.ts
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import * as M from "../world/metrics/index.ts";

let cases = 0;
const near = (got: number, want: number, digits: number, what: string) => {
  cases++;
  assert.ok(Math.abs(got - want) <= 0.5001 * 10 ** -digits, `${what}: ${got}, published ${want}`);
};

const predictions = [
  "rFDJCRtion Ht-LM EKtDXkME,yz'RBr q'wer wrojNbN wL,b .a-'XdQggyFl jB-RPP'iyOIcUxi",
  "n cw-WeFyu vC MoBL Xdn g wkvcEiGvKtion BDFhrpMer pstion sbKao Q m qier LMmed HqqLFXe,XPY,J XsurkMeo ,ed nB'wH'bWVHjWFEer tQ.saefZwJtKrTlixYpMMNJtion UCAPwNHeYVjD",
];
const targets = [
  "ZfbCUIUuePaiLVUlCaUXxkpu XPeWing tUHfPMuZ',-Xd Y BrUgVJing M-HV.-DgdDaY.rFDJCRing Ht-LM EKBDXkME,yz'RBr q'wtion wIojNbN wL,b .a-'XdQggyFl jB-RPP'iyOIcUxer tKM L",
  "KsJdPByEtAor fE-Qg Dpdbring cw-WeFyu vC MoBL Xdn g wkvcEiGvKtion BDFhrpMtion psing sbKao Q m qiing LMmer HqqLFXe,XPY,J XsurkMer ,ed nB'wH'bWVHjWFEing tQ.saefZwJtKrTlixYpMMsJing UCAPwNHeYVjDing c T BUySKtion gMPfJpwGw p'NvxAoping eu pBwMBKV'I DNxqelhu,PHPxDEq,mtion SN",
];

test("ROUGE: the values of ROUGE-1.5.5 and of rouge_score's own tests", () => {
  const published: [metric: "1" | "2" | "L", stemmed: boolean, pair: number, recall: number, precision: number, f: number][] = [
    ["1", false, 0, 0.40741, 0.6875, 0.51163],
    ["1", false, 1, 0.40476, 0.65385, 0.5],
    ["1", true, 0, 0.40741, 0.6875, 0.51163],
    ["1", true, 1, 0.42857, 0.69231, 0.52941],
    ["2", false, 0, 0.30769, 0.53333, 0.39024],
    ["2", false, 1, 0.29268, 0.48, 0.36364],
    ["2", true, 0, 0.30769, 0.53333, 0.39024],
    ["2", true, 1, 0.29268, 0.48, 0.36364],
    ["L", false, 0, 0.40741, 0.6875, 0.51163],
    ["L", false, 1, 0.40476, 0.65385, 0.5],
  ];
  for (const [metric, stemmed, pair, recall, precision, f] of published) {
    const [p, t] = [predictions[pair], targets[pair]];
    const got = metric === "L" ? M.rougeL(p, t, stemmed) : M.rougeN(p, t, Number(metric), stemmed);
    const name = `ROUGE-${metric} of pair ${pair}${stemmed ? ", stemmed" : ""}`;
    near(got.recall, recall, 5, `${name} recall`);
    near(got.precision, precision, 5, `${name} precision`);
    near(got.f, f, 5, `${name} F`);
  }
  near(M.rougeN("testing", "testing one two", 1).f, 1 / 2, 9, "rouge1");
  near(M.rougeN("testing one", "testing one two", 2).f, 2 / 3, 9, "rouge2");
  near(M.rougeL("testing two", "testing one two").f, 4 / 5, 9, "rougeL with a gap");
  near(M.rougeL("", "testing one two").f, 0, 9, "nothing said");
  near(M.rougeL("/", "w1 w2 w3").f, 0, 9, "only marks");
  assert.ok(M.rougeL("the cats were jumping", "the cat jumps").f > M.rougeL("the cats were jumping", "the cat jumps", false).f);
});

test("stems: the examples of NLTK's and Porter's descriptions", () => {
  const published = `caresses caress, ponies poni, sties sti, ties tie, caress caress, cats cat, feed feed, agreed agre, disabled disabl, matting mat,
    mating mate, meeting meet, milling mill, messing mess, meetings meet, happy happi, enjoy enjoy, spy spi, fly fli, try tri, flies fli, dies die, died die,
    spied spi, skies sky, dying die, news news, innings inning, relational relat, conditional condit, valenci valenc, digitizer digit, conformabli conform,
    radicalli radic, differentli differ, vileli vile, vietnamization vietnam, predication predic, operator oper, feudalism feudal, decisiveness decis,
    hopefulness hope, callousness callous, formaliti formal, sensitiviti sensit, sensibiliti sensibl, triplicate triplic, formative form, formalize formal,
    electrical electr, hopeful hope, goodness good, revival reviv, allowance allow, inference infer, airliner airlin, adjustable adjust, defensible defens,
    irritant irrit, replacement replac, adjustment adjust, dependent depend, adoption adopt, homologou homolog, communism commun, activate activ,
    homologous homolog, effective effect, bowdlerize bowdler, probate probat, rate rate, cease ceas, controll control, roll roll, hoping hope, sized size,
    falling fall, hissing hiss, fizzed fizz, failing fail, filing file, sky sky, succeed succeed, geology geolog, theology theolog`;
  for (const pair of published.split(",")) {
    const [word, stem] = pair.trim().split(" ");
    assert.is(M.stem(word), stem, word);
  }
});

test("BLEU: NLTK's documented examples, and COCO's constants to the last digit", () => {
  const words = (text: string) => text.split(" ");
  const first = words("It is a guide to action which ensures that the military always obeys the commands of the party");
  const second = words("It is to insure the troops forever hearing the activity guidebook that party direct");
  const references = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
  ].map(words);
  const history = words("he read the book because he was interested in world history");
  const historyReference = words("he was interested in world history because he read the book");
  const [a, b, c] = [M.bleuCounts(first, references), M.bleuCounts(history, [historyReference]), M.bleuCounts(second, references)];
  const documented = (got: number, want: string, what: string) => {
    cases++;
    assert.ok(got.toFixed(9).startsWith(want), `${what}: ${got}, documented ${want}...`);
  };
  documented(M.bleu([a])[3], "0.5045", "sentence BLEU-4");
  documented(M.bleu([a, b])[3], "0.5920", "corpus BLEU-4");
  documented((M.bleu([a])[3] + M.bleu([b])[3]) / 2, "0.6223", "mean of two sentences");
  const precision = (counts: M.BleuCounts, n: number) => counts.correct[n - 1] / counts.guessed[n - 1];
  documented(precision(a, 1), "0.9444", "precision of single words");
  documented(precision(c, 1), "0.5714", "precision of single words");
  near(precision(a, 2), 0.5882352941176471, 12, "precision of pairs");
  documented(precision(c, 2), "0.07692", "precision of pairs");
  const the = M.bleuCounts(words("the the the the the the the"), ["the cat is on the mat", "there is a cat on the mat"].map(words));
  documented(precision(the, 1), "0.2857", "clipped counts");
  const all = (n: number) => new Array<string>(n).fill("a");
  near(M.bleu([M.bleuCounts(all(12), [all(28), all(28)])])[0], 0.2635971381157267, 8, "brevity penalty");
  documented(M.bleu([M.bleuCounts(all(12), [all(13), all(2)])])[0], "0.9200", "brevity penalty by the closest reference");
  near(M.bleu([M.bleuCounts(all(12), [all(13), all(11)])])[0], 1, 8, "the shorter of two equally close references");
  const coco = M.bleu(
    [
      ["i am a boy", "am i a boy ?"],
      ["she is a girl", "is she a girl ?"],
    ].map(([p, t]) => M.bleuCounts(M.bleuTokens(p), [M.bleuTokens(t)])),
  );
  for (const [n, want] of [0.9999999997500004, 0.5773502690332603, 4.3679023223468616e-6, 1.4287202142987477e-8].entries()) {
    cases++;
    assert.ok(Math.abs(coco[n] - want) <= 1e-12 * want, `COCO BLEU-${n + 1}: ${coco[n]}, published ${want}`);
  }
  assert.equal(M.bleuTokens("Don't move it's top-left cup, 3.5 cm!"), ["do", "n't", "move", "it", "'s", "top-left", "cup", "3.5", "cm"]);
  assert.ok(M.sentenceBleu("", "move")[0] < 1e-6);
  assert.throws(() => M.bleuCounts([], []), /a segment has no reference/);
});

/** SSIM by its definition: for every whole window, weighted means, variances and covariance about the means, in one sum each. */
function slowSsim(a: ArrayLike<number>, b: ArrayLike<number>, width: number, height: number): number {
  const weight = (u: number, v: number) => Math.exp(-(u * u + v * v) / 4.5);
  const [c1, c2] = [2.55 ** 2, 7.65 ** 2];
  let total = 0;
  for (let y = 5; y < height - 5; y++)
    for (let x = 5; x < width - 5; x++) {
      let [w, ma, mb, va, vb, vab] = [0, 0, 0, 0, 0, 0];
      const each = (of: (weight: number, p: number, q: number) => void) => {
        for (let v = -5; v <= 5; v++)
          for (let u = -5; u <= 5; u++) of(weight(u, v), a[(y + v) * width + x + u], b[(y + v) * width + x + u]);
      };
      each((k, p, q) => {
        w += k;
        ma += k * p;
        mb += k * q;
      });
      [ma, mb] = [ma / w, mb / w];
      each((k, p, q) => {
        va += (k / w) * (p - ma) ** 2;
        vb += (k / w) * (q - mb) ** 2;
        vab += (k / w) * (p - ma) * (q - mb);
      });
      total += ((2 * ma * mb + c1) * (2 * vab + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
  return total / ((width - 10) * (height - 10));
}

const picture = (width: number, height: number, at: (x: number, y: number, c: number) => number): Picture => ({
  width,
  height,
  data: Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const n = Math.floor(i / 3);
    return Math.min(255, Math.max(0, Math.round(at(n % width, Math.floor(n / width), i % 3))));
  }),
});

test("SSIM: the definition written out, on textures, noise, shifts, contrast and sizes down to one window", () => {
  const rng = new Rng(5, "ssim");
  const texture = (x: number, y: number) => 128 + 60 * Math.sin(x / 3 + y / 7) + 40 * Math.cos(y / 2.5);
  const changes: Record<string, (x: number, y: number) => number> = {
    itself: texture,
    noise: (x, y) => texture(x, y) + 25 * rng.normal(),
    shift: (x, y) => texture(x + 1.5, y),
    darker: (x, y) => texture(x, y) - 40,
    flatter: (x, y) => 128 + 0.3 * (texture(x, y) - 128),
    inverted: (x, y) => 255 - texture(x, y),
    flat: () => 90,
    half: (x, y) => (x < 10 ? texture(x, y) : 30),
    stranger: (x, y) => 128 + 100 * Math.sin(x * y),
  };
  for (const [width, height] of [
    [24, 19],
    [11, 11],
  ])
    for (const [name, change] of Object.entries(changes)) {
      const [a, b] = [texture, change].map((f) =>
        Float64Array.from({ length: width * height }, (_, i) => f(i % width, Math.floor(i / width))),
      );
      cases++;
      const [got, want] = [M.greySsim(a, b, width, height), slowSsim(a, b, width, height)];
      assert.ok(Math.abs(got - want) < 1e-10, `${name} ${width} x ${height}: ${got}, by definition ${want}`);
    }
  const flat = (value: number) => picture(16, 16, () => value);
  near(M.ssim(flat(50), flat(50)), 1, 12, "equal pictures");
  near(M.ssim(flat(10), flat(200)), (2 * 10 * 200 + 6.5025) / (10 ** 2 + 200 ** 2 + 6.5025), 9, "two flat pictures: the light term alone");
  assert.throws(
    () =>
      M.ssim(
        picture(10, 30, () => 1),
        picture(10, 30, () => 1),
      ),
    /ssim: a picture of 10 x 30 pixels is smaller than its window/,
  );
});

test("L1 and PSNR have their values, at the target's size; tokens and words agree or do not", () => {
  const a = picture(4, 2, (x) => 100 + x);
  const b = picture(4, 2, (x, _, c) => 100 + x + (c === 0 ? 30 : 0));
  assert.ok(Math.abs(M.l1(a, b) - 10 / 255) < 1e-12);
  assert.ok(Math.abs(M.psnr(a, b) - 10 * Math.log10(255 ** 2 / 300)) < 1e-12);
  assert.equal([M.l1(a, a), M.psnr(a, a)], [0, M.largestPsnr]);
  assert.is(
    M.l1(
      picture(8, 4, () => 77),
      picture(4, 2, () => 77),
    ),
    0,
    "a prediction of another size is scaled",
  );
  assert.is(
    M.l1(
      { ...picture(2, 1, () => 0), channels: 4, data: Uint8Array.of(0, 0, 0, 0, 9, 9, 9, 255) },
      picture(2, 1, (x) => (x ? 9 : 255)),
    ),
    0,
  );
  assert.is(M.tokenAgreement([1, 2, 3, 4], [1, 2, 0, 4]), 0.75);
  assert.throws(() => M.tokenAgreement([1], [1, 2]), /1 codes cannot be compared with 2/);
  assert.equal([M.exactMatch(" Move  the cup.", "move the cup"), M.exactMatch("move cup", "move the cup")], [1, 0]);
});

test("at least thirty values of ROUGE, BLEU and SSIM were held against another source", () => {
  console.log(`${cases} values compared`);
  assert.ok(cases >= 30);
});

test.run();

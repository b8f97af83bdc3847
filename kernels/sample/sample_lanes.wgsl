// The formula of sample.wgsl with one subgroup per row: four ids at a time, nothing loaded where none of the four is allowed, and a cut
// that ends early, once a single id lies between the threshold that keeps enough and the one that keeps too few.
enable subgroups;
diagnostic(off, subgroup_uniformity);
struct Params { rows: u32, V: u32, masks: u32, counter: u32, temperature: f32, topK: u32, topP: f32, seed: u32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> allowed: array<u32>;
@group(0) @binding(2) var<storage, read> mode: array<u32>;
@group(0) @binding(3) var<storage, read> streams: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> logprobs: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override LPR = 8u;
const LARGEST = 1e38;
const NONE = 0xffffffffu;

// What every pass over a row needs: the row, its mask, and its largest allowed logit.
struct Row { index: u32, mask: u32, top: f32, lane: u32 }

// The mask bits of ids 4 q to 4 q + 3.
fn four_bits(row: Row, q: u32) -> u32 {
  if (row.mask >= p.masks) { return 0u; }
  return (allowed[row.mask * ((p.V + 31u) / 32u) + q / 8u] >> (4u * (q % 8u))) & 15u;
}

fn spread(bits: u32) -> vec4<bool> { return (vec4u(bits) & vec4u(1u, 2u, 4u, 8u)) != vec4u(0u); }

fn four_logits(row: Row, q: u32) -> vec4f { return clamp(logits[row.index * (p.V / 4u) + q], vec4f(-LARGEST), vec4f(LARGEST)); }

fn scores(row: Row, x: vec4f) -> vec4f { return max((x - row.top) / p.temperature, vec4f(-LARGEST)); }

// Floats as integers of the same order, and back.
fn rank(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  return select(b | 0x80000000u, ~b, b >= 0x80000000u);
}
fn unrank(k: u32) -> f32 { return bitcast<f32>(select(~k, k & 0x7fffffffu, k >= 0x80000000u)); }

// How many allowed ids have a logit of at least `least`, and what they weigh (0 where that is not asked).
fn above(row: Row, least: f32, weighed: bool) -> vec2f {
  var count = vec4f();
  var weight = vec4f();
  for (var q = row.lane; q < p.V / 4u; q += LPR) {
    let bits = four_bits(row, q);
    if (bits == 0u) { continue; }
    let x = four_logits(row, q);
    let kept = spread(bits) & (x >= vec4f(least));
    count += select(vec4f(), vec4f(1.0), kept);
    if (weighed) { weight += select(vec4f(), exp(scores(row, x)), kept); }
  }
  return row_sum2(vec2f(total(count), total(weight)));
}

// The greatest threshold from `least` to the top that keeps `need` ids, or ids of weight `need`; `all` ids pass `least`.
fn cut(row: Row, least: f32, all: f32, need: f32, weighed: bool) -> f32 {
  var low = rank(least);
  var high = rank(row.top) + 1u;
  var count_low = all;
  var count_high = 0.0;
  while (high - low > 1u && count_low - count_high > 1.0) {
    let middle = low + (high - low) / 2u;
    let got = above(row, unrank(middle), weighed);
    if (select(got.x, got.y, weighed) >= need) {
      low = middle;
      count_low = got.x;
    } else {
      high = middle;
      count_high = got.x;
    }
  }
  return unrank(low);
}

// The lowest logit that top-k and top-p leave.
fn least_kept(row: Row) -> f32 {
  var least = -LARGEST;
  if (p.topK > 0u && p.topK < p.V) { least = cut(row, least, above(row, least, false).x, f32(p.topK), false); }
  if (p.topP < 1.0) {
    let all = above(row, least, true);
    least = cut(row, least, all.x, p.topP * all.y, true);
  }
  return least;
}

@compute @workgroup_size(LPR)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group_index(group, groups);
  if (index >= p.rows) { return; }
  var row = Row(index, mode[index], 0.0, lane);
  var tops = vec4f(-2.0 * LARGEST);
  for (var q = lane; q < p.V / 4u; q += LPR) {
    let bits = four_bits(row, q);
    if (bits != 0u) { tops = max(tops, select(vec4f(-2.0 * LARGEST), four_logits(row, q), spread(bits))); }
  }
  row.top = row_max(max(max(tops.x, tops.y), max(tops.z, tops.w)));
  var s = vec4f();
  for (var q = lane; q < p.V / 4u; q += LPR) {
    let bits = four_bits(row, q);
    if (bits != 0u) { s += select(vec4f(), exp(four_logits(row, q) - row.top), spread(bits)); }
  }
  let logsum = log(row_sum(total(s)));

  var least = -LARGEST;
  if (p.temperature > 0.0) { least = least_kept(row); }
  var best = -2.0 * LARGEST;
  var chosen = NONE;
  var raw = 0.0;
  for (var q = lane; q < p.V / 4u; q += LPR) {
    let bits = four_bits(row, q);
    if (bits == 0u) { continue; }
    let x = four_logits(row, q);
    let kept = spread(bits) & (x >= vec4f(least));
    let warm = scores(row, x);
    for (var k = 0u; k < 4u; k++) {
      if (!kept[k]) { continue; }
      var value = x[k];
      if (p.temperature > 0.0) { value = warm[k] + gumbel(uniform01(pcg4d(vec4u(streams[index], 4u * q + k, p.counter, p.seed)).x)); }
      if (value > best) {
        best = value;
        chosen = 4u * q + k;
        raw = x[k];
      }
    }
  }
  let id = row_first(select(NONE, chosen, best == row_max(best)));
  if (id == NONE) {
    if (lane == 0u) {
      ids[index] = 0u;
      logprobs[index] = -LARGEST;
    }
  } else if (chosen == id) {
    ids[index] = id;
    logprobs[index] = raw - row.top - logsum;
  }
}

// ids[r] = argmax over the allowed ids c of x[c] / temperature + gumbel(stream, c, counter, seed) (x = logits[r]), after top-k and top-p;
// temperature 0 takes argmax x. logprobs[r] = x[id] - log(sum over the allowed ids of exp x[c]). One workgroup per row.
// A cut is the greatest threshold whose ids {x >= threshold} still count topK, or still hold topP of the probability: found by 32 halvings
// of the interval between two floats, in the order of their bits, so it is exact and ties at the threshold stay in.
struct Params { rows: u32, V: u32, masks: u32, counter: u32, temperature: f32, topK: u32, topP: f32, seed: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> allowed: array<u32>;
@group(0) @binding(2) var<storage, read> mode: array<u32>;
@group(0) @binding(3) var<storage, read> streams: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> logprobs: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 256u;
const LARGEST = 1e38;
const NONE = 0xffffffffu;

// What every pass over a row needs: the row, its mask, and its largest allowed logit.
struct Row { index: u32, mask: u32, top: f32, lane: u32 }

fn is_allowed(row: Row, c: u32) -> bool {
  return row.mask < p.masks && ((allowed[row.mask * ((p.V + 31u) / 32u) + c / 32u] >> (c % 32u)) & 1u) == 1u;
}

fn logit(row: Row, c: u32) -> f32 { return clamp(logits[row.index * p.V + c], -LARGEST, LARGEST); }

fn score(row: Row, x: f32) -> f32 { return max((x - row.top) / p.temperature, -LARGEST); }

// Floats as integers of the same order, and back.
fn rank(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  return select(b | 0x80000000u, ~b, b >= 0x80000000u);
}
fn unrank(k: u32) -> f32 { return bitcast<f32>(select(~k, k & 0x7fffffffu, k >= 0x80000000u)); }

// How many allowed ids have a logit of at least `least`, or what they weigh.
fn above(row: Row, least: f32, weighed: bool) -> f32 {
  var s = 0.0;
  for (var c = row.lane; c < p.V; c += WG) {
    if (!is_allowed(row, c)) { continue; }
    let x = logit(row, c);
    if (x >= least) { s += select(1.0, exp(score(row, x)), weighed); }
  }
  return workgroup_sum(s, row.lane);
}

// The greatest threshold from `least` to the top with above(threshold) >= need.
fn cut(row: Row, least: f32, need: f32, weighed: bool) -> f32 {
  var low = rank(least);
  var high = rank(row.top) + 1u;
  for (var step = 0u; step < 32u; step++) {
    let middle = low + (high - low) / 2u;
    if (above(row, unrank(middle), weighed) >= need) { low = middle; } else { high = middle; }
  }
  return unrank(low);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group_index(group, groups);
  if (index >= p.rows) { return; }
  var row = Row(index, mode[index], 0.0, lane);
  var best = -2.0 * LARGEST;
  for (var c = lane; c < p.V; c += WG) { if (is_allowed(row, c)) { best = max(best, logit(row, c)); } }
  row.top = workgroup_max(best, lane);
  var s = 0.0;
  for (var c = lane; c < p.V; c += WG) { if (is_allowed(row, c)) { s += exp(logit(row, c) - row.top); } }
  let logsum = log(workgroup_sum(s, lane));

  var least = -LARGEST;
  if (p.temperature > 0.0) {
    if (p.topK > 0u && p.topK < p.V) { least = cut(row, least, f32(p.topK), false); }
    if (p.topP < 1.0) { least = cut(row, least, p.topP * above(row, least, true), true); }
  }
  best = -2.0 * LARGEST;
  var chosen = NONE;
  for (var c = lane; c < p.V; c += WG) {
    if (!is_allowed(row, c)) { continue; }
    var value = logit(row, c);
    if (value < least) { continue; }
    if (p.temperature > 0.0) { value = score(row, value) + gumbel(uniform01(pcg4d(vec4u(streams[index], c, p.counter, p.seed)).x)); }
    if (value > best) {
      best = value;
      chosen = c;
    }
  }
  let winner = workgroup_max(best, lane);
  let id = workgroup_first(select(NONE, chosen, best == winner), lane);
  if (lane != 0u) { return; }
  ids[index] = select(id, 0u, id == NONE);
  logprobs[index] = select(logit(row, min(id, p.V - 1u)) - row.top - logsum, -LARGEST, id == NONE);
}

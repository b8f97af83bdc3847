// Attention as in attention.wgsl for q, k and v in f16 on matrix units with sums in f32. Each of SUBGROUPS subgroups owns TM queries of one head and walks
// over KEYS keys at a time, GROUP of which lie one after another. Scores and weights pass through workgroup memory, so that how a unit lays a tile out over its
// lanes does not matter; the result stays in the units, and is rescaled there only when a score exceeds the reference of its row by more than
// SLACK, because until then the weights, at most e^SLACK, fit f16. Needs T >= TM, S >= GROUP, and D in whole tiles.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
alias QT = f16;
alias KT = f16;
alias VT = f16;
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32 }
@group(0) @binding(0) var<storage, read> q: array<QT>;
@group(0) @binding(1) var<storage, read> k: array<KT>;
@group(0) @binding(2) var<storage, read> v: array<VT>;
@group(0) @binding(3) var<storage, read> start: array<u32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
// Queries of a workgroup: SUBGROUPS * TM.
override ROWS = 64u;
const SUBGROUPS = 4u;
const LANES = 32u;
const TM = 16u;
const TN = 16u;
const TK = 16u;
const DEPTH = 64u; // D
const GROUP = 16u; // the larger of TN and TK
const GROUPS = 4u;
const KEYS = GROUPS * GROUP;
const SLACK = 8.0;
// Of every subgroup: scores, tile by tile, then tiles of the result; weights in rows of KEYS.
var<workgroup> tiles: array<f32, SUBGROUPS * TM * KEYS>;
var<workgroup> weights: array<f16, SUBGROUPS * TM * KEYS>;
var<workgroup> factors: array<f32, SUBGROUPS * TM>;
// The first key, plus 1, of the last step in which any row's reference moved.
var<workgroup> rescaled: atomic<u32>;

fn left_weights(at: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&weights, at, KEYS); }

// Of all lanes that share a row: they lie TM apart.
fn row_max(x: f32) -> f32 {
  var most = x;
  for (var step = u32(TM); step < LANES; step *= 2u) { most = max(most, subgroupShuffleXor(most, step)); }
  return most;
}
fn row_sum(x: f32) -> f32 {
  var sum = x;
  for (var step = u32(TM); step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}

@compute @workgroup_size(SUBGROUPS * LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let b = group.y / p.N;
  let n = group.y % p.N;
  // The last tiles of queries and of keys reach back over those before them: what is repeated is not written, and not seen.
  let t1 = group.x * ROWS + subgroup * TM;
  let t0 = min(t1, p.T - TM);
  let own = subgroup * TM * KEYS;
  let row = lane % TM;
  let query_step = p.N * DEPTH;
  let key_step = p.K * DEPTH;
  let queries = (b * p.T * p.N + n) * DEPTH;
  let keys = (b * p.S * p.K + n / (p.N / p.K)) * DEPTH;
  var first = 0u;
  if (p.padded == 1u) { first = start[b]; }
  var end = p.S;
  if (p.causal == 1u) { end = u32(clamp(i32(min(group.x * ROWS + ROWS, p.T) + p.S) - i32(p.T), 0, i32(p.S))); }
  let ends = select(p.S, u32(max(i32(t0 + row + 1u + p.S) - i32(p.T), 0)), p.causal == 1u);

  var left: array<Left, DEPTH / TK>;
  for (var d = 0u; d < DEPTH / TK; d++) { left[d] = left_rows(&q, queries + t0 * query_step + d * TK, query_step); }
  var sums: array<Sums, DEPTH / TN>;
  var top = -1e38;
  var total = 0.0;
  for (var s0 = first; s0 < end; s0 += KEYS) {
    for (var i = 0u; i < KEYS / TN; i++) {
      let s = min(s0 + i * TN / GROUP * GROUP, p.S - GROUP) + i * TN % GROUP;
      var scores = Sums();
      for (var d = 0u; d < DEPTH / TK; d++) { scores = multiply_tiles(left[d], right_columns(&k, keys + s * key_step + d * TK, key_step), scores); }
      put_sums(scores, own + i * TM * TN);
    }
    workgroupBarrier();
    var most = -3e38;
    for (var e = lane / TM; e < KEYS; e += LANES / TM) {
      let from_key = s0 + e / GROUP * GROUP;
      let s = min(from_key, p.S - GROUP) + e % GROUP;
      let at = own + (e / TN * TM + row) * TN + e % TN;
      let x = select(-3e38, tiles[at] * p.scale, s >= from_key && s < ends);
      tiles[at] = x;
      most = max(most, x);
    }
    most = row_max(most);
    let grows = most > top + SLACK;
    let higher = select(top, most, grows);
    let factor = exp(top - higher);
    var sum = 0.0;
    for (var e = lane / TM; e < KEYS; e += LANES / TM) {
      let weight = exp(tiles[own + (e / TN * TM + row) * TN + e % TN] - higher);
      weights[own + row * KEYS + e] = f16(weight);
      sum += weight;
    }
    total = total * factor + row_sum(sum);
    top = higher;
    if (lane < TM) { factors[subgroup * TM + lane] = factor; }
    if (subgroupAny(grows) && lane == 0u) { atomicStore(&rescaled, s0 + 1u); }
    if (workgroupUniformLoad(&rescaled) == s0 + 1u) {
      for (var j = 0u; j < DEPTH / TN; j++) {
        put_sums(sums[j], own);
        workgroupBarrier();
        for (var e = lane; e < TM * TN; e += LANES) { tiles[own + e] *= factors[subgroup * TM + e / TN]; }
        workgroupBarrier();
        sums[j] = take_sums(own);
        workgroupBarrier();
      }
    }
    for (var c = 0u; c < KEYS; c += TK) {
      let s = min(s0 + c / GROUP * GROUP, p.S - GROUP) + c % GROUP;
      let part = left_weights(own + c);
      for (var j = 0u; j < DEPTH / TN; j++) { sums[j] = multiply_tiles(part, right_rows(&v, keys + s * key_step + j * TN, key_step), sums[j]); }
    }
    workgroupBarrier();
  }
  if (lane < TM) {
    factors[subgroup * TM + lane] = select(0.0, 1.0 / total, total > 0.0);
    let t = t0 + lane;
    if (t >= t1 && t1 < p.T) { lse[group.y * p.T + t] = select(0.0, top + log(total), total > 0.0); }
  }
  for (var j = 0u; j < DEPTH / TN; j++) {
    workgroupBarrier();
    put_sums(sums[j], own);
    workgroupBarrier();
    for (var e = lane; e < TM * TN; e += LANES) {
      let t = t0 + e / TN;
      if (t >= t1 && t1 < p.T) { o[queries + t * query_step + j * TN + e % TN] = tiles[own + e] * factors[subgroup * TM + e / TN]; }
    }
  }
}

// attention_cached.wgsl where few queries share a suffix (one token a row): one subgroup owns ROWS of the queries that share a prefix row
// and a key head, in the order (branch, token, query head). It walks over the prefix for all of them together, in the layout of tile.wgsl,
// then over each row's own suffix, where a lane holds four keys. Needs D % 4 and D <= 4 * LANES * QUADS. Two loops in one shader, so longer than most.
enable subgroups;
alias QT = f32;
alias PKT = f32;
alias PVT = f32;
alias KT = f32;
alias VT = f32;
struct Params { R: u32, T: u32, S: u32, cap: u32, N: u32, K: u32, D: u32, branches: u32, base: u32, padded: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> q: array<vec4<QT>>;
@group(0) @binding(1) var<storage, read> kp: array<vec4<PKT>>;
@group(0) @binding(2) var<storage, read> vp: array<vec4<PVT>>;
@group(0) @binding(3) var<storage, read> start: array<u32>;
@group(0) @binding(4) var<storage, read> ks: array<vec4<KT>>;
@group(0) @binding(5) var<storage, read> vs: array<vec4<VT>>;
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
const ROWS = 8u;
const LANES = 8u;
const LOADS = 1u;
const QUADS = 1u;
override WG = 8u;

// Place in q of query u of a prefix row and key head, and (row of the suffix, token).
fn queryOf(prefix: u32, head: u32, u: u32) -> vec3u {
  let share = p.N / p.K;
  let r = prefix * p.branches + u / (p.T * share);
  let t = u / share % p.T;
  return vec3u(((r * p.T + t) * p.N + head * share + u % share) * (p.D / 4u), r, t);
}

fn largest(x: vec4f) -> f32 { return subgroupMax(max(max(x.x, x.y), max(x.z, x.w))); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let prefix = group.y / p.K; let head = group.y % p.K;
  let quads = p.D / 4u;
  let step = p.K * quads;
  let count = p.branches * p.T * (p.N / p.K);
  let begin = group.x * ROWS;
  var query: array<u32, LOADS>;
  for (var i = 0u; i < LOADS; i++) { query[i] = queryOf(prefix, head, min(begin + (i * LANES + lane) % ROWS, count - 1u)).x; }
  var first = 0u;
  if (p.padded == 1u) { first = start[prefix]; }

  var sums: array<array<vec4f, ROWS>, QUADS>;
  var total: array<vec4f, ROWS>;
  var top: array<f32, ROWS>;
  for (var i = 0u; i < ROWS; i++) { top[i] = -1e38; }
  for (var s0 = first; s0 < p.S; s0 += 4u * LANES) {
    let s = vec4u(s0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
    let keys = (prefix * p.S * p.K + head) * quads;
    let at = keys + min(s, vec4u(p.S - 1u)) * step;
    var score = array<vec4f, ROWS>();
    for (var d = 0u; d < quads; d++) {
      var x: array<vec4f, LOADS>;
      for (var i = 0u; i < LOADS; i++) { x[i] = vec4f(q[query[i] + d]); }
      let c0 = vec4f(kp[at.x + d]); let c1 = vec4f(kp[at.y + d]); let c2 = vec4f(kp[at.z + d]); let c3 = vec4f(kp[at.w + d]);
      for (var i = 0u; i < ROWS; i++) {
        let row = subgroupShuffle(x[i / LANES], i % LANES);
        score[i] += vec4f(dot(row, c0), dot(row, c1), dot(row, c2), dot(row, c3));
      }
    }
    for (var i = 0u; i < ROWS; i++) {
      let value = select(vec4f(-3e38), score[i] * p.scale, s < vec4u(p.S));
      let higher = max(top[i], largest(value));
      let keep = exp(top[i] - higher);
      top[i] = higher;
      score[i] = exp(value - higher);
      total[i] = total[i] * keep + score[i];
      for (var j = 0u; j < QUADS; j++) { sums[j][i] *= keep; }
    }
    for (var l = 0u; l < min(LANES, (p.S - s0 + 3u) / 4u); l++) {
      for (var c = 0u; c < 4u; c++) {
        let key = keys + min(s0 + 4u * l + c, p.S - 1u) * step;
        for (var j = 0u; j < QUADS; j++) {
          let value = vec4f(vp[key + min(j * LANES + lane, quads - 1u)]);
          for (var i = 0u; i < ROWS; i++) { sums[j][i] += subgroupShuffle(score[i][c], l) * value; }
        }
      }
    }
  }

  // Copies, so that only they are indexed by a number known at run time and the arrays above stay in registers.
  var sumsThen = sums;
  var totalThen = total;
  var topThen = top;
  for (var i = 0u; i < min(ROWS, count - begin); i++) {
    let place = queryOf(prefix, head, begin + i);
    let end = min(p.base + place.z + 1u, p.cap);
    let keys = (place.y * p.cap * p.K + head) * quads;
    var highest = topThen[i];
    var weights = totalThen[i];
    var made: array<vec4f, QUADS>;
    for (var j = 0u; j < QUADS; j++) { made[j] = sumsThen[j][i]; }
    for (var s0 = max(first, p.S) - p.S; s0 < end; s0 += 4u * LANES) {
      let s = vec4u(s0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
      let at = keys + min(s, vec4u(end - 1u)) * step;
      var score = vec4f();
      for (var d = 0u; d < quads; d++) {
        let x = vec4f(q[place.x + d]);
        score += vec4f(dot(x, vec4f(ks[at.x + d])), dot(x, vec4f(ks[at.y + d])), dot(x, vec4f(ks[at.z + d])), dot(x, vec4f(ks[at.w + d])));
      }
      let value = select(vec4f(-3e38), score * p.scale, s < vec4u(end));
      let higher = max(highest, largest(value));
      let keep = exp(highest - higher);
      highest = higher;
      let weight = exp(value - higher);
      weights = weights * keep + weight;
      for (var j = 0u; j < QUADS; j++) { made[j] *= keep; }
      for (var l = 0u; l < min(LANES, (end - s0 + 3u) / 4u); l++) {
        let each = subgroupShuffle(weight, l);
        for (var j = 0u; j < QUADS; j++) {
          let quad = min(j * LANES + lane, quads - 1u);
          let key = keys + min(vec4u(s0 + 4u * l) + vec4u(0u, 1u, 2u, 3u), vec4u(end - 1u)) * step + quad;
          made[j] += each.x * vec4f(vs[key.x]) + each.y * vec4f(vs[key.y]) + each.z * vec4f(vs[key.z]) + each.w * vec4f(vs[key.w]);
        }
      }
    }
    let sum = max(subgroupAdd(dot(weights, vec4f(1.0))), 1e-30);
    for (var j = 0u; j < QUADS; j++) {
      let quad = j * LANES + lane;
      if (quad < quads) { o[place.x + quad] = made[j] / sum; }
    }
  }
}

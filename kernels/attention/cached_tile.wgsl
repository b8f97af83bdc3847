// attention_cached.wgsl by tiles: one subgroup owns ROWS of the queries that share a prefix row and a key head, in the order (branch, token,
// query head), and walks over the prefix's keys and then the suffix of each branch in the tile, 4 * LANES keys at a time, in the layout
// of tile.wgsl. Needs D % 4 and D <= 4 * LANES * QUADS.
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

// Running softmax of a tile: the largest score so far, the sum of weights (a part in each lane), and the weighted sum of values.
struct State { top: array<f32, ROWS>, total: array<vec4f, ROWS>, sums: array<array<vec4f, ROWS>, QUADS> }
// A lane's share of the tile's rows: where the query is, which branch it is of, and how many of its suffix's keys it sees.
struct Rows { query: array<u32, LOADS>, branch: array<u32, LOADS>, sees: array<u32, LOADS> }

// Keys first ... end - 1 of one row of a cache that begins at quad `keys`: the prefix for all rows, or branch r's suffix for its own rows.
fn attend(state: ptr<function, State>, rows: ptr<function, Rows>, own: bool, r: u32, keys: u32, first: u32, end: u32, lane: u32) {
  let quads = p.D / 4u;
  let step = p.K * quads;
  for (var s0 = first; s0 < end; s0 += 4u * LANES) {
    let s = vec4u(s0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
    let at = keys + min(s, vec4u(end - 1u)) * step;
    var score = array<vec4f, ROWS>();
    for (var d = 0u; d < quads; d++) {
      var x: array<vec4f, LOADS>;
      for (var i = 0u; i < LOADS; i++) { x[i] = vec4f(q[(*rows).query[i] + d]); }
      var c0: vec4f; var c1: vec4f; var c2: vec4f; var c3: vec4f;
      if (own) {
        c0 = vec4f(ks[at.x + d]); c1 = vec4f(ks[at.y + d]); c2 = vec4f(ks[at.z + d]); c3 = vec4f(ks[at.w + d]);
      } else {
        c0 = vec4f(kp[at.x + d]); c1 = vec4f(kp[at.y + d]); c2 = vec4f(kp[at.z + d]); c3 = vec4f(kp[at.w + d]);
      }
      for (var i = 0u; i < ROWS; i++) {
        let row = subgroupShuffle(x[i / LANES], i % LANES);
        score[i] += vec4f(dot(row, c0), dot(row, c1), dot(row, c2), dot(row, c3));
      }
    }
    for (var i = 0u; i < ROWS; i++) {
      var sees = end;
      if (own) {
        sees = select(0u, subgroupShuffle((*rows).sees[i / LANES], i % LANES), subgroupShuffle((*rows).branch[i / LANES], i % LANES) == r);
      }
      let value = select(vec4f(-3e38), score[i] * p.scale, s < vec4u(min(sees, end)));
      let higher = max((*state).top[i], subgroupMax(max(max(value.x, value.y), max(value.z, value.w))));
      let keep = exp((*state).top[i] - higher);
      (*state).top[i] = higher;
      score[i] = exp(value - higher);
      (*state).total[i] = (*state).total[i] * keep + score[i];
      for (var j = 0u; j < QUADS; j++) { (*state).sums[j][i] *= keep; }
    }
    for (var l = 0u; l < min(LANES, (end - s0 + 3u) / 4u); l++) {
      for (var c = 0u; c < 4u; c++) {
        let key = keys + min(s0 + 4u * l + c, end - 1u) * step;
        for (var j = 0u; j < QUADS; j++) {
          let quad = key + min(j * LANES + lane, quads - 1u);
          var value: vec4f;
          if (own) { value = vec4f(vs[quad]); } else { value = vec4f(vp[quad]); }
          for (var i = 0u; i < ROWS; i++) { (*state).sums[j][i] += subgroupShuffle(score[i][c], l) * value; }
        }
      }
    }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let prefix = group.y / p.K; let head = group.y % p.K;
  let quads = p.D / 4u;
  let share = p.N / p.K;
  let perBranch = p.T * share;
  let count = p.branches * perBranch;
  let begin = group.x * ROWS;
  var rows: Rows;
  for (var i = 0u; i < LOADS; i++) {
    let u = min(begin + (i * LANES + lane) % ROWS, count - 1u);
    let t = u % perBranch / share;
    rows.branch[i] = prefix * p.branches + u / perBranch;
    rows.query[i] = ((rows.branch[i] * p.T + t) * p.N + head * share + u % share) * quads;
    rows.sees[i] = p.base + t + 1u;
  }
  var state: State;
  for (var i = 0u; i < ROWS; i++) { state.top[i] = -1e38; }
  var hidden = 0u;
  if (p.padded == 1u) { hidden = start[prefix]; }
  let last = min(begin + ROWS, count) - 1u;
  // Part 0 is the prefix, part i the suffix of the tile's i-th branch: one loop, so that the compiler sees the body once.
  for (var part = 0u; part <= last / perBranch - begin / perBranch + 1u; part++) {
    let branch = begin / perBranch + part - 1u;
    let r = prefix * p.branches + branch;
    let newest = select(p.T - 1u, last % perBranch / share, branch == last / perBranch);
    let first = select(max(hidden, p.S) - p.S, hidden, part == 0u);
    let end = select(min(p.base + newest + 1u, p.cap), p.S, part == 0u);
    let keys = (select(r * p.cap, prefix * p.S, part == 0u) * p.K + head) * quads;
    attend(&state, &rows, part > 0u, r, keys, first, end, lane);
  }
  var scales: array<f32, ROWS>;
  var places: array<u32, ROWS>;
  for (var i = 0u; i < ROWS; i++) {
    scales[i] = 1.0 / max(subgroupAdd(dot(state.total[i], vec4f(1.0))), 1e-30);
    places[i] = subgroupShuffle(rows.query[i / LANES], i % LANES);
  }
  // A bound known only at run time keeps this loop rolled: unrolled, its stores take long to compile on a software adapter.
  var made = state.sums;
  for (var i = 0u; i < min(ROWS, count - begin); i++) {
    for (var j = 0u; j < QUADS; j++) {
      let quad = j * LANES + lane;
      if (quad < quads) { o[places[i] + quad] = made[j][i] * scales[i]; }
    }
  }
}

// y[r, base + t, h] = rope(layer norm of x[r, t, h]) as in head_norm_rope.wgsl for D % 8: LPR neighbouring lanes share a head of a token. A lane
// holds N pairs of four neighbouring columns and the four that are turned with them, D/2 further on, so that every number is loaded once.
enable subgroups;
alias YT = f32;
struct Params { R: u32, T: u32, H: u32, D: u32, cap: u32, base: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> cos_table: array<vec4f>;
@group(0) @binding(4) var<storage, read> sin_table: array<vec4f>;
@group(0) @binding(5) var<storage, read> positions: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;
const N = 1;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = group.x * (WG / LPR) + lane / LPR;
  let head = min(own, p.H - 1u);
  let token = group.z * p.T + group.y;
  let place = p.base + group.y;
  let half = p.D / 8u;
  let part = lane % LPR;
  let at = (token * p.H + head) * 2u * half;
  var lo: array<vec4f, N>;
  var hi: array<vec4f, N>;
  var s = vec4f();
  for (var k = 0; k < N; k++) {
    let j = part + u32(k) * LPR;
    if (j < half) {
      lo[k] = x[at + j];
      hi[k] = x[at + half + j];
    }
    s += lo[k] + hi[k];
  }
  let mean = row_sum(total(s)) / f32(p.D);
  var q = vec4f();
  for (var k = 0; k < N; k++) {
    if (part + u32(k) * LPR < half) {
      lo[k] -= mean;
      hi[k] -= mean;
    }
    q += lo[k] * lo[k] + hi[k] * hi[k];
  }
  let rstd = 1.0 / sqrt(row_sum(total(q)) / f32(p.D) + p.eps);
  if (own > head || place >= p.cap) { return; }
  let weight = head * 2u * half;
  let turn = positions[token] * half;
  let to = ((group.z * p.cap + place) * p.H + head) * 2u * half;
  for (var k = 0; k < N; k++) {
    let j = part + u32(k) * LPR;
    if (j < half) {
      let a = lo[k] * rstd * w[weight + j] + b[weight + j];
      let z = hi[k] * rstd * w[weight + half + j] + b[weight + half + j];
      let c = cos_table[turn + j];
      let n = sin_table[turn + j];
      y[to + j] = vec4<YT>(a * c - z * n);
      y[to + half + j] = vec4<YT>(z * c + a * n);
    }
  }
}

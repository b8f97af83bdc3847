// y[r, base + t, h] = rope(layer norm of x[r, t, h]): z = (x - mean) / sqrt(variance + eps) * w[h] + b[h] over the D values of a head, then
// y[j] = z[j] cos - z[j + D/2] sin, y[j + D/2] = z[j + D/2] cos + z[j] sin for j < D/2, with cos and sin of the token's position from host-made
// tables. y has room for `cap` tokens a row; tokens past its end are dropped. One workgroup per head of a token.
alias YT = f32;
struct Params { R: u32, T: u32, H: u32, D: u32, cap: u32, base: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> cos_table: array<f32>;
@group(0) @binding(4) var<storage, read> sin_table: array<f32>;
@group(0) @binding(5) var<storage, read> positions: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<YT>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups);
  let token = i / p.H;
  let head = i % p.H;
  let place = p.base + token % p.T;
  if (token >= p.R * p.T || place >= p.cap) { return; }
  let at = i * p.D;
  var s = 0.0;
  for (var c = lane; c < p.D; c += WG) { s += x[at + c]; }
  let mean = workgroup_sum(s, lane) / f32(p.D);
  var q = 0.0;
  for (var c = lane; c < p.D; c += WG) { let v = x[at + c] - mean; q += v * v; }
  let rstd = 1.0 / sqrt(workgroup_sum(q, lane) / f32(p.D) + p.eps);
  let half = p.D / 2u;
  let weight = head * p.D;
  let turn = positions[token] * half;
  let to = ((token / p.T * p.cap + place) * p.H + head) * p.D;
  for (var j = lane; j < half; j += WG) {
    let lo = (x[at + j] - mean) * rstd * w[weight + j] + b[weight + j];
    let hi = (x[at + half + j] - mean) * rstd * w[weight + half + j] + b[weight + half + j];
    y[to + j] = YT(lo * cos_table[turn + j] - hi * sin_table[turn + j]);
    y[to + half + j] = YT(hi * cos_table[turn + j] + lo * sin_table[turn + j]);
  }
}

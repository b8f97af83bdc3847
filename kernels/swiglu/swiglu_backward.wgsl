// dg = dh u s (1 + g (1 - s)), du = dh g s, s = 1 / (1 + exp(-g)); added where accg, accu are 1. One invocation writes one element of each.
alias XT = f32;
struct Params { n: u32, accg: u32, accu: u32 }
@group(0) @binding(0) var<storage, read> g: array<XT>;
@group(0) @binding(1) var<storage, read> u: array<XT>;
@group(0) @binding(2) var<storage, read> dh: array<f32>;
@group(0) @binding(3) var<storage, read_write> dg: array<f32>;
@group(0) @binding(4) var<storage, read_write> du: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  let a = f32(g[i]);
  let s = 1.0 / (1.0 + exp(-a));
  let d = dh[i];
  var ga = d * f32(u[i]) * s * (1.0 + a * (1.0 - s));
  var gu = d * a * s;
  if (p.accg != 0u) { ga += dg[i]; }
  if (p.accu != 0u) { gu += du[i]; }
  dg[i] = ga;
  du[i] = gu;
}

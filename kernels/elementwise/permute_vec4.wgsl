// y[i0, i1, i2, i3] = x[i0 t0 + i1 t1 + i2 t2 + i3 t3]: any reordering of four axes; y has sizes (.., s1, s2, s3). Added where acc is 1.
// The last axis stays last and is moved in fours: one invocation writes four elements.
alias XT = f32;
alias YT = f32;
struct Params { n: u32, s1: u32, s2: u32, s3: u32, t0: u32, t1: u32, t2: u32, t3: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n / 4u) { return; }
  let j = i * 4u;
  let s3 = p.s3;
  let i2 = j / s3;
  let i1 = i2 / p.s2;
  let from0 = (i1 / p.s1) * p.t0 + (i1 % p.s1) * p.t1 + (i2 % p.s2) * p.t2 + (j % s3) * p.t3;
  var v = vec4f(x[from0 / 4u]);
  if (p.acc != 0u) { v += vec4f(y[i]); }
  y[i] = vec4<YT>(v);
}

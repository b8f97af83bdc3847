// Dropout, n a multiple of 4, four values an invocation; see dropout.wgsl.
struct Params { n: u32, scale: f32, below: u32, seed: u32, stream: u32, step: u32, first: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let quads = p.n / 4u;
  if (i >= quads) { return; }
  let at = p.first / 4u + i;
  var words = pcg4d(vec4u(at, p.stream, p.step, p.seed));
  if (p.first % 4u != 0u) {
    // Four values of two quads of words.
    let next = pcg4d(vec4u(at + 1u, p.stream, p.step, p.seed));
    switch (p.first % 4u) {
      case 1u: { words = vec4u(words.yzw, next.x); }
      case 2u: { words = vec4u(words.zw, next.xy); }
      default: { words = vec4u(words.w, next.xyz); }
    }
  }
  var v = select(vec4f(), p.scale * x[i], words >= vec4u(p.below));
  if (p.acc == 1u) { v += y[i]; }
  y[i] = v;
}

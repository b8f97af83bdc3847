// y (+)= scale * x where the element is kept, else 0. Element i is kept where word (first + i) of the random stream
// (seed, step, stream) is at least `below`: four words come from one pcg4d of the quad's number, so the mask is never stored.
struct Params { n: u32, scale: f32, below: u32, seed: u32, stream: u32, step: u32, first: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  let at = p.first + i;
  let words = pcg4d(vec4u(at / 4u, p.stream, p.step, p.seed));
  var v = select(0.0, p.scale * x[i], words[at % 4u] >= p.below);
  if (p.acc == 1u) { v += y[i]; }
  y[i] = v;
}

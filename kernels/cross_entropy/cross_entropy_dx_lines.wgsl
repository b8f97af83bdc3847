// The gradient of cross-entropy, V a multiple of 4, without a division to find the row: a workgroup walks PER rows, four values an invocation
// at a time; see cross_entropy_dx.wgsl.
struct Params { R: u32, V: u32, row: u32, smoothing: f32, z: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> inverse: array<f32>;
@group(0) @binding(5) var<storage, read> dloss: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group_index(group, groups) * PER;
  let n = p.V / 4u;
  let scale = inverse[0] * dloss[0];
  let rest = p.smoothing / f32(p.V);
  for (var row = first; row < min(first + PER, p.R); row++) {
    let weight = weights[p.row + row] * scale;
    let l = lse[p.row + row];
    let wide = 1.0 + 2.0 * p.z * l;
    let hot = vec4u(targets[p.row + row]);
    for (var c = lane; c < n; c += WG) {
      let i = row * n + c;
      var d = vec4f();
      if (weight != 0.0) { d = weight * (exp(logits[i] - l) * wide - rest - select(vec4f(), vec4f(1.0 - p.smoothing), c * 4u + vec4u(0, 1, 2, 3) == hot)); }
      if (p.acc != 0u) { d += dlogits[i]; }
      dlogits[i] = d;
    }
  }
}

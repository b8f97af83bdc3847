// dlogits = dloss * scale * w[r] * ((1 + 2 z lse) softmax - (1 - s) onehot(target) - s / V), added where acc is 1.
// A workgroup walks PER rows, four columns an invocation at a time.
struct Params { rows: u32, V: u32, smoothing: f32, z: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read> dloss: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group_index(group, groups) * PER;
  for (var row = first; row < min(first + PER, p.rows); row++) {
    let weight = dloss[0] * scale[0] * weights[row];
    let l = lse[row];
    let keep = 1.0 + 2.0 * p.z * l;
    let target_id = targets[row];
    for (var c = lane; c < p.V / 4u; c += WG) {
      let i = row * (p.V / 4u) + c;
      var d = vec4f();
      if (weight != 0.0) {
        let hot = select(vec4f(), vec4f(1.0 - p.smoothing), c * 4u + vec4u(0, 1, 2, 3) == vec4u(target_id));
        d = weight * (keep * exp(logits[i] - l) - hot - p.smoothing / f32(p.V));
      }
      if (p.acc != 0u) { d += dlogits[i]; }
      dlogits[i] = d;
    }
  }
}

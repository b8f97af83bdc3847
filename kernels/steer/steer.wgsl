// Inside a picture (since[r] < picture) and where guided is 1: y = U + image (M - U) + full (F - M), with F, M and U the logits of row r given the full
// prompt, its pictures alone, and nothing, in that order in logits (3 R, V) (Chameleon's image guidance). Elsewhere y = F, for ids whose bit is
// set in seen (R, ceil(V / 32)) divided by penalty where positive and multiplied by it where negative (Keskar and others, arXiv 1909.05858).
// One invocation per value.
struct Params { R: u32, V: u32, guided: u32, picture: u32, image: f32, full: f32, penalty: f32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> since: array<u32>;
@group(0) @binding(2) var<storage, read> seen: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let size = p.R * p.V;
  if (i >= size) { return; }
  let r = i / p.V;
  let c = i % p.V;
  var value = logits[i];
  if (since[r] < p.picture) {
    if (p.guided == 1u) {
      let pictures = logits[size + i];
      let nothing = logits[2u * size + i];
      value = nothing + p.image * (pictures - nothing) + p.full * (value - pictures);
    }
  } else if (p.penalty != 1.0 && ((seen[r * ((p.V + 31u) / 32u) + c / 32u] >> (c % 32u)) & 1u) == 1u) {
    value = select(value * p.penalty, value / p.penalty, value > 0.0);
  }
  y[i] = value;
}

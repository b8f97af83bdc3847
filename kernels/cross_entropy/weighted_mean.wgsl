// loss = sum of weight * ce / d and inverse = 1 / d, where d is the sum of the weights (byWeights 1) or the given number. One workgroup.
struct Params { R: u32, byWeights: u32, denominator: f32 }
@group(0) @binding(0) var<storage, read> ce: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var s = 0.0;
  var w = 0.0;
  for (var i = lane; i < p.R; i += WG) {
    if (weights[i] != 0.0) { s += weights[i] * ce[i]; }
    w += weights[i];
  }
  let sum = workgroup_sum(s, lane);
  let weight = workgroup_sum(w, lane);
  let d = select(p.denominator, weight, p.byWeights == 1u);
  if (lane == 0u) {
    loss[0] = sum / d;
    inverse[0] = 1.0 / d;
  }
}

// Per row: lse = log sum exp(logits), ce = lse - logits[target], correct = 1 where the first largest logit is the target's.
// One workgroup per row.
struct Params { R: u32, V: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> ce: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;
const lowest = -3.4028234663852886e38;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.R) { return; }
  let base = row * p.V;
  var best = lowest;
  var at = 0u;
  for (var c = lane; c < p.V; c += WG) {
    let v = logits[base + c];
    if (v > best) {
      best = v;
      at = c;
    }
  }
  let top = workgroup_max(best, lane);
  let found = workgroup_first(select(p.V, at, best == top), lane);
  var s = 0.0;
  for (var c = lane; c < p.V; c += WG) { s += exp(logits[base + c] - top); }
  let sum = workgroup_sum(s, lane);
  if (lane == 0u) {
    let l = top + log(sum);
    let target_id = targets[row];
    ce[row] = l - logits[base + target_id];
    lse[row] = l;
    correct[row] = select(0u, 1u, found == target_id);
  }
}

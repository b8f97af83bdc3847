// Per row: lse = log sum exp(logits), ce = lse - logits[target], correct = 1 where the first largest logit is the target's, and what is trained on:
// cost = ce + smoothing (logits[target] - mean of the logits) + z lse^2. The logits are those of rows `row` ... of the batch.
// One workgroup per row.
struct Params { R: u32, V: u32, row: u32, smoothing: f32, z: f32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> ce: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<storage, read_write> cost: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
const lowest = -3.4028234663852886e38;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.R) { return; }
  let base = row * p.V;
  var best = lowest;
  var place = 0u;
  for (var c = lane; c < p.V; c += WG) {
    let v = logits[base + c];
    if (v > best) {
      best = v;
      place = c;
    }
  }
  let top = workgroup_max(best, lane);
  let found = workgroup_first(select(p.V, place, best == top), lane);
  var s = 0.0;
  var all = 0.0;
  for (var c = lane; c < p.V; c += WG) {
    let v = logits[base + c];
    s += exp(v - top);
    all += v;
  }
  let sum = workgroup_sum(s, lane);
  let mean = workgroup_sum(all, lane) / f32(p.V);
  if (lane == 0u) {
    let l = top + log(sum);
    let at = p.row + row;
    let target_id = targets[at];
    let hit = logits[base + target_id];
    ce[at] = l - hit;
    lse[at] = l;
    correct[at] = select(0u, 1u, found == target_id);
    var c = l - hit + p.z * l * l;
    // Masked logits (-3.4e38) have no mean.
    if (p.smoothing != 0.0) { c += p.smoothing * (hit - mean); }
    cost[at] = c;
  }
}

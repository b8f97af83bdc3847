// Cross-entropy of each row of logits (R, V): lse = log sum_v exp(logit), ce = lse - logit[target], correct = (first largest logit is the target).
// One workgroup a row.
struct Params { R: u32, V: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> ce: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group_index(group, groups), p.R - 1u);
  let base = row * p.V;
  var best = -3.4028234e38;
  var at = p.V;
  for (var v = lane; v < p.V; v += WG) {
    let x = logits[base + v];
    if (x > best || at == p.V) { best = x; at = v; }
  }
  let most = workgroup_max(best, lane);
  let first = workgroup_first(select(p.V, at, best == most), lane);
  var s = 0.0;
  for (var v = lane; v < p.V; v += WG) { s += exp(logits[base + v] - most); }
  let all = most + log(workgroup_sum(s, lane));
  if (lane == 0u && group_index(group, groups) < p.R) {
    lse[row] = all;
    ce[row] = all - logits[base + targets[row]];
    correct[row] = select(0u, 1u, first == targets[row]);
  }
}

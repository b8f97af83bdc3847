// Per row: lse = log sum exp(logits), ce = lse - logits[target], correct = 1 where the first largest logit is the target's, and what is trained on:
// cost = ce + smoothing (logits[target] - mean of the logits) + z lse^2. The logits are those of rows `row` ... of the batch.
// LPR neighbouring lanes share a row.
enable subgroups;
struct Params { R: u32, V: u32, row: u32, smoothing: f32, z: f32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> ce: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<storage, read_write> cost: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;
const lowest = -3.4028234663852886e38;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.R - 1u);
  let n = p.V / 4u;
  let base = row * n;
  let part = i % LPR;
  var best = vec4f(lowest);
  var place = vec4u();
  for (var c = part; c < n; c += LPR) {
    let v = logits[base + c];
    place = select(place, vec4u(c), v > best);
    best = max(best, v);
  }
  let top = row_max(max(max(best.x, best.y), max(best.z, best.w)));
  let ids = select(vec4u(p.V), place * 4u + vec4u(0, 1, 2, 3), best == vec4f(top));
  let found = row_first(min(min(ids.x, ids.y), min(ids.z, ids.w)));
  var s = vec4f();
  var all = vec4f();
  for (var c = part; c < n; c += LPR) {
    let v = logits[base + c];
    s += exp(v - top);
    all += v;
  }
  let sum = row_sum(total(s));
  let mean = row_sum(total(all)) / f32(p.V);
  if (i / LPR < p.R && part == 0u) {
    let l = top + log(sum);
    let at = p.row + row;
    let target_id = targets[at];
    let hit = logits[base + target_id / 4u][target_id % 4u];
    ce[at] = l - hit;
    lse[at] = l;
    correct[at] = select(0u, 1u, found == target_id);
    var c = l - hit + p.z * l * l;
    // Masked logits (-3.4e38) have no mean.
    if (p.smoothing != 0.0) { c += p.smoothing * (hit - mean); }
    cost[at] = c;
  }
}

// Sums and extremes over a workgroup of WG invocations (a power of two); every invocation gets the result. Call in uniform control flow.
// The shader that uses them declares `override WG`.
var<workgroup> reduce_part: array<f32, WG>;
var<workgroup> reduce_index: array<u32, WG>;

fn workgroup_sum(value: f32, lane: u32) -> f32 {
  reduce_part[lane] = value;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { reduce_part[lane] += reduce_part[lane + half]; }
  }
  workgroupBarrier();
  let s = reduce_part[0];
  workgroupBarrier();
  return s;
}

fn workgroup_max(value: f32, lane: u32) -> f32 {
  reduce_part[lane] = value;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { reduce_part[lane] = max(reduce_part[lane], reduce_part[lane + half]); }
  }
  workgroupBarrier();
  let s = reduce_part[0];
  workgroupBarrier();
  return s;
}

// The lowest of the indices.
fn workgroup_first(index: u32, lane: u32) -> u32 {
  reduce_index[lane] = index;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { reduce_index[lane] = min(reduce_index[lane], reduce_index[lane + half]); }
  }
  workgroupBarrier();
  let s = reduce_index[0];
  workgroupBarrier();
  return s;
}

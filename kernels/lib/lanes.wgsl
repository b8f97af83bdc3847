// Sums over the LPR neighbouring lanes that share a row (kernels/rows.ts); every lane gets the same bits. The shader that uses them
// declares `enable subgroups;` and `override LPR`.
fn row_sum(value: f32) -> f32 {
  var s = value;
  for (var k = 1u; k < LPR; k <<= 1u) { s += subgroupShuffleXor(s, k); }
  return s;
}

fn row_sum2(value: vec2f) -> vec2f {
  var s = value;
  for (var k = 1u; k < LPR; k <<= 1u) { s += subgroupShuffleXor(s, k); }
  return s;
}

fn row_max(value: f32) -> f32 {
  var s = value;
  for (var k = 1u; k < LPR; k <<= 1u) { s = max(s, subgroupShuffleXor(s, k)); }
  return s;
}

// The lowest of the indices.
fn row_first(index: u32) -> u32 {
  var s = index;
  for (var k = 1u; k < LPR; k <<= 1u) { s = min(s, subgroupShuffleXor(s, k)); }
  return s;
}

fn total(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

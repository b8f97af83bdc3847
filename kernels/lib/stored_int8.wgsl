// As stored_f32.wgsl, from int8: four to a word, the first in the low bits, each row from a word on; value = (bits - 128) scale, one scale
// for 2^G neighbours of a row.
alias Stored4 = u32;

fn scale_at(r: u32, c: u32, C: u32, G: u32) -> f32 {
  return f32(scales[r * ((C + (1u << G) - 1u) >> G) + (c >> G)]);
}

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let w = stored[r * ((C + 3u) / 4u) + c / 4u] >> (c % 4u * 8u);
  return f32(i32(w & 255u) - 128) * scale_at(r, c, C, G);
}

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  let w = vec4u(stored[r * (C / 4u) + q]) >> vec4u(0u, 8u, 16u, 24u);
  return vec4f(vec4i(w & vec4u(255u)) - vec4i(128)) * scale_at(r, 4u * q, C, G);
}

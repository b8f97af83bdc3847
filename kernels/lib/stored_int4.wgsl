// As stored_f32.wgsl, from int4: eight to a word, the first in the low bits, each row from a word on; value = (bits - 8) scale, one scale
// for 2^G neighbours of a row.
alias Stored4 = u32;

fn scale_at(r: u32, c: u32, C: u32, G: u32) -> f32 {
  return f32(scales[r * ((C + (1u << G) - 1u) >> G) + (c >> G)]);
}

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let w = stored[r * ((C + 7u) / 8u) + c / 8u] >> (c % 8u * 4u);
  return f32(i32(w & 15u) - 8) * scale_at(r, c, C, G);
}

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  let w = vec4u(stored[r * ((C + 7u) / 8u) + q / 2u] >> (q % 2u * 16u)) >> vec4u(0u, 4u, 8u, 12u);
  return vec4f(vec4i(w & vec4u(15u)) - vec4i(8)) * scale_at(r, 4u * q, C, G);
}

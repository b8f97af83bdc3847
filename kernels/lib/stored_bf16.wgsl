// As stored_f32.wgsl, from bf16: the upper halves of f32, two to a word, the first in the low bits. Widening is exact.
alias Stored4 = vec2u;

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let i = r * C + c;
  return bitcast<f32>((stored[i / 4u][i / 2u % 2u] >> (i % 2u * 16u)) << 16u);
}

fn wide4(w: Stored4) -> vec4f { return bitcast<vec4f>(vec4u(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u)); }

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  return wide4(stored[r * (C / 4u) + q]);
}

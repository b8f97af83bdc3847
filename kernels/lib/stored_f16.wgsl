// As stored_f32.wgsl, from f16, two to a word: a software adapter loads word by word.
alias Stored4 = vec2u;

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let i = r * C + c;
  return wide4(stored[i / 4u])[i % 4u];
}

fn wide4(w: Stored4) -> vec4f { return vec4f(bitcast<vec4<f16>>(w)); }

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  return wide4(stored[r * (C / 4u) + q]);
}

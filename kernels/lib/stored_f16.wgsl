// As stored_f32.wgsl, from f16.
alias Stored4 = vec4<f16>;

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let i = r * C + c;
  return f32(stored[i / 4u][i % 4u]);
}

fn wide4(w: Stored4) -> vec4f { return vec4f(w); }

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  return wide4(stored[r * (C / 4u) + q]);
}

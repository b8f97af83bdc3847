// Access to the matrix in the binding `stored` as f32: row r, C columns. stored4 gives columns 4q to 4q + 3 and needs C % 4.
// wide4 (f32, f16 and bf16) gives the four values of one element, of a second matrix too.
// G (log2 of the values that share a scale) matters to the quantised types alone.
alias Stored4 = vec4f;

fn stored1(r: u32, c: u32, C: u32, G: u32) -> f32 {
  let i = r * C + c;
  return stored[i / 4u][i % 4u];
}

fn wide4(w: Stored4) -> vec4f { return w; }

fn stored4(r: u32, q: u32, C: u32, G: u32) -> vec4f {
  return wide4(stored[r * (C / 4u) + q]);
}

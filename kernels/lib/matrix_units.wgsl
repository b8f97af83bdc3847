// Tiles in a subgroup's matrix units (Dawn's experimental subgroup matrices): TM x TK on the left, TK x TN on the right, TM x TN sums. `rows` loads a
// tile whose rows lie `stride` numbers apart, `columns` one that is stored transposed. The shader that uses them declares
// `enable chromium_experimental_subgroup_matrix;`, const TM, TN, TK, and `tiles` in workgroup memory.
alias Left = subgroup_matrix_left<f16, TK, TM>;
alias Right = subgroup_matrix_right<f16, TN, TK>;
alias Sums = subgroup_matrix_result<f32, TN, TM>;

fn left_rows(source: ptr<storage, array<f16>, read>, at: u32, stride: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(source, at, stride);
}
fn left_columns(source: ptr<storage, array<f16>, read>, at: u32, stride: u32) -> Left {
  return subgroupMatrixLoad<Left, col_major>(source, at, stride);
}
fn right_rows(source: ptr<storage, array<f16>, read>, at: u32, stride: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(source, at, stride);
}
fn right_columns(source: ptr<storage, array<f16>, read>, at: u32, stride: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(source, at, stride);
}

fn multiply_tiles(l: Left, r: Right, s: Sums) -> Sums { return subgroupMatrixMultiplyAccumulate(l, r, s); }

// Rows of TN numbers from tiles[at] on.
fn put_sums(s: Sums, at: u32) { subgroupMatrixStore<row_major>(&tiles, at, s, TN); }
fn take_sums(at: u32) -> Sums { return subgroupMatrixLoad<Sums, row_major>(&tiles, at, TN); }

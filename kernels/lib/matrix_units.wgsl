// Tiles in a subgroup's matrix units (Dawn's experimental subgroup matrices): TM x TK of op(a), TK x TN of op(b), TM x TN sums. The shader that
// uses them declares `enable chromium_experimental_subgroup_matrix;`, const TM, TN, TK, override TRANS_A, TRANS_B, and `tiles` in workgroup memory.
alias Left = subgroup_matrix_left<f16, TK, TM>;
alias Right = subgroup_matrix_right<f16, TN, TK>;
alias Sums = subgroup_matrix_result<f32, TN, TM>;

fn left_tile(m: u32, k: u32) -> Left {
  if (TRANS_A == 1u) { return subgroupMatrixLoad<Left, col_major>(&a, k * p.strideA + p.startA + m, p.strideA); }
  return subgroupMatrixLoad<Left, row_major>(&a, m * p.strideA + p.startA + k, p.strideA);
}

fn right_tile(k: u32, n: u32) -> Right {
  if (TRANS_B == 1u) { return subgroupMatrixLoad<Right, col_major>(&stored, n * p.K + k, p.K); }
  return subgroupMatrixLoad<Right, row_major>(&stored, k * p.N + n, p.N);
}

fn multiply_tiles(l: Left, r: Right, s: Sums) -> Sums { return subgroupMatrixMultiplyAccumulate(l, r, s); }

// Rows of TN numbers from tiles[at] on.
fn put_sums(s: Sums, at: u32) { subgroupMatrixStore<row_major>(&tiles, at, s, TN); }

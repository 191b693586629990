//! Matrix products over plain slices: the one place that calls the `gemm` crate.

use gemm::Parallelism;

/// A matrix that borrows its numbers: element `(i, j)` is `values[i * row_stride + j * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix of `rows` rows that begin `stride` numbers apart. Panics, as an index does, where `values` are
    /// too few.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let values = &values[..extent(rows, columns, stride)];
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Rows become columns; nothing is copied.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write into, row by row.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// A matrix of `rows` rows that begin `stride` numbers apart. Panics, as an index does, where `values` are
    /// too few.
    pub fn new(values: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let values = &mut values[..extent(rows, columns, stride)];
        Self { values, rows, columns, stride }
    }
}

/// A distance for rows of so many numbers that keeps them out of each other's way: rows that begin a multiple of
/// 1 KiB apart fall into the same lines of a cache.
pub fn padded(columns: usize) -> usize {
    if columns.is_multiple_of(256) { columns + 16 } else { columns }
}

/// Numbers from the first element to the last.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    assert!(columns <= stride || rows <= 1, "rows of {columns} overlap at a stride of {stride}");
    if rows == 0 || columns == 0 {
        return 0;
    }
    let last = (rows - 1).checked_mul(stride).and_then(|row| row.checked_add(columns));
    assert!(last.is_some(), "a matrix of {rows} rows at a stride of {stride} is beyond any memory");
    last.unwrap_or(usize::MAX)
}

/// What happens to the numbers that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// They are overwritten.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// `out = scale a b`, or `out += scale a b`, on the calling thread; nothing where a side has no length.
///
/// # Panics
/// Where the shapes do not fit, as an index out of range does.
pub fn multiply(out: MatrixMut, into: Into, a: Matrix, b: Matrix, scale: f32) {
    multiply_on(1, out, into, a, b, scale);
}

/// The same on at most so many threads of the rayon pool that the calling thread belongs to. Their number
/// changes no bit of the result.
///
/// # Panics
/// As [`multiply`].
#[expect(clippy::needless_pass_by_value, reason = "the view is of no use after the product")]
pub fn multiply_on(threads: usize, out: MatrixMut, into: Into, a: Matrix, b: Matrix, scale: f32) {
    let (m, n, k) = (out.rows, out.columns, a.columns);
    assert_eq!((a.rows, b.rows, b.columns), (m, k, n), "the shapes of a product do not fit");
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    #[expect(
        unsafe_code,
        reason = "gemm takes pointers; the matrices have checked that all of theirs lie inside"
    )]
    // SAFETY: with the shapes just compared, every element that gemm touches is one of the three matrices',
    // whose constructors have checked that it lies inside their slice; `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.values.as_mut_ptr(),
            1,
            out.stride as isize,
            into == Into::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None },
        );
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn strides_and_transposition_choose_the_right_elements() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0]; // [[1, 2], [3, 4]], a number of no concern behind each row
        let b = [5.0, 6.0, 7.0, 8.0]; // [[5, 6], [7, 8]]
        let (a, b) = (Matrix::new(&a, 2, 2, 3), Matrix::new(&b, 2, 2, 2));
        let mut out = [1.0; 5];
        multiply(MatrixMut::new(&mut out, 2, 2, 3), Into::Overwrite, a, b, 1.0);
        assert_eq!(out, [19.0, 22.0, 1.0, 43.0, 50.0]);
        multiply(MatrixMut::new(&mut out, 2, 2, 3), Into::Add, a, b.transposed(), 2.0);
        assert_eq!(out, [19.0 + 34.0, 22.0 + 46.0, 1.0, 43.0 + 78.0, 50.0 + 106.0]);
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn shapes_that_do_not_fit_are_refused_before_a_pointer_is_made() {
        let numbers = [0.0; 6];
        let mut out = [0.0; 4];
        let (a, b) = (Matrix::new(&numbers, 2, 3, 3), Matrix::new(&numbers, 2, 2, 2));
        multiply(MatrixMut::new(&mut out, 2, 2, 2), Into::Overwrite, a, b, 1.0);
    }
}

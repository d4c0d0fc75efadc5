//! Golub-Kahan bidiagonalisation: `X V = U B`, V orthonormal, B upper bidiagonal (Golub and Kahan 1965), with full
//! reorthogonalisation of V (Simon and Zha 2000). X is the data, `sqrt(w_i / sum w) [x_i 1]` a row; neither X nor X'X
//! is ever formed, and B's singular values are those of X to the precision of X itself, where X'X would lose half of
//! it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use ndarray::Array1;
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use rayon::prelude::*;

use crate::data::Dataset;
use crate::kernels;
use crate::scalar::Scalar;

/// The rows of the data, each with a 1 for the bias and scaled by the square root of its share of the weight.
pub(super) struct Matrix<'a, T> {
    data: &'a Dataset<T>,
    rows: Vec<usize>,
    scales: Vec<f64>,
    bias: bool,
}

/// Rows that one thread goes over before sums are added, always in the same order.
const CHUNK: usize = 2048;

impl<'a, T: Scalar> Matrix<'a, T> {
    /// All rows, or as many evenly spaced ones as a decomposition can go over in about `work` multiplications.
    /// `weights` says what each row counts for, `[rows]`.
    pub(super) fn new(data: &'a Dataset<T>, weights: &[f64], bias: bool, work: f64) -> Self {
        let width = data.features().ncols() + usize::from(bias);
        let most = (work / (width * width).max(1) as f64).max(2.0 * width as f64);
        let stride = (data.rows() as f64 / most).ceil().max(1.0) as usize;
        let rows: Vec<usize> = (0..data.rows()).step_by(stride).collect();
        let total: f64 = rows.iter().map(|&row| weights[row]).sum();
        let scales = rows.iter().map(|&row| (weights[row] / total).sqrt()).collect();
        Matrix { data, rows, scales, bias }
    }

    /// The rows gone over.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Features, and one more with a bias.
    pub(super) fn columns(&self) -> usize {
        self.data.features().ncols() + usize::from(self.bias)
    }

    /// Values `[rows of the data]`, picked and scaled as the rows are.
    pub(super) fn scaled(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        self.rows.iter().zip(&self.scales).map(|(&row, scale)| scale * value(row)).collect()
    }

    /// `X v`, over `product`.
    fn times(&self, v: &[f64], product: &mut [f64]) {
        // A kernel takes one number type: f64 goes through it, f32 is widened element by element.
        let narrow: Vec<T> = v.iter().map(|&v| T::from_f64(v)).collect();
        let width = self.data.features().ncols();
        product.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            for (i, out) in (chunk * CHUNK..).zip(out) {
                let x = self.data.row(self.rows[i]);
                let along = if T::NAME == "f64" {
                    kernels::dot(x, &narrow[..width]).as_f64()
                } else {
                    x.iter().zip(v).map(|(x, v)| x.as_f64() * v).sum()
                };
                *out = self.scales[i] * (along + if self.bias { v[width] } else { 0.0 });
            }
        });
    }

    /// `X' u`.
    fn transposed_times(&self, u: &[f64]) -> Vec<f64> {
        let width = self.data.features().ncols();
        let part = |(chunk, u): (usize, &[f64])| {
            let mut sum = vec![0.0; self.columns()];
            for (i, u) in (chunk * CHUNK..).zip(u) {
                let scaled = self.scales[i] * u;
                for (sum, x) in sum.iter_mut().zip(self.data.row(self.rows[i])) {
                    *sum += scaled * x.as_f64();
                }
                if self.bias {
                    sum[width] += scaled;
                }
            }
            sum
        };
        let parts: Vec<Vec<f64>> = u.par_chunks(CHUNK).enumerate().map(part).collect();
        let mut sum = vec![0.0; self.columns()];
        parts.iter().for_each(|part| kernels::add(&mut sum, part));
        sum
    }

    /// The sum of all squares: of the squares of the singular values.
    pub(super) fn sum_of_squares(&self) -> f64 {
        let one = f64::from(u8::from(self.bias));
        let square = |(&row, scale): (&usize, &f64)| {
            let squares: f64 = self.data.row(row).iter().map(|x| x.as_f64() * x.as_f64()).sum();
            scale * scale * (squares + one)
        };
        self.rows.iter().zip(&self.scales).map(square).sum()
    }
}

/// An orthonormal basis of the data's directions and the bidiagonal matrix between them.
pub(super) struct Krylov {
    /// B's diagonal.
    alphas: Vec<f64>,
    /// B's superdiagonal: one fewer.
    betas: Vec<f64>,
    /// V, a vector a direction.
    v: Vec<Vec<f64>>,
    /// For each row of the matrix, the sum of the squares of its row of U: its leverage.
    pub leverages: Vec<f64>,
    /// The target along each column of U, and the square of what is left of it.
    along: Vec<f64>,
    pub left: f64,
    /// Singular values up to this are rounding.
    pub zero: f64,
    /// Whether all directions along which the data vary were found.
    pub complete: bool,
}

impl Krylov {
    /// Goes on until all directions are found, or `most` of them; if that is fewer than all, no further than the data
    /// vary. `target` is scaled as the rows are.
    pub(super) fn of<T: Scalar>(matrix: &Matrix<'_, T>, mut target: Vec<f64>, most: usize) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let zero = f64::EPSILON * rows.max(columns) as f64 * matrix.sum_of_squares().sqrt();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut krylov = Krylov {
            alphas: Vec::new(),
            betas: Vec::new(),
            v: Vec::new(),
            leverages: vec![0.0; rows],
            along: Vec::new(),
            left: 0.0,
            zero,
            complete: most >= columns,
        };
        let (mut u, mut product) = (vec![0.0; rows], vec![0.0; rows]);
        let mut next = krylov.new_direction(columns, &mut rng);
        let mut anywhere = true;
        while let Some(v) = next {
            matrix.times(&v, &mut product);
            let beta = krylov.betas.last().copied().unwrap_or(0.0);
            u.iter_mut().zip(&product).for_each(|(u, p)| *u = p - beta * *u);
            let length = kernels::sum_of_squares(&u).sqrt();
            let alpha = if length > zero { length } else { 0.0 };
            if anywhere && alpha == 0.0 && most < columns {
                // A random direction has a part of each that is left: there is none along which the data vary.
                krylov.complete = true;
                break;
            }
            u.iter_mut().for_each(|u| *u = if alpha > 0.0 { *u / alpha } else { 0.0 });
            krylov.leverages.iter_mut().zip(&u).for_each(|(leverage, u)| *leverage += u * u);
            let along = kernels::dot(&u, &target);
            kernels::add_scaled(&mut target, -along, &u);
            krylov.along.push(along);
            krylov.alphas.push(alpha);
            krylov.v.push(v);
            if krylov.v.len() >= most.min(columns) {
                break;
            }
            let mut ahead = matrix.transposed_times(&u);
            kernels::add_scaled(&mut ahead, -alpha, krylov.v.last().expect("just pushed"));
            krylov.make_orthogonal(&mut ahead);
            let beta = kernels::sum_of_squares(&ahead).sqrt();
            anywhere = beta <= zero;
            if beta > zero {
                kernels::divide(&mut ahead, beta);
                krylov.betas.push(beta);
                next = Some(ahead);
            } else {
                // All that can be reached from here is: go on from anywhere else.
                krylov.betas.push(0.0);
                next = krylov.new_direction(columns, &mut rng);
            }
        }
        krylov.left = kernels::sum_of_squares(&target);
        krylov
    }

    fn make_orthogonal(&self, vector: &mut [f64]) {
        // Twice is enough (Parlett 1980, section 6.9).
        for v in self.v.iter().chain(&self.v) {
            let along = kernels::dot(v, vector);
            kernels::add_scaled(vector, -along, v);
        }
    }

    fn new_direction(&self, columns: usize, rng: &mut ChaCha8Rng) -> Option<Vec<f64>> {
        if columns == 0 {
            return None;
        }
        let mut vector: Vec<f64> = Array1::random_using(columns, StandardNormal, rng).to_vec();
        self.make_orthogonal(&mut vector);
        let length = kernels::sum_of_squares(&vector).sqrt();
        kernels::divide(&mut vector, length);
        self.make_orthogonal(&mut vector);
        Some(vector)
    }

    /// The directions found.
    pub(super) fn directions(&self) -> usize {
        self.v.len()
    }

    /// How many singular values are below `value`: the negative pivots of the matrix with B and B' beside its diagonal
    /// (Golub and Kahan 1965), whose eigenvalues are plus and minus B's singular values.
    fn count_below(&self, value: f64) -> usize {
        let size = self.directions();
        let mut negative = 0;
        let mut pivot = 1.0;
        for i in 0..2 * size {
            let beside = match i {
                0 => 0.0,
                i if i % 2 == 1 => self.alphas[i / 2],
                i => self.betas[i / 2 - 1],
            };
            pivot = -value - beside * beside / pivot;
            if pivot == 0.0 {
                pivot = -f64::MIN_POSITIVE.sqrt();
            }
            negative += usize::from(pivot < 0.0);
        }
        negative.saturating_sub(size)
    }

    /// The singular value with `below` others below it, by bisection.
    fn singular_value(&self, below: usize) -> f64 {
        let bound = |i: usize| self.alphas[i].abs() + self.betas.get(i).map_or(0.0, |b| b.abs());
        let (mut low, mut high) = (0.0, 2.0 * (0..self.directions()).map(bound).fold(0.0, f64::max));
        while high - low > 2.0 * f64::EPSILON * high {
            let middle = low + (high - low) / 2.0;
            if self.count_below(middle) > below { high = middle } else { low = middle }
        }
        high
    }

    /// How many singular values are above rounding.
    pub(super) fn rank(&self) -> usize {
        self.directions() - self.count_below(self.zero)
    }

    /// The largest singular value, and the smallest above rounding; 0 and 0 for data of zeros.
    pub(super) fn extremes(&self) -> (f64, f64) {
        let (size, rank) = (self.directions(), self.rank());
        if rank == 0 { (0.0, 0.0) } else { (self.singular_value(size - 1), self.singular_value(size - rank)) }
    }

    /// `B'^-1 V' a`. The square of its length is `a' (X'X)^-1 a`, enormous along directions the data do not have.
    pub(super) fn whiten(&self, a: &[f64]) -> Vec<f64> {
        let mut z: Vec<f64> = Vec::with_capacity(self.directions());
        for (i, v) in self.v.iter().enumerate() {
            let before = if i > 0 { self.betas[i - 1] * z[i - 1] } else { 0.0 };
            z.push((kernels::dot(v, a) - before) / self.alphas[i].max(self.zero));
        }
        z
    }

    /// `V B^-1 z`.
    pub(super) fn unwhiten(&self, z: &[f64]) -> Vec<f64> {
        let mut solution = vec![0.0; self.v.first().map_or(0, Vec::len)];
        let mut ahead = 0.0;
        for (i, v) in self.v.iter().enumerate().rev() {
            let beta = self.betas.get(i).copied().unwrap_or(0.0);
            ahead = (z[i] - beta * ahead) / self.alphas[i].max(self.zero);
            kernels::add_scaled(&mut solution, ahead, v);
        }
        solution
    }

    /// Orthonormal directions along which the data do not vary, as many as the rank leaves: by inverse iteration, in
    /// which each round takes away what is left of all others.
    pub(super) fn flat_directions(&self) -> Vec<Vec<f64>> {
        const ROUNDS: usize = 3;
        let columns = self.v.first().map_or(0, Vec::len);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut flat: Vec<Vec<f64>> = (self.rank()..self.directions())
            .map(|_| Array1::random_using(columns, StandardNormal, &mut rng).to_vec())
            .collect();
        for _ in 0..ROUNDS {
            for at in 0..flat.len() {
                let (before, rest) = flat.split_at_mut(at);
                let vector = &mut rest[0];
                *vector = self.unwhiten(&self.whiten(vector));
                // Once before and once after the others are taken out: the vector may be long, and mostly theirs.
                for _ in 0..2 {
                    let length = kernels::sum_of_squares(vector).sqrt();
                    kernels::divide(vector, length);
                    for other in before.iter() {
                        let along = kernels::dot(other, vector);
                        kernels::add_scaled(vector, -along, other);
                    }
                }
                let length = kernels::sum_of_squares(vector).sqrt();
                kernels::divide(vector, length);
            }
        }
        flat
    }

    /// The coefficients that leave least of the target.
    pub(super) fn solution(&self) -> Vec<f64> {
        self.unwhiten(&self.along)
    }
}

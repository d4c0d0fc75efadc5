use super::*;
use crate::kernels::RowIndex;
use crate::kernels::test_levels::{close, numbers, on_every_level};

#[test]
fn every_level_gives_the_sums_of_products_on_odd_shapes() {
    on_every_level(|| {
        for (count, width, outputs) in
            [(3, 0, 2), (1, 1, 1), (5, 1, 1), (7, 3, 1), (9, 17, 2), (6, 33, 5), (3, 100, 10), (4, 8, 70)]
        {
            check::<f64>(count, width, outputs, 1e-13);
            check::<f32>(count, width, outputs, 1e-5);
        }
        for width in WIDE_WIDTHS {
            check::<f64>(7, width, 23, 1e-12);
            check::<f32>(7, width, 23, 1e-4);
        }
    });
}

fn check<T: Element + std::fmt::Debug>(count: usize, width: usize, outputs: usize, tolerance: f64) {
    let matrix: Vec<T> = numbers(20 * width, 1);
    let (weight, bias): (Vec<T>, Vec<T>) = (numbers(outputs * width, 2), numbers(outputs, 3));
    let list: Vec<u32> = (0..count as u32).map(|i| (i * 7 + 3) % 20).collect();
    for index in [RowIndex::list(&list), RowIndex::range(2, count)] {
        for bias in [&bias[..], &[]] {
            let rows = Rows::new(&matrix, width, index);
            let mut out = vec![T::nan(); count * outputs];
            linear_forward(&rows, &weight, bias, &mut out);
            for (i, row) in rows.iter().enumerate() {
                for k in 0..outputs {
                    let w = &weight[k * width..(k + 1) * width];
                    let sum: f64 = row.iter().zip(w).map(|(x, w)| x.as_f64() * w.as_f64()).sum();
                    let expected = sum + bias.get(k).map_or(0.0, |b| b.as_f64());
                    close(out[i * outputs + k].as_f64(), expected, tolerance);
                }
            }
        }
    }
}

/// Widths at which a processor of 32 registers takes many outputs together: of single and of double numbers.
const WIDE_WIDTHS: [usize; 2] = [784, 392];

const _: () = {
    let row_bytes = WIDE_WIDTHS[0] * size_of::<f32>();
    assert!(row_bytes == WIDE_WIDTHS[1] * size_of::<f64>() && row_bytes.is_multiple_of(LINE));
    assert!(*WIDE_BYTES.start() <= WIDE * row_bytes && WIDE * row_bytes <= *WIDE_BYTES.end());
};

#[test]
fn a_row_and_an_output_have_the_same_bits_in_any_company() {
    on_every_level(|| {
        for width in [37, WIDE_WIDTHS[0], WIDE_WIDTHS[1]] {
            check_company::<f64>(width);
            check_company::<f32>(width);
        }
    });
}

fn check_company<T: Element + std::fmt::Debug>(width: usize) {
    const OUTPUTS: usize = 23;
    let matrix: Vec<T> = numbers(9 * width, 1);
    let weight: Vec<T> = numbers(OUTPUTS * width, 2);
    let mut together = vec![T::zero(); 9 * OUTPUTS];
    linear_forward(&Rows::new(&matrix, width, RowIndex::range(0, 9)), &weight, &[], &mut together);
    for row in 0..9_u32 {
        let rows = Rows::new(&matrix, width, RowIndex::list(std::slice::from_ref(&row)));
        let together = &together[row as usize * OUTPUTS..][..OUTPUTS];
        let mut alone = [T::zero(); OUTPUTS];
        linear_forward(&rows, &weight, &[], &mut alone);
        assert_eq!(alone, together);
        for (weight, &of_many) in weight.chunks(width).zip(together) {
            let mut of_one = [T::zero()];
            linear_forward(&rows, weight, &[], &mut of_one);
            assert_eq!(of_one, [of_many]);
        }
    }
}

//! Tests of a parameter and its ledger.

use super::*;
use ndarray::array;
use proptest::prelude::*;

#[test]
fn two_backward_passes_leave_the_sum_of_both() {
    let mut p = Parameter::new("w", array![[1.0, 2.0], [3.0, 4.0]]);
    p.accumulate(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    p.accumulate(&[10.0, 20.0, 30.0, 40.0]).unwrap();
    assert_eq!(p.gradient(), array![[11.0, 22.0], [33.0, 44.0]].into_dyn());
    assert_eq!(p.ledger(), Ledger::Pending { passes: 2 });
    assert_eq!(p.zero_grad(), 2);
    assert_eq!(p.gradients(), [0.0; 4]);
}

#[test]
fn a_column_major_value_is_read_row_by_row() {
    let p = Parameter::new("w", array![[1.0, 2.0], [3.0, 4.0]].reversed_axes());
    assert_eq!(p.values(), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn a_frozen_parameter_ignores_backward_passes() {
    let mut p = Parameter::new("w", array![1.0]);
    p.set_frozen(true);
    p.accumulate(&[5.0]).unwrap();
    assert_eq!((p.gradients(), p.ledger()), (&[0.0][..], Ledger::Empty));
}

#[test]
fn freezing_empties_the_ledger_so_that_a_thawed_parameter_starts_afresh() {
    let mut p = Parameter::new("w", array![1.0]);
    p.accumulate(&[5.0]).unwrap();
    p.mark_spent(1);
    for frozen in [true, false] {
        p.set_frozen(frozen);
        assert_eq!((p.ledger(), p.gradients()), (Ledger::Empty, &[0.0][..]), "frozen: {frozen}");
    }
    p.accumulate(&[5.0]).unwrap();
    assert_eq!(p.ledger().fault(), None);
}

#[test]
fn a_mean_of_two_sums_replaces_the_gradient_as_one_of_their_sum_does() {
    let mut p = Parameter::new("w", array![1.0, 2.0]);
    p.accumulate(&[7.0, 7.0]).unwrap();
    p.replace_gradient_of_sum([&[1.0, 2.0], &[3.0, 6.0]], 2.0).unwrap();
    assert_eq!((p.gradients(), p.ledger(), p.thrown_away()), (&[2.0, 4.0][..], Ledger::Pending { passes: 1 }, 1));
    for sums in [[&[1.0][..], &[1.0, 2.0]], [&[1.0, 2.0], &[1.0]]] {
        assert!(p.replace_gradient_of_sum(sums, 2.0).is_err());
    }
    p.set_frozen(true);
    p.replace_gradient_of_sum([&[1.0, 2.0], &[3.0, 6.0]], 2.0).unwrap();
    assert_eq!((p.gradients(), p.ledger()), (&[0.0, 0.0][..], Ledger::Empty));
}

#[test]
fn a_gradient_of_the_wrong_length_is_refused() {
    let mut p = Parameter::new("w", array![1.0, 2.0]);
    assert!(p.accumulate(&[1.0]).unwrap_err().to_string().contains("\"w\""));
    assert_eq!(p.ledger(), Ledger::Empty);
}

/// The ledger again, kept as the bare history of calls since the last `zero_grad`.
#[derive(Default)]
struct History {
    passes_since_step: u64,
    last_step: Option<u64>,
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_the_history_of_calls(calls in prop::collection::vec(0..3, 0..60)) {
        let mut p = Parameter::new("w", array![0.0]);
        let mut history = History::default();
        let mut steps = 0;
        for call in calls {
            match call {
                0 => {
                    p.accumulate(&[1.0]).unwrap();
                    history.passes_since_step += 1;
                }
                1 => {
                    let expected = match (history.last_step, history.passes_since_step) {
                        (None, 0) => Some(LedgerFault::Missing),
                        (None, _) => None,
                        (Some(step), 0) => Some(LedgerFault::Double { step }),
                        (Some(step), passes) => Some(LedgerFault::Stale { step, passes }),
                    };
                    prop_assert_eq!(p.ledger().fault(), expected);
                    if expected.is_none() {
                        steps += 1;
                        p.mark_spent(steps);
                        history = History { passes_since_step: 0, last_step: Some(steps) };
                    }
                }
                _ => {
                    let unstepped = if history.last_step.is_none() { history.passes_since_step } else { 0 };
                    prop_assert_eq!(p.zero_grad(), unstepped);
                    prop_assert_eq!(p.gradients(), &[0.0]);
                    history = History::default();
                }
            }
        }
    }
}

use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn every_share_is_done_once_in_each_of_many_pieces() {
    for threads in [1, 2, 5] {
        let mut team = Team::new(threads).unwrap();
        let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
        for piece in 1..=2000 {
            team.run(threads, &|share| {
                counts[share].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == piece), "{threads} threads");
            if piece % 500 == 0 {
                // Long enough for the helpers to go to sleep.
                thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn a_sleeper_that_was_overlooked_is_woken_when_the_caller_waits() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let mut team = Team::new(2).unwrap();
    while !team.shared.asleep[0].load(Ordering::Relaxed) {
        thread::sleep(std::time::Duration::from_millis(5));
    }
    // As `run` calls it, but that nobody is asked whether he sleeps.
    team.pieces += 1;
    let (shared, piece) = (&*team.shared, team.pieces);
    let work: &Work<'static> = &|share| {
        DONE.fetch_add(share, Ordering::Relaxed);
    };
    // SAFETY: the helper is at no work, and learns of this by the piece.
    unsafe { *shared.call.work.get() = Some(work) };
    shared.call.piece.store(Piece { number: piece, called: 1 }.pack(), Ordering::Release);
    // Else this would wait for ever.
    drop(Finish { shared, piece, called: 1 });
    assert_eq!(DONE.load(Ordering::Relaxed), 1);
    assert!(shared.woken.load(Ordering::Relaxed));
}

#[test]
fn every_piece_is_shared_out_once_with_a_state_of_its_own() {
    let mut team = Team::new(3).unwrap();
    for (threads, count) in [(1, 5), (3, 0), (3, 1), (3, 3), (2, 7), (3, 10)] {
        let (mut states, mut pieces) = (vec![0; threads], vec![0; count]);
        team.share(&mut states, &mut pieces, &|state, first, pieces| {
            *state += pieces.len();
            pieces.iter_mut().enumerate().for_each(|(i, piece)| *piece += 1 + first + i);
        });
        assert_eq!(pieces, (1..=count).collect::<Vec<_>>());
        assert!(states.iter().max() <= Some(&count.div_ceil(threads)), "{states:?}");
    }
    for states in [&mut [][..], &mut [0; 4]] {
        assert!(catch_unwind(AssertUnwindSafe(|| team.share(states, &mut [0; 4], &|_, _, _| ()))).is_err());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| team.run(0, &|_| ()))).is_err());
}

#[test]
fn results_are_shared_out_once_in_blocks_after_all_pieces() {
    let mut team = Team::new(3).unwrap();
    for (threads, count, length, block) in [(1, 2, 5, 2), (2, 3, 0, 4), (2, 2, 4, 4), (3, 3, 25, 4), (3, 1, 64, 8)] {
        for _ in 0..100 {
            let (mut states, mut pieces) = (vec![Vec::new(); threads], vec![0; count]);
            let (mut places, mut sums) = (vec![0; length], vec![0; length]);
            team.share_then(
                &mut states,
                &mut pieces,
                &|_, first, pieces| pieces.iter_mut().enumerate().for_each(|(i, piece)| *piece = first + i + 1),
                [&mut places, &mut sums],
                block,
                &|state, pieces, first, [places, sums]| {
                    state.push((first, places.len()));
                    places.iter_mut().enumerate().for_each(|(i, place)| *place += first + i);
                    sums.fill(pieces.iter().sum());
                },
            );
            assert_eq!(places, (0..length).collect::<Vec<_>>());
            assert!(sums.iter().all(|sum| *sum == count * (count + 1) / 2), "{sums:?}");
            let shares: Vec<(usize, usize)> = states.into_iter().flatten().collect();
            assert_eq!(shares.len(), threads);
            assert!(shares.iter().all(|(first, _)| *first == length || first.is_multiple_of(block)), "{shares:?}");
        }
    }
}

/// Also after a piece that the caller did alone.
#[test]
fn nobody_goes_on_before_the_slowest_is_halfway() {
    let mut team = Team::new(2).unwrap();
    for round in 0..20 {
        for threads in [1, 2] {
            let (mut a, mut b) = ([0; 2], [0; 2]);
            team.share_then(
                &mut [(), ()][..threads],
                &mut [0; 2],
                &|_, first, pieces| {
                    // Each is the slowest in turn.
                    if first == round % 2 {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                    pieces.fill(7);
                },
                [&mut a, &mut b],
                1,
                &|_, pieces, _, [a, _]| a.fill(pieces.iter().sum()),
            );
            assert_eq!(a, [14; 2], "{threads} threads");
        }
    }
}

#[test]
fn a_panic_in_either_half_reaches_the_caller_and_the_team_goes_on() {
    let mut team = Team::new(3).unwrap();
    let mut share = |bad_piece, bad_result| {
        let (mut sums, mut other) = ([0; 3], [0; 3]);
        catch_unwind(AssertUnwindSafe(|| {
            team.share_then(
                &mut [(); 3],
                &mut [(); 3],
                &|_, first, _| assert_ne!(first, bad_piece),
                [&mut sums, &mut other],
                1,
                &|_, _, first, _| assert_ne!(first, bad_result),
            );
        }))
        .is_err()
    };
    for bad in 0..3 {
        assert!(share(bad, 3) && share(3, bad), "share {bad}");
        assert!(!share(3, 3));
    }
}

#[test]
#[should_panic(expected = "results of one length")]
fn results_of_several_lengths_are_refused() {
    let mut team = Team::new(1).unwrap();
    team.share_then(&mut [()], &mut [()], &|_, _, _| (), [&mut [0; 2][..], &mut [0; 3]], 1, &|_, _, _, _| ());
}

#[test]
fn only_those_who_are_called_come() {
    let mut team = Team::new(4).unwrap();
    let counts: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    for piece in 0..3000 {
        team.run(piece % 4 + 1, &|share| {
            counts[share].fetch_add(1, Ordering::Relaxed);
        });
    }
    let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, [3000, 2250, 1500, 750]);
}

#[test]
fn a_team_leaves_a_helper_alone_that_was_awake_and_late() {
    let late = |share| thread::sleep(std::time::Duration::from_millis(if share == 1 { 5 } else { 0 }));
    let mut team = Team::new(2).unwrap();
    // The helper may have gone to sleep after any piece: one late piece in a hundred that it was awake for is enough.
    let learned = (0..100).any(|_| {
        team.run(2, &|_| ());
        while !team.is_worth_calling() {}
        team.run(2, &late);
        !team.is_worth_calling()
    });
    assert!(learned && !team.is_worth_calling());
}

#[test]
fn while_helpers_are_late_nothing_is_timed() {
    let mut team = Team::new(2).unwrap();
    assert!(team.is_worth_calling_for_little());
    let race = |team: &Team| format!("{:?}", team.race);
    let before = race(&team);
    team.trust.learn(true, false);
    assert!(!team.is_worth_calling_for_little());
    assert_eq!(race(&team), before);
    // Amid a block of a trial, which begins again.
    let is_new = |team: &Team| race(team).contains("pieces: 0,");
    while is_new(&team) {
        team.is_worth_calling_for_little();
    }
    team.trust.learn(true, false);
    assert!(!team.is_worth_calling_for_little() && is_new(&team));
}

#[test]
fn a_large_piece_says_nothing_of_small_ones() {
    let mut team = Team::new(2).unwrap();
    team.run(2, &|share| thread::sleep(std::time::Duration::from_millis(if share == 1 { 20 } else { 0 })));
    assert!(team.is_worth_calling());
}

#[test]
fn when_all_panic_the_next_piece_is_none_the_worse() {
    let mut team = Team::new(2).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| team.run(2, &|_| panic!("all")))).is_err());
    team.run(2, &|_| ());
}

#[test]
fn a_panic_in_any_share_reaches_the_caller_and_the_team_goes_on() {
    let mut team = Team::new(3).unwrap();
    for bad in 0..3 {
        let outcome = catch_unwind(AssertUnwindSafe(|| team.run(3, &|share| assert_ne!(share, bad))));
        assert!(outcome.is_err(), "share {bad}");
    }
    let done = AtomicUsize::new(0);
    team.run(3, &|_| {
        done.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(done.load(Ordering::Relaxed), 3);
}

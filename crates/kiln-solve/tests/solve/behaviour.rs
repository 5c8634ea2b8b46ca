//! What runs, what does not, and what happens when it goes wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Barrier, mpsc};

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_solve::SolveError;

use crate::toy::{Store, Toy, ToyStep, parse};

#[track_caller]
fn check(store: &mut Store, graph: &str, expected: &Expect) {
    expected.assert_eq(&store.build(graph));
}

const TWO_STAGES: &str = "
    base
    src = main.c
    ~copy: base src!
    make: copy
    final: base make!
    check: final
";

#[test]
fn a_second_build_runs_nothing() {
    let mut store = Store::default();
    check(
        &mut store,
        TWO_STAGES,
        &expect![[r"
            base: ran
            src: ran
            copy: ran by content
            make: ran
            final: ran by content
            check: ran
            => check0(final0(base0(),make0(copy0(base0(),main.c))))
        "]],
    );
    check(
        &mut store,
        TWO_STAGES,
        &expect![[r"
            base: hit
            src: hit
            copy: hit by content
            make: hit
            final: hit
            check: hit
            => check0(final0(base0(),make0(copy0(base0(),main.c))))
        "]],
    );
}

#[test]
fn equal_content_stops_a_rebuild() {
    let mut store = Store::default();
    let first = "base\n make: base = a.out\n final: base make!\n check: final";
    store.build(first);
    let changed = "base\n make@1: base = a.out\n final: base make!\n check: final";
    check(
        &mut store,
        changed,
        &expect![[r"
            base: hit
            make: ran
            final: hit by content
            check: hit
            => check0(final0(base0(),a.out))
        "]],
    );
    // The fast key now leads there too, so that `make` need not be looked at again.
    store.forget("make");
    check(
        &mut store,
        changed,
        &expect![[r"
            base: hit
            make: -
            final: hit
            check: hit
            => check0(final0(base0(),a.out))
        "]],
    );
}

#[test]
fn an_intermediate_without_a_record_does_not_run_below_a_hit() {
    let mut store = Store::default();
    store.build(TWO_STAGES);
    store.forget("base");
    store.forget("make");
    check(
        &mut store,
        TWO_STAGES,
        &expect![[r"
            base: -
            src: hit
            copy: hit by content
            make: -
            final: hit
            check: hit
            => check0(final0(base0(),make0(copy0(base0(),main.c))))
        "]],
    );
}

#[test]
fn only_what_is_wanted_is_fetched() {
    let mut store = Store::default();
    store.build(TWO_STAGES);
    store.move_elsewhere(&[]);
    check(
        &mut store,
        TWO_STAGES,
        &expect![[r"
        base: -
        src: fetched
        copy: - by content
        make: -
        final: -
        check: fetched
        => check0(final0(base0(),make0(copy0(base0(),main.c))))
    "]],
    );
}

#[test]
fn a_changed_end_fetches_what_it_is_made_from() {
    let mut store = Store::default();
    store.build(TWO_STAGES);
    store.move_elsewhere(&[]);
    let changed = TWO_STAGES.replace("check:", "check@1:");
    check(
        &mut store,
        &changed,
        &expect![[r"
        base: -
        src: fetched
        copy: - by content
        make: -
        final: fetched
        check: ran
        => check1(final0(base0(),make0(copy0(base0(),main.c))))
    "]],
    );
}

#[test]
fn what_can_t_be_fetched_is_made() {
    let mut store = Store::default();
    store.build(TWO_STAGES);
    store.move_elsewhere(&["check", "final"]);
    check(
        &mut store,
        TWO_STAGES,
        &expect![[r"
        base: fetched
        src: fetched
        copy: - by content
        make: fetched
        final: fetched ran
        check: fetched ran
        => check0(final0(base0(),make0(copy0(base0(),main.c))))
    "]],
    );
}

#[test]
fn a_gone_target_runs_from_the_nearest_results() {
    let mut store = Store::default();
    store.build("a\n b: a\n c: b\n d: c");
    store.forget("a");
    store.forget("c");
    store.forget("d");
    check(
        &mut store,
        "a\n b: a\n c: b\n d: c",
        &expect![[r"
            a: -
            b: hit
            c: ran
            d: ran
            => d0(c0(b0(a0())))
        "]],
    );
}

#[test]
fn steps_that_no_target_needs_are_not_looked_at() {
    let steps = parse("a\n b\n c: a");
    let toy = Toy::new(&steps, Store::default(), &|_, _| Ok(()));
    let solved = toy.solve(&[2, 0, 2], 2, &CancelToken::new()).unwrap();
    let outputs: Vec<_> = solved.iter().map(|result| &*result.output).collect();
    assert_eq!(outputs, ["c0(a0())", "a0()", "c0(a0())"]);
    assert_eq!(toy.count(1, "fast key"), 0);
    assert!(toy.solve(&[], 1, &CancelToken::new()).unwrap().is_empty());
    let missing = toy.solve(&[3], 1, &CancelToken::new());
    assert!(matches!(missing, Err(SolveError::Dag(_))));
}

#[test]
fn a_step_with_only_a_slow_key_needs_no_input_for_it() {
    check(
        &mut Store::default(),
        "~download\n use: download",
        &expect![[r"
            download: ran by content
            use: ran
            => use0(download0())
        "]],
    );
}

/// Solves for the last step with two jobs.
fn solve_two(toy: &Toy<'_>) -> Result<String, SolveError<String>> {
    let solved = toy.solve(&[toy.steps.len() - 1], 2, &CancelToken::new())?;
    Ok(solved[0].output.clone())
}

#[test]
fn independent_steps_run_at_the_same_time() {
    let steps = parse("left\n right\n both: left right");
    let meet = Barrier::new(2);
    let hook = |name: &str, _: &CancelToken| {
        if name != "both" {
            meet.wait();
        }
        Ok(())
    };
    let toy = Toy::new(&steps, Store::default(), &hook);
    assert_eq!(solve_two(&toy).unwrap(), "both0(left0(),right0())");
}

#[test]
fn a_key_never_seen_starts_while_another_stage_is_awaited() {
    // `final` awaits what `make` leaves behind, but `install` is new: it has to run in any case.
    let steps = parse("make\n install\n final: install make!");
    let meet = Barrier::new(2);
    let hook = |name: &str, _: &CancelToken| {
        if name != "final" {
            meet.wait();
        }
        Ok(())
    };
    let toy = Toy::new(&steps, Store::that_remembers_keys(), &hook);
    assert_eq!(solve_two(&toy).unwrap(), "final0(install0(),make0())");
}

#[test]
fn steps_start_lowest_first() {
    let steps = parse("a\n b\n c: b\n d: a\n e\n f: e d c");
    let order = std::sync::Mutex::new(Vec::new());
    let hook = |name: &str, _: &CancelToken| {
        order.lock().unwrap().push(name.to_owned());
        Ok(())
    };
    let toy = Toy::new(&steps, Store::default(), &hook);
    toy.solve(&[5], 1, &CancelToken::new()).unwrap();
    assert_eq!(order.lock().unwrap().concat(), "abcdef");
}

fn long_chain(length: usize) -> Vec<ToyStep> {
    let line = |step: usize| match step {
        0 => "s0\n".to_owned(),
        _ => format!("s{step}: s{} = x\n", step - 1),
    };
    parse(&(0..length).map(line).collect::<String>())
}

#[test]
fn a_cached_chain_stays_on_the_calling_thread() {
    let steps = long_chain(20);
    let build = |store| {
        let toy = Toy::new(&steps, store, &|_, _| Ok(()));
        toy.solve(&[19], 8, &CancelToken::new()).unwrap();
        let threads = toy.threads.into_inner().unwrap();
        assert_eq!(
            Vec::from_iter(threads),
            [format!("{:?}", std::thread::current().id())]
        );
        toy.store.into_inner().unwrap()
    };
    build(build(Store::default()));
}

#[test]
fn the_first_error_cancels_what_runs() {
    let steps = parse("fails\n waits\n both: fails waits");
    let (tell, started) = mpsc::channel();
    let started = std::sync::Mutex::new(started);
    let hook = |name: &str, cancel: &CancelToken| {
        if name == "fails" {
            started.lock().unwrap().recv().unwrap();
            return Err("no such file".to_owned());
        }
        let (wake, woken) = mpsc::channel();
        let _guard = cancel.on_cancel(move || wake.send(()).unwrap());
        tell.send(()).unwrap();
        woken.recv().unwrap();
        Err("killed".to_owned())
    };
    let toy = Toy::new(&steps, Store::default(), &hook);
    match solve_two(&toy) {
        Err(SolveError::Failed {
            step: 0,
            error,
            cancelled,
        }) => {
            assert_eq!(error, "no such file");
            assert_eq!(cancelled, [1]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(toy.count(2, "ran"), 0);
}

#[test]
fn a_cancelled_build_starts_nothing_more() {
    let steps = parse("a\n b: a\n c: b");
    let cancel = CancelToken::new();
    let hook = |name: &str, seen: &CancelToken| {
        if name == "b" {
            cancel.cancel();
            assert!(seen.is_cancelled());
            return Err("killed".to_owned());
        }
        Ok(())
    };
    let toy = Toy::new(&steps, Store::default(), &hook);
    let solved = toy.solve(&[2], 2, &cancel);
    assert!(matches!(solved, Err(SolveError::Cancelled(_))));
    assert_eq!(toy.count(2, "ran"), 0);

    let again = Toy::new(&steps, Store::default(), &hook);
    let solved = again.solve(&[2], 2, &cancel);
    assert!(matches!(solved, Err(SolveError::Cancelled(_))));
    assert!(again.calls.lock().unwrap().is_empty());
}

#[test]
fn a_panic_reaches_the_caller_after_the_others_have_stopped() {
    let steps = parse("panics\n waits\n both: panics waits");
    let meet = Barrier::new(2);
    let stopped = std::sync::Mutex::new(false);
    let hook = |name: &str, cancel: &CancelToken| {
        meet.wait();
        assert!(name == "waits", "the driver is broken");
        let (wake, woken) = mpsc::channel();
        let _guard = cancel.on_cancel(move || wake.send(()).unwrap());
        woken.recv().unwrap();
        *stopped.lock().unwrap() = true;
        Ok(())
    };
    let toy = Toy::new(&steps, Store::default(), &hook);
    let payload = catch_unwind(AssertUnwindSafe(|| solve_two(&toy))).unwrap_err();
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"the driver is broken")
    );
    assert!(*stopped.lock().unwrap());
}

//! Simulates sessions of Engine.IO: a server and a client over a network and a clock that are not real, by schedules
//! that a seed decides. `SIMULATION_SEED=123` runs the schedule of one seed and prints what happens in it,
//! `SIMULATION_RUNS=1000000` runs that many.
mod simulation;

use std::env;

use simulation::{Fault, run};

/// As many schedules each test runs.
const RUNS: u64 = 6_000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run_seeds(seeds: impl Iterator<Item = u64>) {
    if let Some(seed) = number("SIMULATION_SEED") {
        return replay(seed, Fault::None);
    }
    for seed in seeds {
        if let Err((complaint, _)) = run(seed, Fault::None, false) {
            panic!("seed {seed}: {complaint}; replay it by SIMULATION_SEED={seed}");
        }
    }
}

fn replay(seed: u64, fault: Fault) {
    if let Err((complaint, trace)) = run(seed, fault, true) {
        trace.iter().for_each(|line| println!("{line}"));
        panic!("seed {seed}: {complaint}");
    }
}

fn runs() -> u64 {
    number("SIMULATION_RUNS").unwrap_or(RUNS)
}

#[test]
fn nothing_is_lost_doubled_or_reordered_by_even_seeds() {
    run_seeds((0..runs()).map(|seed| seed * 2));
}

#[test]
fn nothing_is_lost_doubled_or_reordered_by_odd_seeds() {
    run_seeds((0..runs()).map(|seed| seed * 2 + 1));
}

/// The simulation is worth something if it finds mistakes.
#[test]
fn planted_faults_are_found() {
    for (fault, complaint) in [
        (Fault::LosesFlush, "as number"),
        (Fault::DoublesNoop, "two polls by a noop"),
        (Fault::ForgetsPong, "took its peer for dead"),
        (Fault::DropsEarlyPacket, "as number"),
        (Fault::EndsWithoutReason, "was told []"),
    ] {
        let found = (0..RUNS).find_map(|seed| Some((seed, run(seed, fault, false).err()?.0)));
        let (seed, found) = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        println!("{fault:?} is found by seed {seed}: {found}");
        assert!(found.contains(complaint), "{fault:?} is found by seed {seed} as something else: {found}");
    }
}

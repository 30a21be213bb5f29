//! `connect - B C D`: one console and several far ends.

use crate::support::Towline;

#[test]
fn a_console_speaks_to_all_and_hears_each_by_name() {
    let one = Towline::serve(["ws://127.0.0.1:0/", "echo:one "]);
    let two = Towline::serve(["tcp://127.0.0.1:0", "echo:two "]);
    let addresses = [one.address(), two.address(), "exec:sed 's/^/three /'".to_owned()];
    let run = Towline::connect(["-"]).args(addresses).stdin("hello\n").run();
    let heard = String::from_utf8(run.stdout.clone()).unwrap();
    let mut heard: Vec<_> = heard.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    heard.sort_unstable();
    assert_eq!(heard, ["one hello", "three hello", "two hello"]);
    run.code(0).stderr_has("joined from ws://127.0.0.1");
}

#[test]
fn one_far_end_can_be_spoken_to_alone() {
    let one = Towline::serve(["ws://127.0.0.1:0/", "echo:one "]);
    let two = Towline::serve(["ws://127.0.0.1:0/", "echo:two "]);
    let name = |address: &str| address.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    let line = format!("@{} only you\n", name(&two.address()));
    let run = Towline::connect(["-"]).args([one.address(), two.address()]).stdin(line).run();
    run.code(0).stdout(&format!("{}: two only you\n", name(&two.address())));
}

#[test]
fn all_have_to_be_there_and_the_worst_end_counts() {
    let one = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let gone = Towline::connect(["-"]).args([one.address(), "tcp://127.0.0.1:1".into()]);
    gone.stdin("x\n").run().code(4).stdout("").stderr_has("tcp://127.0.0.1:1");
    let quota = Towline::serve(["ws://127.0.0.1:0/", "echo:", "--close-after=1:4001:quota"]);
    let run = Towline::connect(["-"]).args([one.address(), quota.address()]).stdin("x\n").run();
    run.code(10).stderr_has("4001 quota");
}

#[test]
fn every_end_that_fails_is_named() {
    let one = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let gone = ["tcp://127.0.0.1:1", "exec:/no/such", "tcp://127.0.0.1:2"];
    let run = Towline::connect(["-"]).arg(one.address()).args(gone).stdin("x\n").run();
    run.code(4).stdout("");
    for end in gone {
        let lines =
            run.stderr.lines().filter(|line| line.starts_with(&format!("towline: {end}: ")));
        assert_eq!(lines.count(), 1, "{run}");
    }
    let quota = ["ws://127.0.0.1:0/", "echo:", "--close-after=1:4001:quota"];
    let (two, three) = (Towline::serve(quota), Towline::serve(quota));
    let run = Towline::connect(["-"]).args([two.address(), three.address()]).stdin("x\n").run();
    for end in [two.address(), three.address()] {
        run.stderr_has(&format!("towline: {end}: closed by the peer with 4001 quota\n"));
    }
    run.code(10);
}

#[test]
fn what_is_for_one_far_end_is_refused() {
    let refused = |args: &[&str], why: &str| {
        Towline::connect(args.iter().copied()).run().code(2).stdout("").stderr_has(why);
    };
    refused(&["file:x", "echo:", "echo:"], "the first is `-`");
    refused(&["-", "echo:", "echo:", "-s", "x"], "steps of a probe");
    refused(&["-", "echo:", "echo:", "--reconnect"], "--reconnect");
}

//! What towline-bench(1) says beyond its flags: gates, reports, what can be done with them.

use super::page::{self, Part};
use super::{cli, examples, of_examples};

pub(super) fn parts() -> Vec<Part> {
    let mut parts = vec![
        Part::Section("GATES"),
        Part::text(
            "A gate is what has to hold of the report: `NAME<BOUND`, with `<`, `<=`, `>`, `>=` or \
             `=`. Gates are read before the run, and judged after it.",
        ),
        Part::Terms(vec![
            (
                "p99<50ms, service.p99.9<=1s, handshake.max<200ms".into(),
                "A time: `p50`, `p75`, `p90`, `p95`, `p99`, `p99.9`, `p99.99`, `min`, `mean` or \
                 `max` of `response`, `service`, `send_lag`, `pacer_lag`, `write_block`, \
                 `handshake`, `dns`, `tcp`, `proxy`, `tls`, `upgrade`, `ssh`, `login`, `forward`, \
                 `ping` or `close`. Without a name it is that of `response`; in a closed loop, which \
                 has no response times, of `service`; where no messages are sent, of `ping` or \
                 `handshake`. The bound needs a unit: `us`, `ms` or `s`."
                    .into(),
            ),
            (
                "errors<0.1%, lost=0, received>=1000".into(),
                "A count: `errors`, `sent`, `received`, `dropped`, `lost`, `late`, `duplicate`, \
                 `reordered`, `corrupt`, `opened`, `failed` or `closed`. Percentages are of the \
                 messages sent, or of the connections tried where none are sent; of `sent` and \
                 `dropped` they are of the messages that were due, of `opened`, `failed` and \
                 `closed` of the connections tried."
                    .into(),
            ),
            (
                "rate>=99%, rate>=5000".into(),
                "The rate of answers, as part of what was asked for or in messages a second.".into(),
            ),
            (
                "reach>=100%".into(),
                "The part of what was published that has come to subscribers.".into(),
            ),
        ]),
        Part::text(
            "A percentile is judged if ten samples at least are above it: p99 takes 1000, p99.9 takes \
             10000. With fewer, the gate has not passed and the exit code is 4. Messages that were \
             dropped, and answers that are lost or late, took longer than all others: with more than \
             1% of them, no gate on a p99 passes.",
        ),
        Part::Section("REPORTS"),
        Part::text(
            "`response` counts from when a message was due, `service` from when it was sent; \
             `send_lag` is the time between. A percentile of which there are too few samples is \
             left out. The JSON of `--json` is described by schema/bench.schema.json.",
        ),
        Part::Section("COMPRESSION"),
        Part::text(
            "`--compress` offers to compress messages (see towline-addresses(7)). A server that does not \
             grant it is measured without; the report says what was agreed on with how many \
             connections. Bytes of payload are counted as they are before they are compressed and after \
             they are inflated, `wire_sent` and `wire_received` are what that was on the wire in the \
             measured part, with the heads of frames. CPU time of this client includes compressing and \
             inflating, which may well be what limits it.",
        ),
        Part::text(
            "Messages of a `--size` are alike but for their stamps. Where messages refer to those before \
             them, they shrink to a few bytes; with `--payload-file` or `--replay` they are like your \
             own.",
        ),
        Part::Section("COMPARISONS"),
        Part::text(
            "`bench compare` and `--baseline` take two runs that asked for the same: mode, workload, \
             schemes, rate, connections, payload, compression, threads. The percentiles of single seconds are taken \
             as samples, and the change of their mean is told with 99% confidence (a bootstrap). A \
             change is noise if it may be none, and a regression if all of that interval is beyond \
             the percentage of `--fail-on-regression`. It takes 8 seconds of each run, and in each of \
             them enough answers for the percentile. `missing` is the part of the messages that were \
             dropped, lost, late or corrupt. What differs from run to run and not within one (another \
             machine, another load beside it) is not seen so: leave room for it in the percentage.",
        ),
        Part::Section("COMMANDS"),
    ];
    parts.push(Part::Terms(commands()));
    parts.append(&mut of_examples(examples::BENCH));
    parts.extend([
        Part::Section("EXIT STATUS"),
        Part::text("1, 3 and 4 mean something else than in the other verbs."),
        page::bench_exit_codes(),
        Part::Section("SEE ALSO"),
        Part::text("towline(1), towline-addresses(7)"),
    ]);
    parts
}

/// `compare` and `merge`, with what `bench` itself does not have.
fn commands() -> Vec<(String, String)> {
    let mut command = cli::command();
    command.build();
    let bench = command.find_subcommand("bench").expect("it is a verb");
    let commands = bench.get_subcommands().map(|verb| {
        let usage = verb.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string);
        (usage, about.unwrap_or_default().replacen("\n\n", ". ", 1))
    });
    commands.collect()
}

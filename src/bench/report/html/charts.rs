//! The charts of a page: what each of them shows.

use super::chart::{Axis, Chart, Color, Look, Series};
use super::micros;
use crate::bench::report::measured::{LEVELS, histogram};
use crate::bench::report::text::row_name;
use crate::bench::report::{Interval, Report, Step, Summary, unit};
use crate::bench::tally::Metric;

/// All charts of a report.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let charts = [
        over_time(report),
        Some(percentiles(report)),
        throughput(report),
        failures(report),
        lag(report),
        by_rate(&report.steps),
    ];
    charts.into_iter().flatten().filter(|chart| !chart.series.is_empty()).collect()
}

/// What of two runs can be seen in one chart.
pub(super) fn both(before: &Report, after: &Report) -> Vec<Chart> {
    let metric = after.headline();
    let name = capital(row_name(metric).trim_start());
    let runs = [(before, "before", Color::Gray), (after, "after", Color::Blue)];
    let longest =
        [before, after].into_iter().map(|report| &report.intervals).max_by_key(|it| it.len());
    let over_time = |title: String, value: &dyn Fn(&Interval) -> Option<f64>| {
        let lines = runs.map(|(report, name, color)| line(name, color, &report.intervals, value));
        let mut series = Vec::from(lines);
        series.retain(|it| it.points.iter().any(Option::is_some));
        Some(Chart {
            title,
            note: "Second by second, counted from the start of each run.".into(),
            x: x_axis(longest?)?,
            y: times_axis(&series),
            hover: hover(&series, unit::time),
            series,
        })
    };
    let of = |it: &Interval, pick: fn(&Summary) -> Option<u64>| {
        let summary = match metric {
            Metric::Response => it.response_us.as_ref(),
            _ => it.service_us.as_ref(),
        };
        summary.and_then(pick).map(|micros| micros as f64)
    };
    let curves =
        runs.into_iter().filter_map(|(report, name, color)| curve(report, metric, color, name));
    let mut charts = vec![percentile_chart(&format!("{name}, percentiles"), curves.collect())];
    charts.extend(over_time(format!("{name}, median over time"), &|it| of(it, |it| it.p50)));
    charts.extend(over_time(format!("{name}, p99 over time"), &|it| of(it, |it| it.p99)));
    let rates = runs.map(|(report, name, color)| {
        line(name, color, &report.intervals, |it| {
            (it.length_s > 0.0).then(|| it.received as f64 / it.length_s)
        })
    });
    let most = rates.iter().flat_map(|it| it.points.iter().flatten().map(|(_, y)| *y));
    let y = Axis::linear(most.fold(0.0, f64::max), short);
    charts.extend(longest.and_then(|it| x_axis(it)).map(|x| Chart {
        title: "Messages a second".into(),
        note: "What has come back, second by second.".into(),
        x,
        y,
        hover: hover(&rates, unit::per_second),
        series: Vec::from(rates),
    }));
    charts
}

/// The time of the whole that intervals cover, unless there are none.
fn x_axis(intervals: &[Interval]) -> Option<Axis> {
    let end = intervals.last().map(|last| last.start_s + last.length_s)?;
    Some(Axis::seconds(end))
}

fn middle(interval: &Interval) -> f64 {
    interval.start_s + interval.length_s / 2.0
}

/// A line over time.
fn line(
    name: &str,
    color: Color,
    intervals: &[Interval],
    value: impl Fn(&Interval) -> Option<f64>,
) -> Series {
    let points = intervals.iter().map(|it| Some((middle(it), value(it)?))).collect();
    Series { name: name.to_owned(), color, look: Look::Line, points }
}

/// What is shown of each second, from the lines and their unit.
fn hover(series: &[Series], shown: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let longest = series.iter().max_by_key(|it| it.points.len());
    let xs = longest.map(|it| it.points.iter().flatten().map(|(x, _)| *x)).into_iter().flatten();
    let text = |x: f64| {
        let values = series.iter().filter_map(|it| {
            let (_, y) = it.points.iter().flatten().find(|(at, _)| *at == x)?;
            Some(format!("{} {}", it.name, shown(*y)))
        });
        let values: Vec<_> = values.collect();
        format!("{:.1} s: {}", x, values.join(", "))
    };
    xs.map(|x| (x, text(x))).collect()
}

/// The axis of times: logarithmic, as they are spread widely.
fn times_axis(series: &[Series]) -> Axis {
    let all = series.iter().flat_map(|it| it.points.iter().flatten().map(|(_, y)| *y));
    let (min, max) = all.fold((f64::INFINITY, 0.0_f64), |(min, max), y| (min.min(y), max.max(y)));
    Axis::log(min, max, tick)
}

/// A time on an axis: round, so without what stands behind the point.
fn tick(micros: f64) -> String {
    match micros {
        _ if micros < 999.0 => format!("{} µs", (micros * 100.0).round() / 100.0),
        _ if micros < 999_000.0 => format!("{} ms", (micros / 10.0).round() / 100.0),
        _ => format!("{} s", (micros / 1e4).round() / 100.0),
    }
}

fn over_time(report: &Report) -> Option<Chart> {
    let metric = report.headline();
    let of = move |it: &Interval| -> Option<Summary> {
        match metric {
            Metric::Response => it.response_us.clone(),
            _ => it.service_us.clone(),
        }
    };
    let intervals = &report.intervals;
    let value = |pick: fn(&Summary) -> Option<u64>| {
        move |it: &Interval| of(it).as_ref().and_then(pick).map(|it| it as f64)
    };
    let mut series = vec![
        line("max", Color::Gray, intervals, value(|it| Some(it.max))),
        line("p99", Color::Orange, intervals, value(|it| it.p99)),
        line("p50", Color::Blue, intervals, value(|it| it.p50)),
    ];
    series.retain(|it| it.points.iter().any(Option::is_some));
    Some(Chart {
        title: format!("{} over time", capital(row_name(metric).trim_start())),
        note: "Each second by itself. A p99 takes 1,000 answers in a second.".into(),
        x: x_axis(intervals)?,
        y: times_axis(&series),
        hover: hover(&series, unit::time),
        series,
    })
}

/// The whole distributions.
fn percentiles(report: &Report) -> Chart {
    let metrics = [
        (Metric::Response, Color::Blue),
        (Metric::Service, Color::Teal),
        (Metric::SendLag, Color::Orange),
        (Metric::Ping, Color::Blue),
    ];
    let curves = metrics
        .into_iter()
        .filter_map(|(metric, color)| curve(report, metric, color, row_name(metric).trim_start()));
    let curves: Vec<_> = curves.collect();
    percentile_chart("Percentiles", curves)
}

/// A distribution, up to where it is known well and from there on.
fn curve(report: &Report, metric: Metric, color: Color, name: &str) -> Option<[Series; 2]> {
    let histogram = histogram(report.measured.histograms.get(metric.name())?).ok()?;
    let all = histogram.len();
    if all == 0 {
        return None;
    }
    let mut below = 0;
    let mut points = Vec::new();
    for value in histogram.iter_recorded() {
        let micros = histogram.lowest_equivalent(value.value_iterated_to()) as f64;
        points.push((all as f64 / (all - below) as f64, micros));
        below += value.count_at_value();
    }
    // As many as can be told apart.
    points.dedup_by(|next, last| next.0 / last.0 < 1.003 && next.1 / last.1 < 1.003);
    let known = all as f64 / 10.0;
    let split = points.partition_point(|(rarity, _)| *rarity <= known.max(2.0));
    let from = split.saturating_sub(1);
    let series = |look, points: &[(f64, f64)]| Series {
        name: name.to_owned(),
        color,
        look,
        points: points.iter().copied().map(Some).collect(),
    };
    Some([series(Look::Line, &points[..split]), series(Look::Faint, &points[from..])])
}

fn percentile_chart(title: &str, curves: Vec<[Series; 2]>) -> Chart {
    let rarest = curves.iter().flatten().flat_map(|it| it.points.iter().flatten().map(|(x, _)| *x));
    let rarest = rarest.fold(1.0, f64::max);
    let at = |series: &[Series; 2], x: f64| {
        let points = series.iter().flat_map(|it| it.points.iter().flatten());
        points.take_while(|(rarity, _)| *rarity <= x * 1.0001).last().map(|(_, y)| *y)
    };
    let levels = LEVELS.iter().filter(|level| 1.0 / (1.0 - level.quantile) <= rarest);
    let hover = levels.map(|level| {
        let x = 1.0 / (1.0 - level.quantile);
        let values = curves
            .iter()
            .filter_map(|curve| Some(format!("{} {}", curve[0].name, unit::time(at(curve, x)?))));
        (x, format!("{}: {}", level.title, values.collect::<Vec<_>>().join(", ")))
    });
    let hover = hover.collect();
    let series: Vec<_> = curves.into_iter().flatten().collect();
    Chart {
        title: title.to_owned(),
        note: "The time within which that part was answered. Faint: too few samples.".into(),
        x: Axis::percentiles(rarest),
        y: times_axis(&series),
        series,
        hover,
    }
}

fn throughput(report: &Report) -> Option<Chart> {
    let intervals = &report.intervals;
    let per_second = |count: fn(&Interval) -> u64| {
        move |it: &Interval| (it.length_s > 0.0).then(|| count(it) as f64 / it.length_s)
    };
    let mut series = Vec::new();
    if report.measured.counts.sent > 0 {
        series.push(line("sent", Color::Gray, intervals, per_second(|it| it.sent)));
    }
    series.push(line("received", Color::Blue, intervals, per_second(|it| it.received)));
    let hover = hover(&series, unit::per_second);
    if let Some(target) = report.rate.target {
        let end = intervals.last().map_or(0.0, |last| last.start_s + last.length_s);
        let points = vec![Some((0.0, target)), Some((end, target))];
        series.push(Series {
            name: "asked".into(),
            color: Color::Orange,
            look: Look::Dashed,
            points,
        });
    }
    let most = series.iter().flat_map(|it| it.points.iter().flatten().map(|(_, y)| *y));
    let most = most.fold(0.0, f64::max);
    Some(Chart {
        title: "Messages a second".into(),
        note: "What was sent and what has come back, second by second.".into(),
        x: x_axis(intervals)?,
        y: Axis::linear(most, short),
        series,
        hover,
    })
}

/// A number on an axis.
fn short(number: f64) -> String {
    match number {
        _ if number >= 999_999.0 => format!("{}M", (number / 1e4).round() / 100.0),
        _ if number >= 9_999.0 => format!("{}k", (number / 10.0).round() / 100.0),
        _ => format!("{}", (number * 100.0).round() / 100.0),
    }
}

fn failures(report: &Report) -> Option<Chart> {
    let intervals = &report.intervals;
    let bars = |name: &str, color, count: fn(&Interval) -> u64| Series {
        look: Look::Bars(1.0),
        points: intervals.iter().map(|it| Some((it.start_s, count(it) as f64))).collect(),
        name: name.to_owned(),
        color,
    };
    let mut series = vec![
        bars("errors", Color::Red, |it| it.errors),
        bars("dropped", Color::Orange, |it| it.dropped),
    ];
    series.retain(|it| it.points.iter().flatten().any(|(_, count)| *count > 0.0));
    let most = intervals.iter().map(|it| it.errors + it.dropped).max()?;
    let hover = hover(&series, short);
    (most > 0).then_some(Chart {
        title: "Failures".into(),
        note: "Errors, and messages that were due but could not be sent, in each second.".into(),
        x: x_axis(intervals)?,
        y: Axis::linear(most as f64, short),
        series,
        hover,
    })
}

fn lag(report: &Report) -> Option<Chart> {
    let intervals = &report.intervals;
    let lag = |it: &Interval| it.send_lag_us.as_ref()?.p99.map(|it| it as f64);
    let pacer = |it: &Interval| it.pacer_lag_p99_us.map(|it| it as f64);
    let mut series = vec![
        line("send lag p99", Color::Orange, intervals, lag),
        line("of it this client p99", Color::Teal, intervals, pacer),
    ];
    series.retain(|it| it.points.iter().any(Option::is_some));
    (!series.is_empty()).then_some(())?;
    Some(Chart {
        title: "Send lag".into(),
        note:
            "How much later than planned messages went out, and how much of that was this client."
                .into(),
        x: x_axis(intervals)?,
        y: times_axis(&series),
        hover: hover(&series, unit::time),
        series,
    })
}

/// How times grow with the rate.
fn by_rate(steps: &[Step]) -> Option<Chart> {
    let mut steps: Vec<_> = steps.iter().collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let points = |pick: fn(&Summary) -> Option<u64>| -> Vec<_> {
        let y = |step: &Step| step.response_us.as_ref().and_then(pick).map(|it| it as f64);
        steps.iter().map(|step| Some((step.rate, y(step)?))).collect()
    };
    let series = |name: &str, color, points| Series {
        name: name.to_owned(),
        color,
        look: Look::Line,
        points,
    };
    let series = vec![
        series("max", Color::Gray, points(|it| Some(it.max))),
        series("p99", Color::Orange, points(|it| it.p99)),
        series("p50", Color::Blue, points(|it| it.p50)),
    ];
    let most = steps.last()?.rate;
    let hover = steps.iter().map(|step| {
        let times = step.response_us.as_ref().and_then(|it| Some((it.p50?, it.p99?)));
        let times = times.map(|(p50, p99)| format!("p50 {}, p99 {}", micros(p50), micros(p99)));
        (step.rate, format!("{}: {}", unit::per_second(step.rate), times.unwrap_or_default()))
    });
    Some(Chart {
        title: "Response by rate".into(),
        note: "Each rate by itself, in messages a second that were asked for.".into(),
        x: Axis::linear(most, short),
        y: times_axis(&series),
        hover: hover.collect(),
        series,
    })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Measured, testing};
    use crate::bench::tally::Tally;

    #[test]
    fn a_curve_ends_where_its_longest_time_is() {
        let mut tally = Tally::default();
        (1..=2_000).for_each(|i| tally.time(Metric::Response, i * 1_000));
        let mut report = testing::report(0);
        report.measured = Measured::of(&tally);
        let [known, faint] = curve(&report, Metric::Response, Color::Blue, "x").unwrap();
        let last = known.points.last().unwrap().unwrap();
        assert!((190.0..=200.0).contains(&last.0), "ten samples are above it: {last:?}");
        assert_eq!(faint.points.first(), known.points.last());
        assert_eq!(faint.points.last().unwrap().unwrap(), (2_000.0, 2_000.0));
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!([tick(5.0), tick(20_000.0), tick(1e6)], ["5 µs", "20 ms", "1 s"]);
        assert_eq!([short(500.0), short(20_000.0), short(2.5e6)], ["500", "20k", "2.5M"]);
    }
}

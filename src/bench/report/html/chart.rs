//! Charts as inline SVG, which need no script: what is under the pointer is shown by style alone.

use std::fmt::Write as _;

use super::escaped;

/// One chart.
pub(super) struct Chart {
    pub(super) title: String,
    /// What is to be seen in it, in a sentence.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// What is shown above the chart when the pointer is near this place of the x axis.
    pub(super) hover: Vec<(f64, String)>,
}

/// A line, or bars.
pub(super) struct Series {
    pub(super) name: String,
    /// Which of the colours.
    pub(super) color: Color,
    pub(super) look: Look,
    /// From left to right; none where there is a gap.
    pub(super) points: Vec<Option<(f64, f64)>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Look {
    Line,
    /// Something that was asked for, and not measured.
    Dashed,
    /// Something that is known badly.
    Faint,
    /// From zero up, this wide on the x axis; those of several series stand on each other.
    Bars(f64),
}

#[derive(Clone, Copy)]
pub(super) enum Color {
    Blue,
    Orange,
    Gray,
    Teal,
    Red,
}

impl Color {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Orange => "orange",
            Self::Gray => "gray",
            Self::Teal => "teal",
            Self::Red => "red",
        }
    }
}

/// An axis from its first tick or less to its last or more.
pub(super) struct Axis {
    from: f64,
    to: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number.
    pub(super) fn linear(max: f64, shown: impl Fn(f64) -> String) -> Self {
        let max = if max > 0.0 && max.is_finite() { max } else { 1.0 };
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * 10f64.powf((max / 5.0).log10().floor()));
        let step = step.into_iter().find(|step| max / step <= 5.0).unwrap_or(max);
        let count = (max / step).ceil().max(1.0) as u32;
        let ticks = (0..=count).map(|i| f64::from(i) * step);
        let ticks: Vec<_> = ticks.map(|at| (at, shown(at))).collect();
        Self { from: 0.0, to: f64::from(count) * step, log: false, ticks }
    }

    /// Of the seconds of a run.
    pub(super) fn seconds(to: f64) -> Self {
        let to = if to > 0.0 && to.is_finite() { to } else { 1.0 };
        let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
        let step = steps.into_iter().find(|step| to / step <= 8.0);
        let step = step.unwrap_or_else(|| (to / 8.0 / 3600.0).ceil() * 3600.0);
        let ticks = (0..=(to / step) as u32).map(|i| f64::from(i) * step);
        let shown = |at: f64| match at {
            _ if step >= 3600.0 => format!("{} h", at / 3600.0),
            _ if step >= 60.0 => format!("{} min", at / 60.0),
            _ => format!("{at} s"),
        };
        Self { from: 0.0, to, log: false, ticks: ticks.map(|at| (at, shown(at))).collect() }
    }

    /// From one power of ten, or a simple part of one, to another.
    pub(super) fn log(min: f64, max: f64, shown: impl Fn(f64) -> String) -> Self {
        let min = if min > 0.0 && min.is_finite() { min } else { 1.0 };
        let max = if max.is_finite() { max.max(min * 1.01) } else { min * 10.0 };
        let decades = (max / min).log10();
        let parts: &[f64] = if decades > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = (min.log10().floor() as i32 - 1)..=(max.log10().ceil() as i32 + 1);
        let all = powers.flat_map(|power| parts.iter().map(move |part| part * 10f64.powi(power)));
        let all: Vec<f64> = all.collect();
        let below = all.iter().rfind(|it| **it <= min * 1.0001).copied().unwrap_or(min);
        let above = all.iter().find(|it| **it >= max * 0.9999).copied().unwrap_or(max);
        let mut ticks: Vec<f64> =
            all.into_iter().filter(|it| (below..=above).contains(it)).collect();
        // Every second one would not stand at equal distances, but powers of ten do.
        if ticks.len() > MOST_TICKS {
            ticks.retain(|it| (it.log10() - it.log10().round()).abs() < 1e-9);
        }
        let ticks = ticks.into_iter().map(|at| (at, shown(at))).collect();
        Self { from: below, to: above, log: true, ticks }
    }

    /// Of percentiles, by how rare what is above them is: every tick has a tenth of that above it
    /// that the tick before has.
    pub(super) fn percentiles(rarest: f64) -> Self {
        let levels = ["0", "50", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
        let ticks = levels.iter().enumerate().map(|(i, name)| {
            let at = match i {
                0 => 1.0,
                1 => 2.0,
                i => 10f64.powi(i as i32 - 1),
            };
            (at, format!("{name}%"))
        });
        let to = rarest.clamp(10.0, 1e8);
        let ticks = ticks.skip(1).filter(|(at, _)| *at <= to * 1.001).collect();
        Self { from: 1.0, to, log: true, ticks }
    }

    /// Where something is, from 0 to 1.
    fn place(&self, at: f64) -> f64 {
        let place = match self.log {
            true => (at.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
            false => (at - self.from) / (self.to - self.from),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// So many are told apart on an axis of times.
const MOST_TICKS: usize = 6;

/// The units of a chart; a page may show it in any size.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 30.0;

impl Chart {
    /// With its title, its note and its legend.
    pub(super) fn figure(&self) -> String {
        let mut legend = String::new();
        for series in self.series.iter().filter(|it| it.look != Look::Faint) {
            let dashed = if series.look == Look::Dashed { " dashed" } else { "" };
            let (class, name) = (series.color.class(), escaped(&series.name));
            let _ = write!(legend, "<li class=\"{class}{dashed}\">{name}</li>");
        }
        format!(
            "<figure>\n<figcaption><h2>{}</h2><p>{}</p><ul>{legend}</ul></figcaption>\n{}</figure>\n",
            escaped(&self.title),
            escaped(&self.note),
            self.svg()
        )
    }

    fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escaped(&self.title)
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (at, name) in self.y.shown_ticks(MOST_TICKS) {
            let y = self.y(*at);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"y\" x=\"{:.1}\" \
                 y=\"{:.1}\">{}</text>",
                LEFT - 7.0,
                y + 4.0,
                escaped(name)
            );
        }
        for (at, name) in self.x.shown_ticks(9) {
            let x = self.x(*at);
            let _ = writeln!(
                svg,
                "<path class=\"tick\" d=\"M{x:.1} {bottom}v4\"/><text class=\"x\" x=\"{x:.1}\" \
                 y=\"{:.1}\">{}</text>",
                bottom + 19.0,
                escaped(name)
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>");
        let mut stacked = Vec::new();
        for series in &self.series {
            match series.look {
                Look::Bars(width) => self.bars(&mut svg, series, width, &mut stacked),
                look => self.line(&mut svg, series, look),
            }
        }
        self.hits(&mut svg);
        svg + "</svg>\n"
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + self.x.place(at) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, at: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(at) * (HEIGHT - TOP - BOTTOM)
    }

    fn line(&self, svg: &mut String, series: &Series, look: Look) {
        let class = series.color.class();
        let extra = match look {
            Look::Dashed => " dashed",
            Look::Faint => " faint",
            _ => "",
        };
        for run in series.points.split(Option::is_none) {
            let points: Vec<_> =
                run.iter().flatten().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
            match points.as_slice() {
                [] => {}
                // A line of one point would not be seen.
                [(x, y)] => {
                    let _ = writeln!(
                        svg,
                        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"
                    );
                }
                points => {
                    let points: Vec<_> =
                        points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
                    let d = points.join("L");
                    let _ = writeln!(svg, "<path class=\"line {class}{extra}\" d=\"M{d}\"/>");
                }
            }
        }
    }

    fn bars(&self, svg: &mut String, series: &Series, width: f64, stacked: &mut Vec<f64>) {
        let class = series.color.class();
        stacked.resize(series.points.len().max(stacked.len()), 0.0);
        for (below, point) in stacked.iter_mut().zip(&series.points) {
            let Some((x, count)) = point.filter(|(_, count)| *count > 0.0) else { continue };
            let (from, to) = (self.x(x), self.x(x + width));
            let (top, foot) = (self.y(*below + count), self.y(*below));
            *below += count;
            // What has happened once in a long time is to be seen, too.
            let gap = if to - from > 4.0 { 1.0 } else { 0.0 };
            let (wide, high) = ((to - from - gap).max(1.0), (foot - top).max(1.5));
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" \
                 height=\"{high:.1}\"/>",
                foot - high
            );
        }
    }

    /// Invisible columns that show what is measured there.
    fn hits(&self, svg: &mut String) {
        const MOST: usize = 250;
        let every = self.hover.len().div_ceil(MOST).max(1);
        let hover: Vec<_> = self.hover.iter().step_by(every).collect();
        let places: Vec<f64> = hover.iter().map(|(at, _)| self.x(*at)).collect();
        for (i, ((_, text), x)) in hover.iter().zip(&places).enumerate() {
            let from = i.checked_sub(1).map_or(LEFT, |before| (places[before] + x) / 2.0);
            let to = places.get(i + 1).map_or(WIDTH - RIGHT, |next| (next + x) / 2.0);
            let _ = writeln!(
                svg,
                "<g class=\"hit\"><rect x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" \
                 height=\"{HEIGHT}\"/><path d=\"M{x:.1} {TOP}V{}\"/><text x=\"{LEFT}\" \
                 y=\"14\">{}</text></g>",
                (to - from).max(0.5),
                HEIGHT - BOTTOM,
                escaped(text)
            );
        }
    }
}

impl Axis {
    /// Every one of them, or every second, ..., so that they do not touch.
    fn shown_ticks(&self, most: usize) -> impl Iterator<Item = &(f64, String)> {
        self.ticks.iter().step_by(self.ticks.len().div_ceil(most).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn axes_have_round_ticks() {
        let plain = |at: f64| format!("{at}");
        assert_eq!(
            names(&Axis::linear(4_998.0, plain)),
            ["0", "1000", "2000", "3000", "4000", "5000"]
        );
        assert_eq!(
            names(&Axis::linear(0.0, plain)),
            ["0", "0.2", "0.4", "0.6000000000000001", "0.8", "1"]
        );
        assert_eq!(names(&Axis::log(30.0, 400.0, plain)), ["20", "50", "100", "200", "500"]);
        assert_eq!(names(&Axis::log(1.0, 6e7, plain)).len(), 9);
        assert_eq!(names(&Axis::log(30.0, 4e4, plain)), ["100", "1000", "10000"]);
        assert_eq!(names(&Axis::seconds(10.0)), ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert_eq!(
            names(&Axis::seconds(600.0)),
            ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]
        );
        assert_eq!(names(&Axis::percentiles(10_000.0)), ["50%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn everything_stays_within_the_chart() {
        let wild = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300, 3.0];
        for (min, max) in wild.iter().flat_map(|min| wild.iter().map(move |max| (*min, *max))) {
            let axes = [
                Axis::linear(max, |_| String::new()),
                Axis::log(min, max, |_| String::new()),
                Axis::seconds(max),
                Axis::percentiles(max),
            ];
            for (axis, at) in axes.iter().flat_map(|axis| wild.map(|at| (axis, at))) {
                assert!((0.0..=1.0).contains(&axis.place(at)), "{min} {max} {at}");
                assert!(axis.ticks.len() < 1_500);
            }
        }
    }
}

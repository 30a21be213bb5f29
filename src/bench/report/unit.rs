//! Numbers as people read them, never without their unit.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds, with three significant digits: `312 µs`, `4.21 ms`, `1.20 s`.
pub(crate) fn time(micros: f64) -> String {
    match micros {
        // Not what would be rounded up to the next unit.
        _ if micros < 1_000.0 && micros.fract() == 0.0 => format!("{micros} µs"),
        _ if micros < 999.5 => format!("{} µs", significant(micros)),
        _ if micros < 999_500.0 => format!("{} ms", significant(micros / 1e3)),
        _ => format!("{} s", significant(micros / 1e6)),
    }
}

/// Three significant digits, but no fewer than stand before the point.
pub(crate) fn significant(number: f64) -> String {
    match number.abs() {
        _ if number == 0.0 => "0".to_owned(),
        n if n < 9.995 => format!("{number:.2}"),
        n if n < 99.95 => format!("{number:.1}"),
        _ => grouped(&format!("{number:.0}")),
    }
}

/// A number of things, as `12,345`.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// Bytes, in powers of 1024: `750 KiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut number = bytes;
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number:.0} B"),
        _ => format!("{} {}", significant(number), units[unit]),
    }
}

/// So many a second, as `4,998/s`.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{}/s", significant(rate))
}

/// A share of a whole, in percent.
pub(crate) fn percent(share: f64) -> String {
    match share.abs() {
        _ if share == 0.0 => "0%".to_owned(),
        n if n < 0.01 => format!("{share:.4}%"),
        n if n < 10.0 => format!("{share:.2}%"),
        _ => format!("{share:.1}%"),
    }
}

/// A number of things, with the word for them: `1 message`, `2 messages`.
pub(crate) fn of(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(number))
}

/// A moment without fractions of a second, if it is one.
pub(crate) fn moment(text: &str) -> String {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => {
            let (date, time) = (time.to_utc().date(), time.to_utc().time());
            let (hour, minute, second) = time.as_hms();
            format!("{date} {hour:02}:{minute:02}:{second:02} UTC")
        }
        Err(_) => text.to_owned(),
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (i, digit) in digits.char_indices() {
        let follow = digits.len() - i;
        if follow.is_multiple_of(3) && i > 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (micros, shown) in [
            (0.0, "0 µs"),
            (1.0, "1 µs"),
            (1.25, "1.25 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (4_214.0, "4.21 ms"),
            (42_140.0, "42.1 ms"),
            (999_499.0, "999 ms"),
            (999_999.0, "1.00 s"),
            (60_000_000.0, "60.0 s"),
            (3_600_000_000.0, "3,600 s"),
        ] {
            assert_eq!(time(micros), shown);
        }
    }

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!([count(0), count(999), count(1_000)], ["0", "999", "1,000"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(significant(-123_456.0), "-123,456");
        assert_eq!([bytes(0.0), bytes(999.0), bytes(1_000.0)], ["0 B", "999 B", "0.98 KiB"]);
        assert_eq!([bytes(768_000.0), bytes(u64::MAX as f64)], ["750 KiB", "16.0 EiB"]);
        assert_eq!([per_second(0.5), per_second(4998.4)], ["0.50/s", "4,998/s"]);
        assert_eq!([percent(0.0), percent(0.004), percent(99.96)], ["0%", "0.0040%", "100.0%"]);
        assert_eq!([of(1, "message"), of(2_000, "message")], ["1 message", "2,000 messages"]);
    }
}

//! What is sent: bytes of a size, a template, the lines of a file, a recording.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use bytes::Bytes;

use super::frames::{Blanks, Opcode};
use super::stamp::{self, Stamp};
use crate::cli::value::size;
use crate::error::{Error, Kind, Result, plain};

/// Which message it is, from which all that varies in it follows: it can be made again to compare
/// it with its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) stamp: Stamp,
    /// When it is due, in nanoseconds.
    pub(super) intended: u64,
}

/// Makes messages.
#[derive(Debug)]
pub(super) struct Payload {
    content: Content,
    text: bool,
    blanks: Option<Blanks>,
    /// Whether stamps hold the time, too, which those who did not send them cannot know.
    timed: bool,
    seed: u64,
}

#[derive(Debug)]
enum Content {
    /// A stamp where there is room for one, and filling.
    Sized {
        sizes: Sizes,
        base: Vec<u8>,
        stamped: bool,
    },
    Template(Template),
    /// These, in turn.
    Items(Vec<(bool, Bytes)>),
}

impl Payload {
    /// Messages of some sizes.
    pub(super) fn sized(sizes: Sizes, text: bool, timed: bool, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let base: Vec<u8> =
            std::iter::repeat_with(|| random.alphanumeric() as u8).take(sizes.longest()).collect();
        let needed = if timed { 2 * stamp::LEN } else { stamp::LEN };
        let stamped = sizes.shortest() >= needed;
        let alike = stamped && !timed && sizes.only().is_some_and(|len| len <= Blanks::LONGEST);
        let blanks = alike.then(|| Blanks::new(Opcode::of_data(text), &base));
        Self { content: Content::Sized { sizes, base, stamped }, text, blanks, timed, seed }
    }

    /// Messages by a template.
    pub(super) fn template(template: Template, text: bool, timed: bool, seed: u64) -> Self {
        Self { content: Content::Template(template), text, blanks: None, timed, seed }
    }

    /// The lines of a file.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it cannot be read, or has none.
    pub(super) fn lines(file: &Path, text: bool) -> Result<Self> {
        let refused = |what: String| Error::new(Kind::Usage, what).at(file.display());
        let content = std::fs::read(file).map_err(|error| refused(plain(&error)))?;
        let lines = content.strip_suffix(b"\n").unwrap_or(&content).split(|byte| *byte == b'\n');
        if content.is_empty() {
            return Err(refused("there are no messages in it".into()));
        }
        let items: Vec<_> = lines.map(|line| (text, Bytes::copy_from_slice(line))).collect();
        if text && items.iter().any(|(_, line)| std::str::from_utf8(line).is_err()) {
            return Err(refused("it is not UTF-8".into()).hint("--binary sends bytes"));
        }
        Ok(Self::items(items))
    }

    /// These messages in turn; of each, whether it is text.
    pub(super) fn items(items: Vec<(bool, Bytes)>) -> Self {
        Self { content: Content::Items(items), text: false, blanks: None, timed: false, seed: 0 }
    }

    /// Whether a message can be told by its stamp.
    pub(super) fn is_stamped(&self) -> bool {
        match &self.content {
            Content::Sized { stamped, .. } => *stamped,
            Content::Template(template) => template.0.contains(&Part::Stamp),
            Content::Items(_) => false,
        }
    }

    /// The frames of all messages, where they differ by nothing but the stamp at their beginning.
    pub(super) fn blanks(&self) -> Option<&Blanks> {
        self.blanks.as_ref()
    }

    /// Appends a message to `out`, and returns whether it is text.
    pub(super) fn render(&self, place: &Place, out: &mut Vec<u8>) -> bool {
        match &self.content {
            Content::Sized { sizes, base, stamped } => {
                let len = match sizes.only() {
                    Some(len) => len,
                    None => sizes.pick(&mut self.random(place)),
                };
                let mut stamps = 0;
                if *stamped {
                    out.extend_from_slice(&place.stamp.to_hex());
                    stamps += stamp::LEN;
                    if self.timed {
                        out.extend_from_slice(&stamp::hex(place.intended));
                        stamps += stamp::LEN;
                    }
                }
                if stamps < len {
                    out.extend_from_slice(&base[stamps..len]);
                }
                self.text
            }
            Content::Template(template) => {
                let mut random = self.random(place);
                for part in &template.0 {
                    self.render_part(part, place, &mut random, out);
                }
                self.text
            }
            Content::Items(items) => {
                let (text, item) = &items[(place.stamp.sequence % items.len() as u64) as usize];
                out.extend_from_slice(item);
                *text
            }
        }
    }

    fn render_part(
        &self,
        part: &Part,
        place: &Place,
        random: &mut fastrand::Rng,
        out: &mut Vec<u8>,
    ) {
        use std::io::Write;
        let Stamp { connection, sequence } = place.stamp;
        let written = match part {
            Part::Literal(text) => out.write_all(text.as_bytes()),
            Part::Sequence => write!(out, "{sequence}"),
            Part::Connection => write!(out, "{connection}"),
            Part::Now => write!(out, "{}", place.intended),
            Part::Random(len) => {
                out.extend(std::iter::repeat_with(|| random.alphanumeric() as u8).take(*len));
                Ok(())
            }
            Part::Stamp => {
                out.extend_from_slice(&place.stamp.to_hex());
                if self.timed {
                    out.extend_from_slice(&stamp::hex(place.intended));
                }
                Ok(())
            }
        };
        written.expect("memory takes all that is written");
    }

    /// The same for the same message.
    fn random(&self, place: &Place) -> fastrand::Rng {
        let Stamp { connection, sequence } = place.stamp;
        fastrand::Rng::with_seed(self.seed ^ u64::from(connection) << 40 ^ sequence)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.text { "text" } else { "binary" };
        match &self.content {
            Content::Sized { sizes, .. } => write!(f, "{sizes} B {kind}"),
            Content::Template(template) => write!(f, "{kind} {template}"),
            Content::Items(items) => write!(f, "{} messages in turn", items.len()),
        }
    }
}

/// How long messages are: one size, a range, or several with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<SizeRange>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeRange {
    from: usize,
    to: usize,
    weight: u32,
}

impl Sizes {
    fn only(&self) -> Option<usize> {
        match self.0[..] {
            [SizeRange { from, to, .. }] if from == to => Some(from),
            _ => None,
        }
    }

    pub(super) fn shortest(&self) -> usize {
        self.0.iter().map(|range| range.from).min().unwrap_or_default()
    }

    fn longest(&self) -> usize {
        self.0.iter().map(|range| range.to).max().unwrap_or_default()
    }

    fn pick(&self, random: &mut fastrand::Rng) -> usize {
        let mut at = random.u32(..self.0.iter().map(|range| range.weight).sum::<u32>());
        for range in &self.0 {
            match at.checked_sub(range.weight) {
                Some(rest) => at = rest,
                None => return random.usize(range.from..=range.to),
            }
        }
        unreachable!("the weights are those that were added up")
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// Parses `128`, `16-4KiB`, `128*9,4KiB`.
    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: usize = 1 << 30;
        let range = |text: &str| {
            let (sizes, weight) = match text.split_once('*') {
                Some((sizes, weight)) => {
                    (sizes, weight.parse().map_err(|_| "a weight is a whole number")?)
                }
                None => (text, 1),
            };
            let (from, to) = sizes.split_once('-').unwrap_or((sizes, sizes));
            let (from, to) = (size(from)?, size(to)?);
            match (from <= to && to <= MOST, weight) {
                (false, _) => Err("sizes go from the smaller to the larger, up to 1GiB".to_owned()),
                (true, 0 | 1_000_001..) => Err("a weight is 1 to 1000000".to_owned()),
                (true, weight) => Ok(SizeRange { from, to, weight }),
            }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, SizeRange { from, to, weight }) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            write!(f, "{from}")?;
            if to != from {
                write!(f, "-{to}")?;
            }
            if *weight != 1 {
                write!(f, "*{weight}")?;
            }
        }
        Ok(())
    }
}

/// A message with places that are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Sequence,
    Connection,
    Now,
    Random(usize),
    Stamp,
}

impl Template {
    /// Whether the sequence number is a part of it.
    pub(super) fn has_sequence(&self) -> bool {
        self.0.contains(&Part::Sequence)
    }
}

impl FromStr for Template {
    type Err = String;

    /// Braces around anything but `seq`, `conn`, `now`, `stamp` and `rand:N` are themselves, as in
    /// JSON.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, after) = rest.split_at(at);
            literal.push_str(before);
            let name = after[1..].split_once('}').map(|(name, _)| name);
            let part = match name {
                Some("seq") => Some(Part::Sequence),
                Some("conn") => Some(Part::Connection),
                Some("now") => Some(Part::Now),
                Some("stamp") => Some(Part::Stamp),
                Some(name) if name.starts_with("rand:") => {
                    let len = name["rand:".len()..].parse().ok().filter(|len| *len <= 1 << 20);
                    Some(Part::Random(len.ok_or("{rand:N} has 0 to 1048576 characters")?))
                }
                _ => None,
            };
            match (part, name) {
                (Some(part), Some(name)) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                    rest = &after[name.len() + 2..];
                }
                _ => {
                    literal.push('{');
                    rest = &after[1..];
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Sequence => f.write_str("{seq}"),
            Part::Connection => f.write_str("{conn}"),
            Part::Now => f.write_str("{now}"),
            Part::Random(len) => write!(f, "{{rand:{len}}}"),
            Part::Stamp => f.write_str("{stamp}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(connection: u32, sequence: u64) -> Place {
        Place { stamp: Stamp { connection, sequence }, intended: 77 }
    }

    fn rendered(payload: &Payload, place: &Place) -> String {
        let mut out = Vec::new();
        payload.render(place, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_template_is_filled_in() {
        let template = r#"{"id":{seq},"by":{conn},"at":{now},"x":"{rand:4}","s":"{stamp}"}"#;
        let payload = Payload::template(template.parse().unwrap(), true, false, 1);
        let said = rendered(&payload, &place(3, 9));
        assert!(said.starts_with(r#"{"id":9,"by":3,"at":77,"x":""#), "{said}");
        assert!(said.ends_with(r#"","s":"0000300000000009"}"#), "{said}");
        assert_eq!(said, rendered(&payload, &place(3, 9)));
        assert_ne!(said, rendered(&payload, &place(3, 10)));
    }

    #[test]
    fn sizes_have_weights() {
        let sizes: Sizes = "16-32*3,1KiB".parse().unwrap();
        assert_eq!(sizes.to_string(), "16-32*3,1024");
        let payload = Payload::sized(sizes, false, false, 1);
        let lens: Vec<usize> = (0..4000).map(|i| rendered(&payload, &place(0, i)).len()).collect();
        let long = lens.iter().filter(|len| **len == 1024).count();
        assert!((900..1100).contains(&long), "{long}");
        assert!(lens.iter().all(|len| matches!(len, 16..=32 | 1024)));
    }

    #[test]
    fn sizes_that_are_none() {
        for text in ["", "x", "9-3", "1*0", "2GiB", "1*", "-"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_short_message_has_no_stamp() {
        assert!(!Payload::sized("15".parse().unwrap(), true, false, 0).is_stamped());
        assert!(Payload::sized("16".parse().unwrap(), true, false, 0).is_stamped());
        assert!(!Payload::sized("16".parse().unwrap(), true, true, 0).is_stamped());
    }

    proptest! {
        #[test]
        fn a_template_is_written_as_it_was_read(text in r#"[{}a-z:0-9"]{0,40}"#) {
            if let Ok(template) = text.parse::<Template>() {
                prop_assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
            }
        }
    }
}

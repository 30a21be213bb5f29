#![no_main]

use libfuzzer_sys::fuzz_target;
use towline::relay::{Found, Rules, Tracker};

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (police, piece, bytes) = input;
    let rules = Rules { police, extensions: false, max_message: Some(1 << 20) };
    let (mut whole, mut split) = (Tracker::default(), Tracker::default());
    let expected = follow(&mut whole, std::iter::once(bytes), &rules);
    let pieces = bytes.chunks(usize::from(piece).max(1));
    assert_eq!(follow(&mut split, pieces, &rules), expected);
    assert!(bytes.is_empty() || split == whole);
});

fn follow<'a>(
    tracker: &mut Tracker,
    pieces: impl Iterator<Item = &'a [u8]>,
    rules: &Rules,
) -> Vec<(usize, Found)> {
    let (mut all, mut before) = (Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        loop {
            let (len, found) = tracker.feed(&piece[at..], rules);
            at += len;
            if found == Found::Nothing {
                break;
            }
            all.push((before + at, found));
        }
        assert_eq!(at, piece.len());
        before += at;
    }
    all
}

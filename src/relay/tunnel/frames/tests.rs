use proptest::prelude::*;

use super::*;

const POLICE: Rules = Rules { police: true, extensions: false, max_message: Some(1000) };

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// All that is found, with the place where.
fn found(tracker: &mut Tracker, pieces: &[&[u8]], rules: &Rules) -> Vec<(usize, Found)> {
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

fn of(bytes: &[u8]) -> (Tracker, Vec<(usize, Found)>) {
    let mut tracker = Tracker::default();
    let found = found(&mut tracker, &[bytes], &POLICE);
    (tracker, found)
}

#[track_caller]
fn wrong(bytes: &[u8], code: u16, why: &'static str) {
    let first = of(bytes).1.into_iter().find(|(_, found)| matches!(found, Found::Wrong(..)));
    assert_eq!(first.map(|(_, found)| found), Some(Found::Wrong(code, why)));
}

#[test]
fn messages_are_counted_and_control_frames_are_not() {
    let parts = [
        frame(0x81, b"hello"),
        frame(0x02, b""),
        frame(0x89, b"ping"),
        frame(0x00, &[0; 300]),
        frame(0x80, b"end"),
    ];
    let (tracker, found) = of(&parts.concat());
    let kinds: Vec<_> = found.iter().map(|(_, found)| *found).collect();
    let (message, frame) = (Found::Message, Found::Frame);
    assert_eq!(kinds, [message, frame, frame, frame, message]);
    assert_eq!(found[4].0, parts.concat().len());
    assert!(tracker.between_messages());
}

#[test]
fn a_control_frame_within_a_message_does_not_end_it() {
    let mut tracker = of(&frame(0x01, b"a")).0;
    assert!(tracker.between_frames() && !tracker.between_messages());
    assert_eq!(found(&mut tracker, &[&frame(0x8a, b"x")], &POLICE), [(7, Found::Frame)]);
    assert!(!tracker.between_messages());
}

#[test]
fn a_close_tells_its_code() {
    let code = |payload: &[u8]| of(&frame(0x88, payload)).0.closed();
    assert_eq!(code(&[0x0f, 0xa0, b'b', b'y', b'e']), Some(4000));
    assert_eq!(code(&[0x03, 0xe8]), Some(1000));
    assert_eq!(code(&[]), Some(1005));
    assert_eq!(code(&[3]), Some(1005));
    let mut tracker = Tracker::default();
    let all = found(&mut tracker, &[&close(1001, false), b"\x81\x01x"], &Rules::default());
    assert_eq!((all, tracker.closed()), (vec![(4, Found::Close)], Some(1001)));
}

#[test]
fn our_own_frames_are_what_the_rules_ask_for() {
    assert_eq!(close(1012, false), [0x88, 2, 0x03, 0xf4]);
    assert_eq!(ping(false), [0x89, 0]);
    let (tracker, found) = of(&[ping(true), close(1012, true)].concat());
    assert_eq!(found, [(6, Found::Frame), (14, Found::Close)]);
    assert_eq!(tracker.closed(), Some(1012));
}

#[test]
fn a_client_has_to_keep_to_the_rules() {
    wrong(b"\x81\x01x", 1002, "a frame without a mask");
    wrong(&frame(0xc1, b"x"), 1002, "reserved bits are set");
    wrong(&frame(0x83, b"x"), 1002, "an unknown kind of frame");
    wrong(&frame(0x09, b"x"), 1002, "a control frame in pieces");
    wrong(&frame(0x89, &[0; 126]), 1002, "a control frame that is too long");
    wrong(&frame(0x80, b"x"), 1002, "a continuation of nothing");
    wrong(&[frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002, "a message within another");
    wrong(&frame(0x82, &[0; 1001]), 1009, "a message that is too long");
    wrong(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009, "a message that is too long");
    wrong(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002, "a length that is none");
    let extensions = Rules { extensions: true, ..POLICE };
    let compressed = found(&mut Tracker::default(), &[&frame(0xc1, b"x")], &extensions);
    assert_eq!(compressed, [(7, Found::Message)]);
}

#[test]
fn a_message_is_measured_over_all_its_frames() {
    let pieces = [frame(0x02, &[0; 600]), frame(0x89, &[0; 100]), frame(0x80, &[0; 400])];
    assert_eq!(of(&pieces.concat()).1.last().unwrap().1, Found::Message);
    let pieces = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])];
    assert!(matches!(of(&pieces.concat()).1[1].1, Found::Wrong(1009, _)));
}

#[test]
fn a_payload_may_be_skipped() {
    let bytes = frame(0x82, &[0; 900]);
    let mut tracker = of(&bytes[..100]).0;
    assert_eq!(tracker.left(), 808);
    tracker.skip(800);
    assert_eq!(found(&mut tracker, &[&bytes[900..]], &POLICE), [(8, Found::Message)]);
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(0x81u8),
        Just(0x02),
        Just(0x00),
        Just(0x80),
        Just(0x89),
        Just(0x88),
        any::<u8>()
    ];
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        proptest::collection::vec(any::<u8>(), 120..130),
        proptest::collection::vec(any::<u8>(), 65530..65540),
    ];
    let one = (first, payload).prop_map(|(first, payload)| frame(first, &payload));
    let any = proptest::collection::vec(any::<u8>(), 0..40);
    let part = prop_oneof![4 => one, 1 => any];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn pieces_are_followed_like_the_whole(
        bytes in frames(),
        mut cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        police: bool,
    ) {
        let rules = Rules { police, ..POLICE };
        let mut cuts: Vec<_> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        let (mut whole, mut split) = (Tracker::default(), Tracker::default());
        let expected = found(&mut whole, &[&bytes], &rules);
        prop_assert_eq!(found(&mut split, &pieces, &rules), expected);
        prop_assert_eq!(split, whole);
    }
}

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use towline::framing::Envelope;

fuzz_target!(|line: &[u8]| {
    let Ok(message) = Envelope::parse(line).and_then(Envelope::into_message) else { return };
    let mut written = BytesMut::new();
    Envelope::of(&message, 0.0, None).write(&mut written);
    assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let again = Envelope::parse(&written).and_then(Envelope::into_message);
    assert_eq!(again, Ok(message));
});

//! How bytes become messages and messages bytes.

use crate::support::{Frame, Towline, Ws, ws_server};

/// A server that answers each message with its opcode, its length and its content.
fn describe() -> crate::support::Server {
    ws_server(|mut ws| {
        while let Some(frame) = ws.try_recv() {
            match frame.opcode() {
                Frame::CLOSE => {
                    ws.close(1000, "");
                    return;
                }
                Frame::TEXT => {
                    let text = format!("t{}:{}", frame.payload.len(), frame.text());
                    ws.text(&text.replace(['\n', '\0'], "|"));
                }
                _ => ws.text(&format!("b{}", frame.payload.len())),
            }
        }
    })
}

fn sent(args: &[&str], stdin: &[u8]) -> String {
    let server = describe();
    let out =
        Towline::connect([server.ws("/")]).args(args).args(["--linger", "300ms"]).stdin(stdin);
    let out = out.run();
    out.code(0);
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn lines_lose_their_newline_and_nothing_else() {
    assert_eq!(sent(&[], b"a\n\nb c\r\nlast"), "t1:a\nt0:\nt3:b c\nt4:last\n");
    assert_eq!(sent(&[], b"one\n"), "t3:one\n");
    assert_eq!(sent(&["--binary"], b"one\n"), "b3\n");
}

#[test]
fn a_line_that_is_not_utf8_is_sent_as_binary_and_said() {
    let server = describe();
    let out =
        Towline::connect([server.ws("/")]).args(["--linger", "300ms"]).stdin(b"\xff\xfe\nok\n");
    out.run().code(0).stdout("b2\nt2:ok\n").stderr_has("message 1 of the input is not UTF-8");
    let out = Towline::connect([server.ws("/")]).arg("--text").stdin(b"\xff\n".to_vec()).run();
    out.code(12).stderr_has("not UTF-8");
}

#[test]
fn other_framings() {
    assert_eq!(sent(&["--frame", "nul"], b"a\nb\0c"), "t3:a|b\0t1:c\0");
    assert_eq!(sent(&["--frame", "whole"], b"a\nb\n"), "t4:a|b|");
    assert_eq!(sent(&["--frame", "blank"], b"a\nb\n\n\nc\n"), "t3:a|b\n\nt1:c\n\n");
    // The description comes back in the same framing.
    let text = sent(&["--frame", "len"], b"\0\0\0\x02hi\0\0\0\0");
    assert_eq!(text.as_bytes(), b"\0\0\0\x02b2\0\0\0\x02b0");
}

#[test]
fn the_json_envelope_is_lossless() {
    let server = ws_server(Ws::echo);
    let lines = concat!(
        r#"{"type":"text","data":"a\nb"}"#,
        "\n",
        r#"{"type":"binary","b64":"AAH/"}"#,
        "\n",
        r#"{"type":"ping","b64":"cGk="}"#,
        "\n",
        r#"{"type":"close","code":4000,"reason":"done"}"#,
        "\n"
    );
    let out = Towline::connect([server.ws("/")]).args(["--frame", "json"]).stdin(lines).run();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["data"], "a\nb");
    assert_eq!(rows[1]["b64"], "AAH/");
    assert!(rows.iter().any(|row| row["type"] == "pong" && row["b64"] == "cGk="), "{text}");
    assert!(rows[0]["ts"].is_number());
}

#[test]
fn a_broken_envelope_is_named_with_its_line() {
    let server = ws_server(Ws::echo);
    let lines = "{\"type\":\"text\",\"data\":\"ok\"}\nnonsense\n";
    let out = Towline::connect([server.ws("/")]).args(["--frame", "json"]).stdin(lines).run();
    out.code(2).stderr_has("line 2 of the input: not an envelope").stderr_has("hint: ");
}

#[test]
fn one_message_is_one_unit_however_large() {
    let server = ws_server(Ws::echo);
    let mut line = "x".repeat(1 << 20);
    line.push('\n');
    Towline::connect([server.ws("/")]).stdin(line.clone()).run().code(0).stdout(&line);
}

#[test]
fn a_message_over_the_limit_is_a_1009_and_no_cut() {
    let server = ws_server(|mut ws| {
        ws.text(&"x".repeat(2000));
        assert_eq!(ws.until_close(), 1009);
    });
    let limit = ["--max-message", "1000"];
    let out = Towline::connect([server.ws("/")]).args(limit).stdin_open().run();
    out.code(12).stdout("").stderr_has("2000 bytes").stderr_has("--max-message");
    let server = ws_server(|mut ws| {
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).args(limit).stdin("y".repeat(1001)).run();
    out.code(12).stderr_has("--max-message");
}

#[test]
fn newlines_inside_a_message_are_kept_and_said() {
    let server = ws_server(|mut ws| {
        ws.text("line1\nline2");
        ws.close(1000, "");
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).stdin_null().run();
    out.code(0).stdout("line1\nline2\n").stderr_has("--frame json");
}

#[test]
fn types_are_kept_from_websocket_to_websocket() {
    let server = ws_server(Ws::echo);
    let relay = Towline::serve(["ws://127.0.0.1:0", &server.ws("/")]);
    let mut ws = Ws::connect(&relay.address());
    ws.text("t");
    ws.binary("b");
    ws.text("");
    let seen: Vec<_> = (0..3).map(|_| ws.recv()).map(|it| (it.opcode(), it.payload)).collect();
    assert_eq!(
        seen,
        [(Frame::TEXT, b"t".to_vec()), (Frame::BINARY, b"b".to_vec()), (Frame::TEXT, vec![])]
    );
}

#[test]
fn every_byte_arrives_in_raw_framing() {
    let data: Vec<u8> =
        (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let server = ws_server(Ws::echo);
    let out = Towline::connect([server.ws("/")]).args(["--frame", "raw"]).stdin(data.clone()).run();
    out.code(0).stdout_bytes(&data);
}

#[test]
fn an_envelope_cannot_say_a_reserved_close_code() {
    for code in [0, 999, 1004, 1006, 1015, 1016, 5000] {
        let server = describe();
        let out = Towline::connect([server.ws("/")]).args(["--frame", "json"]);
        let out = out.stdin(format!("{{\"type\":\"close\",\"code\":{code}}}\n")).run();
        out.code(2).stderr_has(&format!("the close code {code} cannot be sent"));
    }
}

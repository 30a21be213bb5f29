//! How much of what clients may have.

use super::*;

#[test]
fn a_websocket_that_is_open_is_no_handshake() {
    let server = ws_server(Ws::echo);
    for target in ["echo:", &backend(&server)] {
        let proxy = proxy(&[target, "--max-handshakes=1"]);
        let mut clients = [Ws::connect(&url(&proxy, "/")), Ws::connect(&url(&proxy, "/"))];
        for client in &mut clients {
            client.text("in");
            assert_eq!(client.recv().text(), "in");
        }
    }
}

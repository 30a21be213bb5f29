// An echo server of npm's `ws` that grants compression.

const { WebSocketServer } = require("ws");

const options = { host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } };
const server = new WebSocketServer(options, () => {
    console.error(`listening on ws://127.0.0.1:${server.address().port}`);
});

server.on("connection", ws => {
    // Half of the cases break the protocol.
    ws.on("error", () => {});
    ws.on("message", (data, binary) => ws.send(data, { binary }));
});

// A server of npm's `ws` with its defaults, which grant the first subprotocol that is offered. For
// each message it says what it was; `bye` is answered with a Close. The argument `deflate` has it
// compress what is longer than 32 bytes.

const { WebSocketServer } = require("ws");

const perMessageDeflate = process.argv[2] === "deflate" && { threshold: 32 };
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate }, () => {
    console.error(`listening on ws://127.0.0.1:${server.address().port}`);
});

server.on("connection", ws => {
    ws.on("message", (data, isBinary) => {
        if (data.toString() === "bye") return ws.close(1000, "bye");
        ws.send(`${ws.protocol} ${isBinary ? "binary" : "text"} ${data}`);
    });
});

// A client of npm's `ws`: sends 1000 messages without waiting for answers, and checks those.

const assert = require("node:assert");
const WebSocket = require("ws");

const messages = Array.from({ length: 1000 }, (_, n) =>
    n % 2 ? `message ${n}` : Buffer.alloc(n * 10, n),
);
const ws = new WebSocket(process.argv[2]);
let next = 0;

ws.on("open", () => messages.forEach(message => ws.send(message)));
ws.on("message", (data, isBinary) => {
    const sent = messages[next];
    assert.strictEqual(isBinary, typeof sent !== "string", `message ${next}`);
    assert.ok(data.equals(Buffer.from(sent)), `message ${next}`);
    next += 1;
    if (next === messages.length) ws.close(4000, "all there");
});
ws.on("close", (code, reason) => {
    assert.strictEqual(next, messages.length);
    assert.strictEqual(`${code} ${reason}`, "4000 all there");
});

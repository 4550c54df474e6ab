// An endpoint on Node's tls module, which Bun and Deno offer too (on BoringSSL and on rustls). Settings as in endpoint.h.
const tls = require("node:tls");
const net = require("node:net");
const fs = require("node:fs");

const settings = Object.fromEntries(process.argv.slice(2).map((text) => [text.split("=")[0], text.slice(text.indexOf("=") + 1)]));
const isClient = settings.role === "client";
const CIPHERS = {
  aes128: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", aes256: "TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384",
  chacha: "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", cbc: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-SHA",
  ccm8: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-CCM8",
};

function options() {
  const old = (settings.min || "1.2") < "1.2";
  const made = { minVersion: "TLSv" + (settings.min || "1.2"), maxVersion: "TLSv" + (settings.max || "1.3") };
  made.minVersion = made.minVersion.replace("1.0", "1");
  made.maxVersion = made.maxVersion.replace("1.0", "1");
  for (const name of ["cert", "key"]) if (settings[name]) made[name] = fs.readFileSync(settings[name]);
  if (settings.ca) made.ca = [fs.readFileSync(settings.ca)];
  if (old) made.ciphers = "ALL:@SECLEVEL=0";
  if (settings.ciphers) made.ciphers = CIPHERS[settings.ciphers];
  if (settings.groups) made.ecdhCurve = settings.groups;
  if (settings.alpn) made.ALPNProtocols = [settings.alpn];
  if (settings.tickets === "0") made.secureOptions = require("node:constants").SSL_OP_NO_TICKET;
  return made;
}

function keepKeys(emitter) {
  if (settings.keylog) emitter.on("keylog", (line) => fs.appendFileSync(settings.keylog, line));
}

function text(error) {
  return [error.code, error.message].filter(Boolean).join(": ").replace(/\s+/g, " ");
}

function client(turn, session) {
  const local = Number(settings.local) + turn;
  const account = { peer: local, done: false, got: 0 };
  let kept;
  const where = { host: "127.0.0.1", port: Number(settings.port), localPort: local, localAddress: "127.0.0.1" };
  const socket = tls.connect({ ...options(), ...where, servername: settings.sni, rejectUnauthorized: settings.verify === "1", session });
  keepKeys(socket);
  socket.setTimeout(1000 * Number(settings.wait || 8), () => socket.destroy(new Error("ETIMEDOUT: timed out")));
  socket.on("session", (made) => (kept = made));
  socket.on("secureConnect", () => {
    Object.assign(account, { done: true, version: socket.getProtocol(), resumed: socket.isSessionReused() });
    if (settings.leave === "1") return socket.end();
    if (settings.first !== "1") socket.write("GET / HTTP/1.0\r\nHost: lab\r\n\r\n");
  });
  socket.on("data", (data) => {
    if (settings.first === "1" && !account.got) socket.write("GET / HTTP/1.0\r\nHost: lab\r\n\r\n");
    account.got += data.length;
  });
  socket.on("error", (error) => (account.error = account.error || text(error)));
  socket.on("close", () => {
    console.log(JSON.stringify(account));
    if (settings.again === "1" && !turn) client(1, kept);
    else setTimeout(() => process.exit(0), 50);
  });
}

function server() {
  const made = { ...options(), requestCert: (settings.auth || "none") !== "none", rejectUnauthorized: settings.auth === "require" };
  if (settings.alert) made.SNICallback = (name, done) => done(new Error("refused"));
  const accounts = new Map();
  const listener = tls.createServer(made, (socket) => {
    const account = accounts.get(socket.remotePort) || {};
    Object.assign(account, { done: true, version: socket.getProtocol(), resumed: socket.isSessionReused() });
    if (settings.first === "1") socket.write("220 lab ready\r\n");
    socket.on("data", (data) => {
      account.got += data.length;
      socket.end("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
    });
    socket.on("error", (error) => (account.error = account.error || text(error)));
    socket.on("end", () => socket.end());
  });
  keepKeys(listener);
  listener.on("connection", (socket) => {
    const account = { peer: socket.remotePort, done: false, got: 0 };
    accounts.set(socket.remotePort, account);
    socket.on("close", () => setTimeout(() => console.log(JSON.stringify(account)), 20));
  });
  listener.on("tlsClientError", (error, socket) => {
    const account = accounts.get(socket.remotePort) || accounts.get(socket._parent?.remotePort) || [...accounts.values()].pop();
    if (account) account.error = account.error || text(error);
  });
  listener.listen(Number(settings.port), "127.0.0.1");
}

if (isClient) client(0);
else server();

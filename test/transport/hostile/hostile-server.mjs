// A hostile server for clients, in a process of its own and with the lowest priority. Before its first attack, it answers nothing, and
// between attacks what it should:
//   node --import ./test/support/typescript.mjs hostile-server.mjs --port 50052
// Its commands and their answers are those of attacker.mjs.
import { setPriority } from 'node:os';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  FLAG,
  FRAME,
  FrameReader,
  PREFACE,
  ping,
  settings,
  settingsAck,
  windowUpdate,
} from '../../unit-support/frames.js';
import { CLIENT_ATTACKS, HONEST } from './client-attacks.js';

const { values } = parseArgs({ options: { port: { type: 'string' } } });
setPriority(19);

let plan = {};
let opened = 0;
let closedBytes = 0;
const sockets = new Set();
const sentBytes = () =>
  [...sockets].reduce((sum, socket) => sum + socket.bytesWritten - socket.writableLength, closedBytes);

const server = createServer({ noDelay: true }, (socket) => {
  const { greets = true, reads = true, closes, bytes, settings: pairs = [], ...own } = plan;
  opened += 1;
  sockets.add(socket);
  let latest = 0;
  const write = (frames) => {
    // A client that reads nothing must not fill the memory of this process.
    if (socket.writableLength < 1_000_000) socket.write(frames);
  };
  const reader = new FrameReader(PREFACE.length, ({ type, flags, stream, payload }) => {
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.settings && !isAck) write(settingsAck());
    if (type === FRAME.ping && !isAck) write(ping(payload, FLAG.ack));
    if (type !== FRAME.headers) return;
    latest = stream;
    if (own.answer) write(own.answer(stream));
    if (closes) socket.end();
    if (!reads) socket.pause();
  });
  socket.on('data', (chunk) => reader.read(chunk)).on('error', () => undefined);
  if (greets) write(Buffer.concat([settings(...pairs), windowUpdate(0, 2 ** 30)]));
  if (closes === 'at once') socket.end();
  const timer = setInterval(() => {
    if (bytes && (latest > 0 || !greets)) write(bytes(latest));
  }, 10);
  socket.once('close', () => {
    clearInterval(timer);
    sockets.delete(socket);
    closedBytes += socket.bytesWritten;
  });
});
server.listen(Number(values.port), '127.0.0.1');

function change(next) {
  plan = next;
  for (const socket of sockets) socket.destroy();
  return {};
}

process.on('message', async ({ attack, ms, stop }) => {
  if (stop) process.send(change({ answer: HONEST }));
  else if (attack !== undefined) process.send(change(CLIENT_ATTACKS[attack]));
  else {
    const before = sentBytes();
    await pause(ms);
    process.send({ bytes: sentBytes() - before, opened });
  }
});
process.once('disconnect', () => process.exit(0));
server.once('listening', () => process.send({ listening: Number(values.port) }));

// A hostile client of a server, in a process of its own and with the lowest priority, so that it does not take the processor from the server:
//   node --import ./test/support/typescript.mjs attacker.mjs --port 50051
// Each IPC message is a command, with an answer: { attack, scale, seed } sets an attack up, { ms } attacks for that time and returns the
// numbers of sent bytes and of connections, and { stop: true } closes all connections.
import { connect } from 'node:net';
import { setPriority } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
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
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { CHURN, SERVER_ATTACKS } from './attacks.js';

const { values } = parseArgs({ options: { port: { type: 'string' } } });
setPriority(19);

/** Time within which the server must have read what an attack sends first. */
const SETUP_MS = 20_000;
/** Size of a ClientHello, a key exchange, and a Finished. */
const RENEGOTIATION_BYTES = 500;

class Signal {
  promise = new Promise((resolve) => (this.send = resolve));
}

class Attack {
  sockets = new Set();
  ended = [];
  opened = 0;
  closedBytes = 0;
  begins = new Signal();
  ends = new Signal();
  isOver = false;

  constructor({ attack, scale, seed }) {
    this.plan = {
      connections: 4,
      settings: [],
      window: 2 ** 30,
      ids: 0,
      everyMs: 10,
      reads: true,
      from: 1,
      ...(attack === 'churn' ? CHURN : SERVER_ATTACKS[attack]),
    };
    this.streams = Math.ceil((this.plan.opens ?? 0) * scale);
    this.random = seededRandom(seed);
    const count = Math.ceil(this.plan.connections * (this.plan.isOnce ? scale : 1));
    this.connections = Array.from({ length: count }, (_, index) => {
      const isReady = new Signal();
      return { isReady: isReady.promise, ended: this.connect(index, isReady.send) };
    });
  }

  get sentBytes() {
    const sent = [...this.sockets].map((socket) => socket.bytesWritten - socket.writableLength);
    return this.closedBytes + sent.reduce((sum, bytes) => sum + bytes, 0);
  }

  async setUp() {
    await Promise.race([Promise.all(this.connections.map(({ isReady }) => isReady)), pause(SETUP_MS)]);
    return {};
  }

  async attack(ms) {
    const before = this.sentBytes;
    this.begins.send();
    await pause(ms);
    return { bytes: this.sentBytes - before, opened: this.opened };
  }

  async stop() {
    this.isOver = true;
    this.ends.send();
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.connections.map(({ ended }) => ended));
    return {};
  }

  async connect(index, isReady) {
    await pause(index);
    while (!this.isOver) {
      const { renegotiates, recordBytes } = this.plan;
      const socket = connect({ port: Number(values.port), host: '127.0.0.1', noDelay: true });
      this.opened += 1;
      this.sockets.add(socket);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => undefined);
      void closed.then(isReady);
      if (renegotiates) await this.renegotiate(socket, closed, isReady);
      else await this.send(recordBytes === undefined ? socket : this.secure(socket), closed, isReady);
      socket.destroy();
      await closed;
      this.sockets.delete(socket);
      this.closedBytes += socket.bytesWritten;
      if (this.plan.isOnce) return;
      await pause(20);
    }
  }

  async send(socket, closed, isReady) {
    const { plan } = this;
    // It grows as the server reads.
    let window = plan.windowOf === undefined ? Infinity : 65_535;
    const reader = new FrameReader(0, ({ type, flags, stream, payload }) => {
      if (type === FRAME.windowUpdate && stream === plan.windowOf) window += payload.readUInt32BE(0);
      if (type === FRAME.ping && (flags & FLAG.ack) !== 0) {
        isReady();
        // To look at the rest would take longer than to send.
        if (plan.windowOf === undefined) socket.removeAllListeners('data').resume();
      }
    });
    if (plan.reads) socket.on('data', (bytes) => reader.read(bytes));
    const write = async (bytes) => {
      // Where the reads of the server end differs from seed to seed.
      const { recordBytes = bytes.length } = plan;
      const cut = Math.trunc(this.random() * Math.min(recordBytes, bytes.length));
      socket.write(bytes.subarray(0, cut));
      for (let at = cut; at < bytes.length; at += recordBytes) socket.write(bytes.subarray(at, at + recordBytes));
      if (!socket.writableNeedDrain) return;
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed, this.ends.promise]);
    };
    if (!plan.isSilent)
      await write(Buffer.concat([PREFACE, settings(...plan.settings), settingsAck(), windowUpdate(0, plan.window)]));
    if (plan.setup) await write(plan.setup(this.streams));
    if (plan.reads && !plan.isSilent) await write(ping(Buffer.alloc(8)));
    else isReady();
    await Promise.race([this.begins.promise, closed]);
    let writes = 0;
    for (let id = 2 * Math.ceil(this.streams * plan.from) + 1; !socket.destroyed && !this.isOver;) {
      if (writes++ === plan.writes) return;
      if (plan.bytes && window > 0 && !(this.sentBytes >= plan.maxBytes)) {
        const bytes = plan.bytes(id);
        id += 2 * plan.ids;
        if (plan.windowOf !== undefined) window -= bytes.length;
        await write(bytes);
      }
      await Promise.race([closed, this.ends.promise, pause(plan.bytes ? plan.everyMs : 100)]);
    }
  }

  /** TLS on a socket, each write in a record of its own. */
  secure(raw, versions = {}) {
    const options = { host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], ...versions };
    const socket = connectTls({ socket: raw, ...options }).on('error', () => undefined);
    // Without it, what waits leaves in one record.
    socket._writev = null;
    return socket;
  }

  async renegotiate(raw, closed, isReady) {
    const socket = this.secure(raw, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }).resume();
    socket.once('secureConnect', () => {
      socket.write(Buffer.concat([PREFACE, settings(), settingsAck()]));
      isReady();
    });
    await Promise.race([this.begins.promise, closed]);
    while (!this.isOver && !socket.destroyed) {
      const answered = new Promise((resolve) => {
        if (!socket.renegotiate({}, resolve)) resolve();
      });
      this.closedBytes += RENEGOTIATION_BYTES;
      await Promise.race([Promise.all([answered, pause(10)]), closed, this.ends.promise]);
    }
  }
}

let attack;
process.on('message', async ({ ms, stop, ...plan }) => {
  if (stop) process.send(await attack.stop());
  else if (ms !== undefined) process.send(await attack.attack(ms));
  else process.send(await (attack = new Attack(plan)).setUp());
});
// Keeps the process alive between two commands.
setInterval(() => undefined, 1_000);
process.once('disconnect', () => process.exit(0));
process.send({ listening: Number(values.port) });

import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import {
  FLAG,
  FRAME,
  FrameReader,
  PREFACE,
  SETTING,
  frame,
  headers,
  ping,
  settings,
  settingsAck,
  windowUpdate,
  type ReadFrame,
} from '../unit-support/frames.js';
import { message, type Step } from './hostile-frames.js';

const MAX_WINDOW_INCREMENT = 2 ** 30;
const SETTINGS = settings(
  [SETTING.headerTableSize, 0],
  [SETTING.maxConcurrentStreams, 1_000],
  [SETTING.initialWindowSize, 65_535],
  [SETTING.maxFrameSize, 16_384],
  [SETTING.maxHeaderListSize, 65_535],
);

const LAST_PING = Buffer.from('the last');

/** Waits until a peer in the same process has read and handled all bytes sent to it. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** Runs `steps` on `socket`, and batches all bytes between two actions into one write. Resolves to true if the framing may be broken. */
export async function runSteps(socket: Socket, steps: readonly Step[], streams: readonly number[]): Promise<boolean> {
  let isBroken = false;
  let pending: Buffer[] = [];
  const flush = (): void => {
    if (pending.length > 0 && socket.writable) socket.write(Buffer.concat(pending));
    pending = [];
  };
  for (const { bytes, act, breaksFraming = false } of steps) {
    if (bytes !== undefined) pending.push(bytes(streams));
    isBroken ||= breaksFraming;
    if (act === undefined) continue;
    flush();
    if (act === 'turn') await turns(2);
    if (act === 'stall') socket.pause();
    if (act === 'fin') socket.end();
    if (act === 'rst') reset(socket);
  }
  flush();
  return isBroken;
}

/** Closes `socket`, by RST if `byReset`, else by FIN after all written bytes. Resolves when it is closed or has failed. */
export async function end(socket: Socket, byReset: boolean): Promise<void> {
  if (socket.closed) return;
  // 'error' occurs if the peer resets the connection. If that happens before a FIN has left, a reset fails, and no 'close' follows.
  const closed = new Promise((resolve) => socket.once('close', resolve).once('error', resolve));
  socket.resume();
  if (byReset) reset(socket);
  else socket.destroySoon();
  await closed;
}

/** Resets a connection. Waits for an unsent FIN if all data is sent: an earlier reset fails with EINVAL, and Node leaks the socket. */
function reset(socket: Socket): void {
  const isEnding = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  if (isEnding) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

interface Connection {
  readonly socket: Socket;
  /** Unanswered streams. */
  readonly open: number[];
  isBroken: boolean;
  /** Called when the client has handled all frames sent before `LAST_PING`. */
  caughtUp: () => void;
}

/** A server that writes raw HTTP/2 frames. It serves every call correctly, except while a sequence holds calls. */
export class HostileServer {
  private readonly connections = new Set<Connection>();
  private held: { connection: Connection; streams: number[]; wanted: number; resolve: () => void } | undefined;
  private isHolding = false;
  private greeting: readonly Step[] | undefined;

  private constructor(private readonly listener: Server) {
    listener.on('connection', (socket) => void this.accept(socket));
  }

  static async start(): Promise<HostileServer> {
    const listener = createServer();
    const server = new HostileServer(listener);
    await once(listener.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  get url(): string {
    // The cast is safe because the server listens on TCP.
    return `127.0.0.1:${(this.listener.address() as AddressInfo).port}`;
  }

  /** Stops answering calls. Resolves when `count` calls have started on one connection. */
  hold(count: number): Promise<void> {
    this.isHolding = true;
    return new Promise((resolve) => {
      this.held = { connection: NO_CONNECTION, streams: [], wanted: count, resolve };
    });
  }

  /** Ends every connection, and from now on sends `steps` on each new connection before SETTINGS. */
  async greetWith(steps: readonly Step[]): Promise<void> {
    this.greeting = steps;
    await this.endAll(false);
  }

  /** Runs `steps` on the connection of the held calls. */
  async run(steps: readonly Step[]): Promise<void> {
    const { connection, streams } = this.held ?? { connection: NO_CONNECTION, streams: [] };
    if (connection === NO_CONNECTION) return;
    const isBroken = await runSteps(connection.socket, steps, streams);
    connection.isBroken ||= isBroken;
  }

  /** Serves calls correctly from now on. Applies `ending` to the current connections; those with broken framing are always ended. */
  async behave(ending: 'answer' | 'unanswered' | 'fin' | 'rst'): Promise<void> {
    this.isHolding = false;
    this.held = undefined;
    this.greeting = undefined;
    for (const connection of [...this.connections]) {
      const { socket, open, isBroken } = connection;
      if (isBroken || !socket.writable || ending === 'fin' || ending === 'rst') {
        await end(socket, ending === 'rst');
        continue;
      }
      socket.resume();
      socket.write(SETTINGS);
      if (ending === 'answer') for (const stream of open.splice(0)) socket.write(answer(stream));
      open.length = 0;
      // Otherwise, frames of the sequence could reach the stream of a later call, and its limits could refuse that call.
      const caughtUp = new Promise<void>((resolve) => {
        connection.caughtUp = resolve;
        socket.once('close', resolve);
      });
      socket.write(ping(LAST_PING));
      await caughtUp;
    }
    await turns();
  }

  async endAll(byReset: boolean): Promise<void> {
    for (const { socket } of [...this.connections]) await end(socket, byReset);
  }

  async close(): Promise<void> {
    await this.endAll(true);
    await new Promise((resolve) => this.listener.close(resolve));
  }

  private async accept(socket: Socket): Promise<void> {
    const connection: Connection = { socket, open: [], isBroken: false, caughtUp: () => undefined };
    this.connections.add(connection);
    socket.on('error', () => undefined);
    socket.once('close', () => this.connections.delete(connection));
    const reader = new FrameReader(PREFACE.length, (read) => {
      this.onFrame(connection, read);
    });
    socket.on('data', (bytes) => {
      reader.read(bytes);
    });
    if (this.greeting !== undefined) connection.isBroken = await runSteps(socket, this.greeting, []);
    if (!connection.isBroken && socket.writable)
      socket.write(Buffer.concat([SETTINGS, windowUpdate(0, MAX_WINDOW_INCREMENT)]));
  }

  private onFrame(connection: Connection, { type, flags, stream, payload }: ReadFrame): void {
    const { socket } = connection;
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.headers) this.onRequest(connection, stream);
    if (type === FRAME.ping && isAck && payload.equals(LAST_PING)) connection.caughtUp();
    if (!socket.writable) return;
    if (type === FRAME.settings && !isAck) socket.write(settingsAck());
    if (type === FRAME.ping && !isAck) socket.write(ping(payload, FLAG.ack));
  }

  private onRequest(connection: Connection, stream: number): void {
    const { held } = this;
    if (!this.isHolding) {
      if (connection.socket.writable) connection.socket.write(answer(stream));
      return;
    }
    connection.open.push(stream);
    if (held === undefined) return;
    if (held.connection !== connection) {
      held.connection = connection;
      held.streams = [];
    }
    held.streams.push(stream);
    if (held.streams.length === held.wanted) held.resolve();
  }
}

// The cast is safe because the object is only compared by identity.
const NO_CONNECTION = {} as Connection;

function answer(stream: number): Buffer {
  return Buffer.concat([
    headers(stream, { ':status': '200', 'content-type': 'application/grpc' }),
    frame(FRAME.data, 0, stream, message(Buffer.alloc(0))),
    headers(stream, { 'grpc-status': '0' }, FLAG.endStream),
  ]);
}

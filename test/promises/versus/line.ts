import { once } from 'node:events';
import { createServer as createAnswers, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from '../../support/free-port.mjs';
import type { EndedConnection } from './judge.js';
import { SIDES, type Schedule, type Side } from './schedule.js';

/** What happens to new connections. */
type Rule =
  | { readonly kind: 'forward' | 'reset' }
  | { readonly kind: 'slow'; readonly everyMs: number }
  | { readonly kind: 'answer'; readonly status: number; readonly answers: number };

type Speed = NonNullable<Schedule['line']>;
type LineEnd = Omit<EndedConnection, 'atMs'> & { readonly at: number };

const UNLIMITED: Speed = { bytesPerSecond: Infinity, delayMs: 0 };
const FORWARD: Rule = { kind: 'forward' };
/** GOAWAY with NO_ERROR that rejects no stream, as servers send it first when they shut down. */
const GOAWAY = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** A line from the clients of both sides to one server, whose faults hit both in the same turn of the event loop. */
export class Line {
  /** Set while the server is killed, so that its connections do not end by its will. */
  isServerDown = false;
  rule: Rule = FORWARD;
  readonly ended: LineEnd[] = [];
  private readonly connections = new Set<Connection>();
  private readonly sessions = new Set<ServerHttp2Session>();
  private readonly answering: Http2Server;
  private servers: readonly Server[] = [];

  private constructor(
    private readonly port: number,
    /** A port for the clients of each side, so that the line knows whose a connection is. */
    readonly ports: Readonly<Record<Side, number>>,
    readonly speed: Speed,
  ) {
    this.answering = createAnswers((request, response) => {
      const rule = this.rule;
      request.resume();
      response.writeHead(rule.kind === 'answer' ? rule.status : 502, { 'content-type': 'text/plain' });
      response.end('from the proxy');
    }).on('session', (session) => {
      let left = this.rule.kind === 'answer' ? this.rule.answers : 1;
      this.sessions.add(session);
      session.on('error', () => undefined).once('close', () => this.sessions.delete(session));
      // Renews the connection, as nginx's keepalive_requests does.
      session.on('stream', () => {
        left -= 1;
        if (left === 0) session.close();
      });
    });
  }

  static async start(port: number, speed = UNLIMITED): Promise<Line> {
    const line = new Line(port, { ours: await freePort(), theirs: await freePort() }, speed);
    await line.listen();
    return line;
  }

  async listen(): Promise<void> {
    this.servers = SIDES.map((side) =>
      createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        this.accept(side, socket);
      }).listen(this.ports[side], '127.0.0.1'),
    );
    await Promise.all(this.servers.map((server) => once(server, 'listening')));
  }

  refuse(): void {
    for (const server of this.servers) server.close();
  }

  resetAll(): void {
    for (const connection of this.connections) connection.reset();
  }

  goaway(): void {
    for (const connection of this.connections) connection.goaway();
  }

  forward(): void {
    this.rule = FORWARD;
    for (const session of this.sessions) session.close();
  }

  close(): void {
    this.refuse();
    this.resetAll();
    for (const session of this.sessions) session.destroy();
  }

  private accept(side: Side, client: Socket): void {
    client.on('error', () => undefined);
    const { rule } = this;
    if (rule.kind === 'reset') client.resetAndDestroy();
    else if (rule.kind === 'answer') this.answering.emit('connection', client);
    else if (rule.kind === 'slow')
      setTimeout(() => {
        if (!client.destroyed) this.join(side, client);
      }, rule.everyMs);
    else this.join(side, client);
  }

  private join(side: Side, client: Socket): void {
    const upstream = connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const connection = new Connection(client, upstream, this.speed, (end) => {
      this.connections.delete(connection);
      const isServerDown = end?.by === 'server' && this.isServerDown;
      if (end !== undefined && !isServerDown) this.ended.push({ ...end, side, at: Date.now() });
    });
    this.connections.add(connection);
  }
}

type ConnectionEnd = Omit<EndedConnection, 'side' | 'atMs'>;

class Connection {
  private readonly startedAt = performance.now();
  private readonly fromClient = new Frames(PREFACE_BYTES);
  private readonly frames = new Frames(0);
  private readonly toClient: Pipe;
  private readonly toServer: Pipe;
  private isOver = false;
  private goawayDue = false;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    speed: Speed,
    /** Called once, without an end if the line or a planned end closed the connection. */
    private readonly onOver: (end?: ConnectionEnd) => void,
  ) {
    this.toClient = new Pipe(server, client, speed);
    this.toServer = new Pipe(client, server, speed);
    client.on('data', (bytes: Buffer) => {
      this.fromClient.follow(bytes);
      this.toServer.write(bytes);
    });
    server.on('data', (bytes: Buffer) => {
      this.frames.follow(bytes);
      this.toClient.write(bytes);
      if (this.goawayDue) this.goaway();
    });
    for (const [by, socket, to] of [
      ['client', client, this.toServer],
      ['server', server, this.toClient],
    ] as const) {
      const ended = (how: 'end' | 'reset') => () => {
        this.over(by);
        to[how]();
      };
      socket.once('end', ended('end')).on('error', ended('reset')).once('close', ended('end'));
    }
  }

  /** Sends GOAWAY to the client as soon as no frame of the server is incomplete. */
  goaway(): void {
    this.goawayDue = !this.frames.isComplete;
    if (this.goawayDue || this.frames.goawayCode !== undefined) return;
    this.frames.goawayCode = 0;
    this.toClient.write(GOAWAY);
  }

  reset(): void {
    this.over();
    this.toClient.reset();
    this.toServer.reset();
  }

  private over(first?: 'client' | 'server'): void {
    if (this.isOver) return;
    this.isOver = true;
    const { goawayCode = 0 } = this.frames;
    // A GOAWAY with an error is the server's end of the connection, whoever closes the socket.
    const by = goawayCode > 0 ? 'server' : first;
    // The client closes the slower of two connections that it tried at once, before it has calls.
    const isPlanned = by === undefined || this.frames.goawayCode === 0 || !this.fromClient.hasHeaders;
    const now = performance.now();
    const { lastAt } = by === 'client' ? this.toClient : this.toServer;
    this.onOver(isPlanned ? undefined : { by, livedMs: now - this.startedAt, silentMs: now - lastAt });
  }
}

const PREFACE_BYTES = 24;
const HEADERS = 1;

/** Follows the frames that one end sends. */
class Frames {
  /** Error code of the last GOAWAY. */
  goawayCode: number | undefined;
  hasHeaders = false;
  private readonly head = Buffer.alloc(17);
  private got = 0;

  /** @param left bytes before the first frame */
  constructor(private left: number) {}

  /** True if another frame may follow. */
  get isComplete(): boolean {
    return this.got === 0 && this.left === 0;
  }

  follow(bytes: Buffer): void {
    for (let offset = 0; offset < bytes.length;) {
      if (this.left > 0) {
        const passed = Math.min(this.left, bytes.length - offset);
        this.left -= passed;
        offset += passed;
        continue;
      }
      // Of GOAWAY (type 7), the last stream and the code, too.
      const needed = this.got >= 9 && this.head[3] === 7 ? 17 : 9;
      const copied = bytes.copy(this.head, this.got, offset, offset + needed - this.got);
      this.got += copied;
      offset += copied;
      if (this.got < needed || (needed === 9 && this.head[3] === 7)) continue;
      this.left = this.head.readUIntBE(0, 3) - (needed - 9);
      this.hasHeaders ||= this.head[3] === HEADERS;
      if (needed === 17) this.goawayCode = this.head.readUInt32BE(13);
      this.got = 0;
    }
  }
}

/** Bytes above which a pipe stops reading. */
const MAX_QUEUED = 65_536;

/** One direction of a connection. */
class Pipe {
  /** When the sink got its last byte. */
  lastAt = performance.now();
  private readonly queue: { readonly dueAt: number; readonly bytes: Buffer | undefined }[] = [];
  private queued = 0;
  private freeAt = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly source: Socket,
    private readonly sink: Socket,
    private readonly speed: Speed,
  ) {}

  write(bytes: Buffer): void {
    // Bytes of a slow line arrive one after the other, not as a late block.
    const size = Math.max(1_000, Math.trunc(this.speed.bytesPerSecond / 50));
    for (let from = 0; from < bytes.length; from += size) this.enqueue(bytes.subarray(from, from + size));
    if (this.queued > MAX_QUEUED) this.source.pause();
  }

  end(): void {
    this.enqueue();
  }

  reset(): void {
    clearTimeout(this.timer);
    this.queue.length = 0;
    this.source.resume();
    this.sink.resetAndDestroy();
  }

  private enqueue(bytes?: Buffer): void {
    const { bytesPerSecond, delayMs } = this.speed;
    const length = bytes?.length ?? 0;
    this.freeAt = Math.max(this.freeAt, performance.now()) + (length / bytesPerSecond) * 1_000;
    this.queue.push({ dueAt: this.freeAt + delayMs, bytes });
    this.queued += length;
    if (this.queue.length === 1) this.flush();
  }

  private flush(): void {
    for (let next = this.queue[0]; next !== undefined; next = this.queue[0]) {
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.timer = setTimeout(() => {
          this.flush();
        }, waitMs);
        return;
      }
      this.queue.shift();
      this.queued -= next.bytes?.length ?? 0;
      if (next.bytes === undefined) this.sink.end();
      else this.deliver(next.bytes);
      if (this.queued <= MAX_QUEUED) this.source.resume();
    }
  }

  private deliver(bytes: Buffer): void {
    if (!this.sink.writable) return;
    this.lastAt = performance.now();
    if (this.sink.write(bytes)) return;
    this.source.pause();
    this.sink.once('drain', () => {
      this.source.resume();
    });
  }
}

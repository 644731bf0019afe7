import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { resetSocket } from '../tcp-listener.js';
import { turn } from '../virtual-clock.js';
import type { CloseMode } from '../fault-proxy/faults.js';

type Done = (error?: Error | null) => void;

/**
 * The socket of an HTTP/2 session, with control over outgoing frames. node:http2 writes whole frames, so other frames can be injected
 * between two of its writes. Emits 'lost' when the peer has disconnected. The session is not notified, so that the owner can forward
 * earlier data first.
 */
export class SessionWire extends Duplex {
  /** The way the peer disconnected; `undefined` while it is connected. */
  lost: CloseMode | undefined;
  /** The first error of the connection; `undefined` if none. */
  failure: Error | undefined;
  private readonly idleResolvers: (() => void)[] = [];
  private held: (() => void)[] | undefined;
  private isOver = false;

  /**
   * @param socket either `tcp` or the TLS socket on top of it
   * @param outgoing changes the frames that the session writes
   */
  constructor(
    private readonly socket: Socket,
    private readonly tcp: Socket,
    private readonly outgoing: (frames: Buffer) => Buffer = (frames) => frames,
  ) {
    super();
    socket.on('data', (bytes: Buffer) => {
      if (!this.push(bytes)) socket.pause();
    });
    socket.once('end', () => this.lose('fin'));
    socket.once('close', () => this.lose('fin'));
    for (const one of new Set([socket, tcp])) {
      one.on('error', (error: Error) => {
        this.failure ??= error;
        this.lose('rst');
      });
    }
  }

  /** Holds all written data until `release`. */
  hold(): void {
    this.held ??= [];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const write of held) write();
  }

  /** Writes an additional frame between two writes of the session. */
  inject(frame: Buffer): void {
    this.whenReleased(() => {
      if (!this.isOver) this.socket.write(frame);
    });
  }

  /** Resolves when the session's pending output has been written, or dropped because the connection ended. */
  async idle(): Promise<void> {
    do {
      if (this.writableLength > 0) await new Promise<void>((resolve) => this.idleResolvers.push(resolve));
      // In the next turn, Node notifies the session of the completed write. The session may then write more, which `idle` must wait for.
      for (let turns = 0; turns < 2; turns += 1) await turn();
    } while (this.writableLength > 0);
  }

  /** Ends the connection: 'fin' sends the written data first, 'rst' drops unsent data. Held data and later output are dropped. */
  finish(how: CloseMode): void {
    if (this.isOver) return;
    this.isOver = true;
    if (how === 'rst' && !this.tcp.destroyed) resetSocket(this.tcp);
    else this.socket.destroySoon();
  }

  /** Ends the connection immediately and discards unsent data. */
  cut(): void {
    this.isOver = true;
    this.socket.destroy();
    this.tcp.destroy();
    this.destroy();
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Done): void {
    const written = () => {
      done();
      for (const resolve of this.idleResolvers.splice(0)) resolve();
    };
    this.whenReleased(() => {
      if (this.isOver || this.socket.destroyed) written();
      else this.socket.write(this.outgoing(Buffer.concat(chunks.map(({ chunk }) => chunk))), written);
    });
  }

  override _final(done: Done): void {
    this.finish('fin');
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.finish('fin');
    if (this.tcp.closed) done(error);
    else this.tcp.once('close', () => done(error));
  }

  private lose(how: CloseMode): void {
    if (this.lost !== undefined) return;
    this.lost = how;
    this.emit('lost');
  }

  private whenReleased(write: () => void): void {
    if (this.held === undefined) write();
    else this.held.push(write);
  }
}

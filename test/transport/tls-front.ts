import { connect, type AddressInfo, type Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { createServer, type TlsOptions, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { certificate } from '../support/orders-app.js';

const pem = (name: string): string => readFileSync(certificate(name), 'utf8');

/** Key and certificate `name`. */
export const identity = (name: string): { readonly key: string; readonly cert: string } => ({
  key: pem(`${name}-key`),
  cert: pem(name),
});

/** A TLS server that forwards to a server without TLS. */
export class TlsFront {
  readonly sockets: TLSSocket[] = [];

  private constructor(
    readonly port: number,
    /** Changes key and certificate for new connections. */
    readonly rotate: (name: string) => void,
  ) {}

  /** Starts a front for `port` on 127.0.0.1. It is closed at the end of the test. */
  static async start(port: number, options: TlsOptions = {}): Promise<TlsFront> {
    const all = { ...identity('server'), ca: pem('ca'), ALPNProtocols: ['h2'], ...options };
    const server = createServer(all, (socket) => {
      front.sockets.push(socket);
      const upstream: Socket = connect(port, '127.0.0.1');
      for (const [one, other] of [
        [socket, upstream],
        [upstream, socket],
      ] as const)
        one.on('error', () => other.destroy()).on('close', () => other.destroy());
      socket.pipe(upstream).pipe(socket);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    onTestFinished(async () => {
      for (const socket of front.sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    // Safe: the server listens on TCP.
    const front = new TlsFront((server.address() as AddressInfo).port, (name) => {
      server.setSecureContext({ ...all, ...identity(name) });
    });
    return front;
  }
}

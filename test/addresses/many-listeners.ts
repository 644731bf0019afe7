import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** An empty message. */
const MESSAGE = Buffer.alloc(5);

/** A gRPC server that listens on many TCP ports of 127.0.0.1 and can move to other ports. Closed at the end of the test. */
export class ManyListeners {
  readonly sockets = new Set<Socket>();
  /** Number of connections accepted so far. */
  accepted = 0;
  /** Number of open server-streaming calls. */
  feeds = 0;
  private readonly http2 = createHttp2Server();
  private listeners: readonly Server[] = [];

  constructor() {
    this.http2.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      if (String(headers[':path']).endsWith('ServerStream')) this.feed(stream);
      else answer(stream);
    });
    this.http2.on('session', (session) => session.on('error', () => undefined));
    onTestFinished(() => this.close());
  }

  /** Listens on `count` other ports. The former ports accept no more connections; their open connections stay open. */
  async move(count: number): Promise<readonly string[]> {
    const listeners = await Promise.all(Array.from({ length: count }, () => this.listen()));
    for (const listener of this.listeners) listener.close();
    this.listeners = listeners;
    // The cast is safe because the servers listen on TCP.
    return listeners.map((listener) => `127.0.0.1:${String((listener.address() as AddressInfo).port)}`);
  }

  private async listen(): Promise<Server> {
    const listener = createServer((socket) => {
      this.accepted += 1;
      this.sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => this.sockets.delete(socket));
      this.http2.emit('connection', socket);
    });
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve);
    });
    return listener;
  }

  private feed(stream: ServerHttp2Stream): void {
    this.feeds += 1;
    stream.once('close', () => (this.feeds -= 1));
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(MESSAGE);
  }

  private close(): void {
    for (const listener of this.listeners) listener.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

function answer(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0' });
  });
  stream.end(MESSAGE);
}

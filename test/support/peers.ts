import { createServer as createHttp2Server } from 'node:http2';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A server on 127.0.0.1 that is not a gRPC server. */
export interface Peer {
  /** '127.0.0.1:port' */
  readonly url: string;
  /** Time at which each connection was accepted, in milliseconds since 1970. */
  readonly acceptedAt: readonly number[];
  close(): Promise<void>;
}

/** Starts a server that accepts each connection and resets it immediately (RST). */
export async function resettingPeer(): Promise<Peer> {
  const acceptedAt: number[] = [];
  const server = createServer((socket: Socket) => {
    acceptedAt.push(Date.now());
    socket.on('error', () => undefined);
    socket.resetAndDestroy();
  });
  return listen(server, acceptedAt);
}

/** Starts a server that passes the first `count` connections to `answer` and forwards later ones to `upstream` ('127.0.0.1:port'). */
export async function answeringPeer(
  count: number,
  answer: (socket: Socket) => unknown,
  upstream: string,
): Promise<Peer> {
  const acceptedAt: number[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  };
  const server = createServer((socket) => {
    acceptedAt.push(Date.now());
    keep(socket);
    if (acceptedAt.length <= count) {
      socket.resume();
      answer(socket);
    } else {
      socket.pipe(keep(connect(Number(upstream.split(':')[1]), '127.0.0.1'))).pipe(socket);
    }
  });
  const peer = await listen(server, acceptedAt);
  return {
    ...peer,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return peer.close();
    },
  };
}

/** Starts an HTTP/2 server that closes each session `afterMs` milliseconds after it receives the client's SETTINGS. */
export async function shortLivedPeer(afterMs: number): Promise<Peer> {
  const acceptedAt: number[] = [];
  const server = createHttp2Server();
  server.on('session', (session) => {
    acceptedAt.push(Date.now());
    session.on('error', () => undefined);
    session.once('remoteSettings', () => {
      setTimeout(() => session.destroy(), afterMs);
    });
  });
  return listen(server, acceptedAt);
}

async function listen(server: Server, acceptedAt: readonly number[]): Promise<Peer> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `127.0.0.1:${port}`,
    acceptedAt,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      }),
  };
}

import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { canObserveHttp2Servers, observeHttp2Servers } from './http2-servers.js';

describe('observeHttp2Servers', () => {
  it('supports the installed version of grpc-js', () => {
    expect(canObserveHttp2Servers(Server.prototype)).toBe(true);
  });

  it('reports one http2 server for each address before it listens', async () => {
    const server = new Server();
    const observed: boolean[] = [];
    expect(observeHttp2Servers(server, ({ listening }) => observed.push(listening))).toBe(true);
    const bind = () =>
      new Promise<number>((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
          if (error === null) resolve(port);
          else reject(error);
        });
      });
    expect(await bind()).toBeGreaterThan(0);
    await bind();
    expect(observed).toEqual([false, false]);
    server.forceShutdown();
  });

  it('returns false if grpc-js creates its http2 servers differently', () => {
    const observed: unknown[] = [];
    const other = { makeServer: () => ({}) } as unknown as Server;
    expect(canObserveHttp2Servers(other)).toBe(false);
    expect(observeHttp2Servers(other, (made) => observed.push(made))).toBe(false);
    expect(observed).toEqual([]);
  });
});

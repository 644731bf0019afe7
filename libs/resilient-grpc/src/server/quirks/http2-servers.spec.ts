import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { canHearHttp2Servers, observeHttp2Servers } from './http2-servers.js';

describe('the http2 servers of grpc-js', () => {
  it('can be heard of in the version that is installed', () => {
    expect(canHearHttp2Servers(Server.prototype)).toBe(true);
  });

  it('are heard of before they listen, one for each address', async () => {
    const server = new Server();
    const heard: boolean[] = [];
    expect(observeHttp2Servers(server, ({ listening }) => heard.push(listening))).toBe(true);
    const bind = () =>
      new Promise<number>((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
          if (error === null) resolve(port);
          else reject(error);
        });
      });
    expect(await bind()).toBeGreaterThan(0);
    await bind();
    expect(heard).toEqual([false, false]);
    server.forceShutdown();
  });

  it('are not heard of where grpc-js makes them otherwise', () => {
    const heard: unknown[] = [];
    const other = { makeServer: () => ({}) } as unknown as Server;
    expect(canHearHttp2Servers(other)).toBe(false);
    expect(observeHttp2Servers(other, (made) => heard.push(made))).toBe(false);
    expect(heard).toEqual([]);
  });
});

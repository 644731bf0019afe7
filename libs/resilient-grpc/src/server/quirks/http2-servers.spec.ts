import { createServer } from 'node:http2';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { canObserveHttp2Servers, filterStreams, observeHttp2Servers, type NodeHttp2Server } from './http2-servers.js';

describe('observeHttp2Servers', () => {
  it('reports that the http2 servers of the installed grpc-js version can be observed', () => {
    expect(canObserveHttp2Servers(Server.prototype)).toBe(true);
  });

  it('reports one http2 server per bound address, before the http2 server listens', async () => {
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

  it('observes no http2 server and returns false if grpc-js creates its http2 servers differently', () => {
    const observed: unknown[] = [];
    const other = { makeServer: () => ({}) } as unknown as Server;
    expect(canObserveHttp2Servers(other)).toBe(false);
    expect(observeHttp2Servers(other, (made) => observed.push(made))).toBe(false);
    expect(observed).toEqual([]);
  });
});

describe('filterStreams', () => {
  it('calls the stream filter once per stream, and the listeners added before the filter only for streams that the filter has not ended', () => {
    const http2Server: NodeHttp2Server = createServer();
    const received: string[] = [];
    http2Server.on('stream', (_, headers) => received.push(`one ${String(headers[':path'])}`));
    http2Server.on('stream', (_, headers) => received.push(`two ${String(headers[':path'])}`));
    filterStreams(http2Server, (_, headers) => {
      received.push(`filter ${String(headers[':path'])}`);
      return headers[':path'] === '/ended';
    });
    http2Server.on('stream', (_, headers) => received.push(`later ${String(headers[':path'])}`));
    for (const path of ['/ended', '/passed']) http2Server.emit('stream', {}, { ':path': path }, 0);
    expect(received).toEqual([
      'filter /ended',
      'later /ended',
      'filter /passed',
      'one /passed',
      'two /passed',
      'later /passed',
    ]);
  });
});

import { constants } from 'node:http2';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { AddressSource } from '../addresses/address-source.js';
import { FrameServer, keyed } from '../support/frame-server.js';
import { goaway } from '../support/frames.js';
import { callOnce, EACH_METHOD, failureOf, startClient, turns } from './support.js';

describe('pushed stream', () => {
  it.each(EACH_METHOD)('refuses a pushed stream and completes the %s call on which it was pushed', async (method) => {
    const server = await FrameServer.start((request) => request.connection.write(request.push(2), request.success()));
    const client = await startClient({ url: server.url });
    await lastValueFrom(callOnce(client.getService('Echo'), method, { metadata: keyed('x') }));
    const [connection] = server.connections;
    await waitFor(() => connection?.resets.length === 1, { timeoutMs: 30_000 });
    expect(connection?.resets).toEqual([{ streamId: 2, code: constants.NGHTTP2_REFUSED_STREAM }]);
    expect(server.connections).toHaveLength(1);
  });

  it('refuses pushed streams if the resolver selects a load-balancing policy of grpc-js', async () => {
    let pushed = 0;
    const server = await FrameServer.start((request) => {
      pushed += 2;
      request.connection.write(request.push(pushed), request.success());
    });
    const source = new AddressSource();
    source.resolve([server.url], { serviceConfig: { loadBalancingConfig: [{ round_robin: {} }], methodConfig: [] } });
    const client = await startClient({ url: source.target });
    for (const key of ['first', 'second']) {
      await lastValueFrom(callOnce(client.getService('Echo'), 'unary', { metadata: keyed(key) }));
    }
    const [connection] = server.connections;
    await waitFor(() => connection?.resets.length === 2, { timeoutMs: 30_000 });
    expect(connection?.resets).toEqual([
      { streamId: 2, code: constants.NGHTTP2_REFUSED_STREAM },
      { streamId: 4, code: constants.NGHTTP2_REFUSED_STREAM },
    ]);
  });

  it('does not end the process when a connection with a pushed stream ends with an error', async () => {
    const server = await FrameServer.start((request) => {
      const { connection, streamId, key } = request;
      if (key === 'next') connection.write(request.success());
      else connection.write(request.push(2), goaway(streamId, constants.NGHTTP2_PROTOCOL_ERROR));
    });
    const client = await startClient({ url: server.url });
    const echo = client.getService<Parameters<typeof callOnce>[0]>('Echo');
    await failureOf(callOnce(echo, 'unsafeUnary', { metadata: keyed('x') }));
    await turns();
    // This call shows that the process has not ended. Vitest also fails the run on an uncaught exception.
    await lastValueFrom(callOnce(echo, 'unsafeUnary', { metadata: keyed('next') }));
    expect(server.requests('next')).toHaveLength(1);
  });
});

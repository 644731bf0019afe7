import { credentials, Metadata } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { AddressSource } from '../addresses/address-source.js';
import { callOnce, EACH_METHOD, scene, startClient, startServer, toList, type EchoService } from './support.js';

const SWITCH = 'NESTJS_RESILIENT_GRPC_DIRECT_CALLS';

describe('path of calls', () => {
  afterEach(() => {
    delete process.env[SWITCH];
  });

  it('is the connection by default', async () => {
    const { client, echo } = await scene();
    await firstValueFrom(echo.unary({}));
    expect(client.snapshot().calls).toEqual({ direct: true });
  });

  it.each([
    ['the environment variable is off', 'disabled', () => (process.env[SWITCH] = 'off'), {}],
    [
      'requests are compressed',
      'send-compression',
      undefined,
      { channelOptions: { 'grpc.default_compression_algorithm': 2 } },
    ],
  ] as const)('is grpc-js’s channel if %s', async (_what, because, prepare, settings) => {
    prepare?.();
    const { client, echo } = await scene(settings);
    for (const method of EACH_METHOD) await toList(callOnce(echo, method));
    expect(client.snapshot().calls).toEqual({ direct: false, because });
  });

  it('is grpc-js’s channel if a custom resolver resolves the target, because it may return a service config', async () => {
    const server = await startServer();
    const source = new AddressSource();
    source.resolve([server.url]);
    const client = await startClient({ url: source.target });
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    expect(client.snapshot().calls).toEqual({ direct: false, because: 'resolver' });
  });

  it.each(EACH_METHOD)('sends the metadata of call credentials with each %s call on a connection', async (method) => {
    const { client, echo, server } = await scene();
    await toList(callOnce(echo, method));
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      const metadata = new Metadata();
      metadata.set('authorization', 'Bearer t');
      callback(null, metadata);
    });
    await toList(callOnce(echo, method, { credentials: token }));
    expect(server.calls().map(({ metadata }) => metadata.get('authorization'))).toEqual([[], ['Bearer t']]);
    expect(client.snapshot().calls).toEqual({ direct: true });
  });

  it('keeps the channel from becoming idle while a stream is open, and not after its end', async () => {
    const { client, echo } = await scene(
      { connectionIdleTimeoutMs: 1_000 },
      {
        scripts: {
          // Longer than two idle timeouts.
          ServerStream: { messages: [{ number: 1 }, { number: 2 }], delayMs: 2_500 },
        },
      },
    );
    expect(await toList(echo.serverStream({ number: 2 }))).toHaveLength(2);
    expect(client.snapshot().history.map(({ to }) => to)).not.toContain('IDLE');
    await waitFor(() => client.connectivity.state === 'IDLE', { timeoutMs: 20_000 });
  });
});

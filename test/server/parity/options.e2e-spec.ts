import { connect } from 'node:http2';
import type { INestApplication } from '@nestjs/common';
import {
  ResponderBuilder,
  ServerCredentials,
  ServerInterceptingCall,
  ServerListenerBuilder,
  credentials,
  status as Code,
  type ChannelOptions,
  type ClientOptions,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ParityClient, numbers, received } from './client.js';
import { CallsController, KindsController } from './handlers.js';
import { pem } from './places.js';
import { SERVERS, freeAddress, runWithServer, startServer, type ServerSettings, type ServerTest } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const UNARY = 'parity.v1.Kinds/Unary';

describe.each(SERVERS)('%s', (serverKind) => {
  const withServer = (settings: Omit<ServerSettings, 'serverKind' | 'controllers'>, test: ServerTest) =>
    runWithServer({ serverKind, controllers: [KindsController, CallsController], ...settings }, test);

  describe('options', () => {
    it('limits the size of requests and responses as the server options require', async () => {
      const options = { maxReceiveMessageLength: 1_000, maxSendMessageLength: 2_000 };
      await withServer({ options }, async (client) => {
        const codeOf = async (request: object) => (await client.call(UNARY, request)).status.code;
        expect(await codeOf({ payload: Buffer.alloc(900) })).toBe(Code.OK);
        expect(await codeOf({ payload: Buffer.alloc(1_100) })).toBe(Code.RESOURCE_EXHAUSTED);
        expect(await codeOf({ text: 'large', number: 1_900 })).toBe(Code.OK);
        expect(await codeOf({ text: 'large', number: 2_100 })).toBe(Code.RESOURCE_EXHAUSTED);
      });
    });

    it('serves calls over TLS and rejects a client without a certificate', async () => {
      const pair = { private_key: pem('server-key'), cert_chain: pem('server') };
      const secured = { url: await freeAddress(), credentials: ServerCredentials.createSsl(pem('ca'), [pair], true) };
      const trusting = credentials.createSsl(pem('ca'), pem('client-key'), pem('client'));
      const named: ClientOptions = { 'grpc.ssl_target_name_override': 'localhost' };
      const client = { credentials: trusting, options: named };
      await withServer({ options: secured, client }, async (trusted, server) => {
        expect(numbers(await trusted.call(UNARY, { number: 1 }))).toEqual([2]);
        const untrusted = { credentials: credentials.createSsl(pem('ca')), options: named };
        const untrustedClient = new ParityClient(server.url, untrusted);
        expect((await untrustedClient.call(UNARY)).status.code).toBe(Code.UNAVAILABLE);
        untrustedClient.close();
      });
    });

    it('passes interceptors in channelOptions to grpc-js', async () => {
      const seen: string[] = [];
      const interceptor: ServerInterceptor = ({ path }, call) => {
        const listener = new ServerListenerBuilder().withOnReceiveMessage((message, next) => {
          seen.push(path);
          next(message);
        });
        const responder = new ResponderBuilder()
          .withStart((next) => next(listener.build()))
          .withSendMetadata((metadata, next) => {
            metadata.set('intercepted', 'yes');
            next(metadata);
          });
        return new ServerInterceptingCall(call, responder.build());
      };
      // grpc-js accepts interceptors here, but its ChannelOptions type does not declare them.
      const channelOptions = { interceptors: [interceptor] } as unknown as ChannelOptions;
      await withServer({ options: { channelOptions } }, async (client) => {
        const { messages, headers } = await client.call(UNARY, { number: 1 });
        expect(numbers({ messages })).toEqual([2]);
        expect(headers?.get('intercepted')).toEqual(['yes']);
        expect(numbers(await client.call('parity.v1.Kinds/Chat', [{ number: 1 }, { number: 2 }]))).toEqual([1, 2]);
        expect(seen).toEqual(['/parity.v1.Kinds/Unary', '/parity.v1.Kinds/Chat', '/parity.v1.Kinds/Chat']);
      });
    });

    it('applies the maximum connection age in the channelOptions of a server', async () => {
      const channelOptions = { 'grpc.max_connection_age_ms': 50, 'grpc.max_connection_age_grace_ms': 50 };
      await withServer({ options: { channelOptions } }, async (client) => {
        const call = client.open('parity.v1.Kinds/Watch', { text: 'endless', number: 1 });
        const { messages, status } = await call.ended;
        expect(numbers({ messages })).toEqual([1]);
        expect(status.code).not.toBe(Code.OK);
        expect((await client.call(UNARY)).status.code).toBe(Code.OK);
      });
    });

    it('sends keepalive pings to clients at the interval in the server options', async () => {
      const options = { url: await freeAddress(), keepalive: { keepaliveTimeMs: 30, keepaliveTimeoutMs: 1_000 } };
      await withServer({ options }, async (_client, { url }) => {
        const session = connect(`http://${url}`);
        let pings = 0;
        session.on('ping', () => pings++);
        await waitFor(() => pings >= 3);
        session.destroy();
      });
    });
  });

  describe('address', () => {
    it('listens on the address in the server options and frees the address on close', async () => {
      const options = { url: await freeAddress() };
      for (const number of [1, 2]) {
        await withServer({ options }, async (client) => {
          expect(numbers(await client.call(UNARY, { number }))).toEqual([number + 1]);
        });
      }
    });

    it('fails to start a server if the address is in use', async () => {
      const options = { url: await freeAddress() };
      await withServer({ options }, async () => {
        await expect(startServer({ serverKind, controllers: [KindsController], options })).rejects.toThrow();
      });
    });

    it.each([
      ['a standalone microservice', { alone: true }],
      ['a hybrid application', { alone: false }],
    ])('serves calls in %s', async (_what, startup) => {
      await withServer(startup, async (client, { app, microservice }) => {
        expect(numbers(await client.call(UNARY, { number: 1 }))).toEqual([2]);
        expect(numbers(await client.call('parity.v1.Calls/Collect', [{ number: 1 }, { number: 2 }]))).toEqual([3]);
        if (!startup.alone) expect((app as INestApplication).getMicroservices()).toEqual([microservice]);
      });
    });
  });

  describe('microservice', () => {
    it('calls the processing start and end hooks of a microservice once per call', async () => {
      const hookCalls: string[] = [];
      await withServer({}, async (client, { microservice }) => {
        const strategy = strategyOf(microservice);
        strategy.setOnProcessingStartHook((_transport, { operationId }, done) => {
          hookCalls.push(`${operationId} begins`);
          return done();
        });
        strategy.setOnProcessingEndHook(() => hookCalls.push('end'));
        for (const method of ['Unary', 'Watch', 'Collect', 'Chat']) {
          const { status } = await client.call(`parity.v1.Kinds/${method}`, [{ number: 1 }]);
          expect(status.code).toBe(Code.OK);
          await waitFor(() => hookCalls.length === 2);
          expect(hookCalls.splice(0)).toEqual([`${method} begins`, 'end']);
        }
      });
    });

    it('lets the processing start hook of a microservice await the end of a streaming handler', async () => {
      const hookCalls: string[] = [];
      await withServer({}, async (client, { app, microservice }) => {
        strategyOf(microservice).setOnProcessingStartHook(async (_transport, { operationId }, done) => {
          await done();
          hookCalls.push(`${operationId} is over: ${app.get(KindsController).over}`);
        });
        const call = client.open('parity.v1.Kinds/Watch', { text: 'endless', number: 1 });
        await received(call, 1);
        call.cancel();
        await waitFor(() => hookCalls.length === 1);
        expect(hookCalls).toEqual(['Watch is over: 1']);
      });
    });

    it('throws on `status`, `on()`, and `unwrap()` of a microservice', async () => {
      await withServer({}, async (_client, { microservice }) => {
        expect(() => microservice.status).toThrow();
        expect(() => microservice.on('error', () => undefined)).toThrow();
        expect(() => microservice.unwrap()).toThrow();
      });
    });

    it('lets calls finish on close if gracefulShutdown is true', async () => {
      const server = await startServer({
        serverKind,
        controllers: [KindsController],
        options: { gracefulShutdown: true },
      });
      const client = new ParityClient(server.url);
      const { released } = server.app.get(KindsController);
      const call = client.open(UNARY, { text: 'released' });
      await waitFor(() => released.observed);
      const closing = server.close();
      // New calls are rejected.
      await waitFor(async () => (await client.call(UNARY)).status.code === Code.UNAVAILABLE);
      released.next({ number: 5 });
      expect(numbers(await call.ended)).toEqual([5]);
      released.complete();
      client.close();
      await closing;
    });

    it('closes a server while a stream is open, and ends the stream with an error', async () => {
      const server = await startServer({ serverKind, controllers: [KindsController] });
      const client = new ParityClient(server.url);
      const call = client.open('parity.v1.Kinds/Watch', { text: 'endless', number: 1 });
      await received(call, 1);
      const handlers = server.app.get(KindsController);
      await server.close();
      expect((await call.ended).status.code).not.toBe(Code.OK);
      await waitFor(() => handlers.over === 1);
      client.close();
    });
  });
});

interface Hooked {
  setOnProcessingStartHook(
    hook: (transport: unknown, context: { readonly operationId: string }, done: () => Promise<unknown>) => unknown,
  ): void;
  setOnProcessingEndHook(hook: () => void): void;
}

/** The transport strategy of a microservice, as tracing libraries access it. Nest 11 has no public accessor. */
function strategyOf(microservice: unknown): Hooked {
  return (microservice as { readonly serverInstance: Hooked }).serverInstance;
}

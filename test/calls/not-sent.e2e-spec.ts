import { InterceptingCall, credentials, type CallCredentials, type Interceptor } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { GrpcConfigurationError } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { Subject, firstValueFrom, tap } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { EACH_METHOD, callOnce, failureOf, protoName, scene, turns } from './support.js';

/** Creates credentials that always fail, and counts how often they are requested. */
function failingCredentials(how: 'synchronously' | 'asynchronously', code?: number) {
  const requested = { times: 0 };
  const failure = Object.assign(new Error('no token available'), code === undefined ? {} : { code });
  const plugin: CallCredentials = credentials.createFromMetadataGenerator((_, callback) => {
    requested.times += 1;
    if (how === 'synchronously') callback(failure);
    else setImmediate(() => callback(failure));
  });
  return { requested, plugin };
}

describe('credentials that always fail', () => {
  describe.each(['synchronously', 'asynchronously'] as const)('%s', (how) => {
    it.each(EACH_METHOD)(
      `fails a %s call whose credentials fail ${how} with code 14, after all attempts that its policy allows`,
      async (method) => {
        const { echo, server, client } = await scene();
        await client.waitForReady();
        const { requested, plugin } = failingCredentials(how, 14);
        const error = await failureOf(callOnce(echo, method, { credentials: plugin }));
        expect(error).toMatchObject({ code: 14, reason: 'not-sent', reachedServer: 'no' });
        expect(error.details).toContain('no token available');
        // Unary is declared safe to repeat, and its policy lists UNAVAILABLE.
        const attempts = method === 'unary' ? 4 : 1;
        expect(requested.times).toBe(attempts);
        expect(error.attempts).toHaveLength(attempts);
        expect(error.notRetriedBecause).toBe(method === 'unary' ? 'attempts-exhausted' : 'local');
        expect(server.counts().calls).toBe(0);
      },
    );

    it.each(EACH_METHOD)(
      `fails a %s call after one attempt if its credentials fail ${how} without a code`,
      async (method) => {
        const { echo, server } = await scene();
        const { requested, plugin } = failingCredentials(how);
        const error = await failureOf(callOnce(echo, method, { credentials: plugin }));
        expect(error).toMatchObject({ code: 2, reason: 'not-sent', reachedServer: 'no', notRetriedBecause: 'local' });
        expect(error.details).toContain('no token available');
        expect(requested.times).toBe(1);
        expect(server.counts().calls).toBe(0);
      },
    );
  });
});

describe('message size limit', () => {
  const payload = Buffer.alloc(1_000);

  it.each(EACH_METHOD)('fails a %s call locally if its request is too large', async (method) => {
    const { echo, server, client } = await scene({ maxSendMessageLength: 100 });
    await client.waitForReady();
    const requests = [{ payload }];
    const call = method === 'clientStream' || method === 'bidi' ? echo[method](requests) : echo[method]({ payload });
    const error = await failureOf(call);
    expect(error).toMatchObject({ code: 8, reason: 'not-sent', notRetriedBecause: 'local' });
    expect(error.details).toMatch(/^Attempted to send message with a size larger than 100\b/);
    if (method === 'clientStream' || method === 'bidi') {
      // The headers of the call are sent before its first message, so the server may have received the call.
      expect(error).toMatchObject({ reachedServer: 'maybe', attempts: [{ number: 1 }] });
      return;
    }
    expect(error).toMatchObject({ reachedServer: 'no', attempts: [] });
    await turns();
    expect(server.counts().calls).toBe(0);
  });

  it.each(['clientStream', 'bidi'] as const)(
    'cancels a %s call on the server if a later request is too large',
    async (method) => {
      const { echo, server } = await scene({ maxSendMessageLength: 100 });
      server.script(protoName(method), { never: true });
      const error = await failureOf(echo[method]([{ number: 1 }, { payload }, { number: 3 }]));
      expect(error).toMatchObject({ code: 8, reason: 'not-sent', reachedServer: 'maybe' });
      await waitFor(() => server.counts().cancelled === 1);
      expect(server.calls()[0]?.requests.length).toBeLessThanOrEqual(1);
    },
  );

  it('reports reachedServer yes if a request that follows the first response message is too large', async () => {
    const { echo, server } = await scene({ maxSendMessageLength: 100 });
    server.script('Bidi', { messages: [{ number: 1 }], never: true });
    const requests = new Subject<{ payload: Buffer }>();
    const call = echo.bidi(requests).pipe(tap(() => requests.next({ payload })));
    expect(await failureOf(call)).toMatchObject({ code: 8, reason: 'not-sent', reachedServer: 'yes' });
  });

  it('fails a call locally if its request exceeds maxRequestMessageBytes of the service config', async () => {
    const methodConfig = [{ name: [{ service: 'testing.v1.Echo' }], maxRequestMessageBytes: 100 }];
    const { echo } = await scene({ serviceConfig: { methodConfig } });
    expect(await failureOf(echo.unary({ payload }))).toMatchObject({
      code: 8,
      reason: 'not-sent',
      reachedServer: 'no',
    });
  });

  it.each(EACH_METHOD)(
    'fails a %s call without a retry if its response exceeds maxResponseMessageBytes of the service config',
    async (method) => {
      const methodConfig = [{ name: [{ service: 'testing.v1.Echo' }], maxResponseMessageBytes: 100 }];
      const { echo, server } = await scene({ serviceConfig: { methodConfig } });
      server.script(protoName(method), { messages: [{ payload }] });
      const error = await failureOf(callOnce(echo, method));
      expect(error).toMatchObject({ code: 8, reachedServer: 'yes' });
      expect(error.details).toMatch(/^Received message larger than max/);
      expect(server.counts().calls).toBe(1);
    },
  );

  it("names the server's limit in the error if a server rejects a request that is too large", async () => {
    const { echo } = await scene();
    const { reason, message } = await failureOf(echo.unary({ payload: Buffer.alloc(5 * 2 ** 20) }));
    expect(reason).toBe('server');
    expect(message).toMatch(
      /^8 RESOURCE_EXHAUSTED: Received message larger than max \(\d+ vs 4194304\) \(raise the server's limit for requests, such as maxReceiveMessageLength in Nest\)$/,
    );
  });

  it.each(EACH_METHOD)('fails a %s call without a retry if its response is too large', async (method) => {
    const { echo, server } = await scene({ maxReceiveMessageLength: 100 });
    server.script(protoName(method), { messages: [{ payload }] });
    const error = await failureOf(callOnce(echo, method));
    expect(error).toMatchObject({ code: 8, reachedServer: 'yes', attempts: [{ number: 1 }] });
    expect(error.details).toMatch(/^Received message larger than max/);
    expect(server.counts().calls).toBe(1);
  });
});

/** Returns a copy of the contract in which the functions in `replaced` override those of each method. */
function contractWith(replaced: Readonly<Record<string, () => never>>): {
  readonly protoPath: undefined;
  readonly packageDefinition: PackageDefinition;
} {
  const definition = loadSync(ECHO_PROTO);
  const service = definition['testing.v1.Echo'] as Record<string, object>;
  const methods = Object.entries(service).map(([name, method]) => [name, { ...method, ...replaced }]);
  return {
    protoPath: undefined,
    packageDefinition: { ...definition, 'testing.v1.Echo': Object.fromEntries(methods) },
  };
}

const passThrough: Interceptor = (options, next) => new InterceptingCall(next(options));

describe.each([
  ['without interceptors', []],
  ['with an interceptor', [passThrough]],
])('codecs %s', (how, interceptors) => {
  it.each(EACH_METHOD)(`fails a %s call ${how} as not-sent if its request cannot be serialized`, async (method) => {
    const { echo, server, client } = await scene(
      contractWith({
        requestSerialize: () => {
          throw new TypeError('text: string expected');
        },
      }),
    );
    await client.waitForReady();
    const error = await failureOf(callOnce(echo, method, { interceptors }));
    expect(error).toMatchObject({ code: 13, reason: 'not-sent', notRetriedBecause: 'local' });
    expect(error.details).toBe('Request message serialization failure: text: string expected');
    await waitFor(() => server.counts().open === 0);
    expect(server.counts().answered).toBe(0);
  });

  it.each(EACH_METHOD)(
    `fails a %s call ${how} as a protocol error if its response cannot be deserialized`,
    async (method) => {
      const { echo, server } = await scene(
        contractWith({
          responseDeserialize: () => {
            throw new RangeError('index out of range');
          },
        }),
      );
      server.script(protoName(method), { messages: [{ number: 1 }] });
      const error = await failureOf(callOnce(echo, method, { interceptors }));
      expect(error).toMatchObject({
        code: 13,
        reason: 'protocol',
        reachedServer: 'yes',
        notRetriedBecause: 'protocol',
      });
      expect(error.details).toBe('Response message parsing error: index out of range');
      expect(error.message).toContain('index out of range (compare the .proto files of the client and the server)');
      expect(server.counts().calls).toBe(1);
    },
  );
});

describe('call that cannot start', () => {
  it('fails a call with INTERNAL if an interceptor throws', async () => {
    const { echo, client } = await scene();
    await client.waitForReady();
    const broken: Interceptor = () => {
      throw new Error('a bug in the interceptor');
    };
    const error = await failureOf(echo.unary({}, { interceptors: [broken] }));
    expect(error).toMatchObject({ code: 13, reason: 'not-sent', reachedServer: 'no' });
    expect(error.details).toContain('a bug in the interceptor');
    expect(await firstValueFrom(echo.unary({ text: 'well' }))).toMatchObject({ text: 'well' });
  });

  it.each([
    ['an invalid key', { 'not a key': 'x' }, 'options.metadata["not a key"]: expected a key of letters'],
    ['an invalid value', { 'x-token': 'secret☕' }, 'options.metadata.x-token: expected printable ASCII'],
    ['an invalid binary value', { 'x-token-bin': 'secret' }, 'options.metadata.x-token-bin: expected a Buffer'],
    [
      'a wrong type',
      null,
      "options.metadata: expected an object such as { 'x-tenant': 'shop' }, or grpc-js's Metadata, got null",
    ],
  ])('rejects metadata with %s and does not reveal the value', async (_what, metadata, text) => {
    const { echo, server } = await scene();
    const error = await failureOf(echo.unary({}, { metadata: metadata as never }));
    expect(error).toMatchObject({ reason: 'not-sent', cause: expect.any(GrpcConfigurationError) });
    expect(String(error)).toContain(`echo/testing.v1.Echo/Unary: ${text}`);
    expect(String(error)).not.toContain('secret');
    await turns();
    expect(server.counts().calls).toBe(0);
  });
});

import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ServerCredentials } from '@grpc/grpc-js';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { upTo } from '../calls/support.js';
import { certificate } from '../support/orders-app.js';
import { repeatUntil } from '../support/repeat-until.js';
import { REFLECTION_PROTO } from '../server/served-orders.js';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import { EchoApp, TRAILERS } from './echo-app.js';
import { CLIENTS, GrpcJsClient, type ForeignCall, type ForeignClient, type Outcome } from './foreign-clients.js';
import { Peer, PEERS } from './peers.js';
import { identity } from './tls-front.js';

/** What is in front of an application with the library's server: a client of another implementation, or a proxy and grpc-js's client. */
interface Front {
  readonly name: string;
  readonly missing: () => string | undefined;
  /** `serve` starts the application at an address, and resolves to its port. */
  readonly open: (serve: (url: string) => Promise<number>) => Promise<ForeignClient>;
}

const { cert, key } = identity('server');
const ca = certificate('ca');
const tls = () => ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }]);
const TLS = ', with TLS';

const FRONTS: readonly Front[] = [
  ...CLIENTS.flatMap(({ name, missing, open }) =>
    ['', TLS].map((security) => ({
      name: `${name}${security}`,
      missing,
      open: async (serve: (url: string) => Promise<number>) =>
        open(`127.0.0.1:${String(await serve('127.0.0.1:0'))}`, security === TLS ? ca : undefined),
    })),
  ),
  ...PEERS.filter(({ isProxy }) => isProxy).map((kind) => ({
    name: kind.name,
    missing: kind.missing,
    async open(serve: (url: string) => Promise<number>): Promise<ForeignClient> {
      const proxy = await Peer.start(kind, (socket) => serve(`unix:${socket}`));
      const client = new GrpcJsClient(proxy.url);
      return {
        call: (call, signal) => client.call(call, signal),
        async close() {
          client.close();
          await proxy.close();
        },
      };
    },
  })),
];

const service = loadSync(ECHO_PROTO)['testing.v1.Echo'] as ServiceDefinition;
const { ServerReflectionInfo: reflect } = loadSync(REFLECTION_PROTO)[
  'grpc.reflection.v1.ServerReflection'
] as ServiceDefinition as any;
const KINDS = { Unary: 'unary', ClientStream: 'clientStream', ServerStream: 'serverStream', Bidi: 'bidi' } as const;
const CALLS = 500;
/** Number of calls that are cancelled at once. */
const CANCELLED = 2_000;
/** Proxies end a connection on which a client resets many streams at once: nghttpx 1,000, nginx twice the number that it allows. */
const CANCELLED_ON: Readonly<Record<string, number>> = { nghttpx: 900, nginx: 100 };
const WAIT = { metadata: { 'x-wait': '1' } };

const base64 = (value: string | Buffer): string => (typeof value === 'string' ? value : value.toString('base64'));

describe.each(FRONTS)('$name', ({ name, missing: whyMissing, open }) => {
  const leaks = captureLeaks();
  const missing = whyMissing();
  let app: EchoApp;
  let url = '';
  let client: ForeignClient | undefined;

  async function serve(at: string): Promise<number> {
    app = await EchoApp.start({ url: at, reflection: true, ...(name.endsWith(TLS) && { credentials: tls() }) });
    url = at.replace(/:0$/, `:${String(app.port)}`);
    return app.port;
  }

  beforeAll(async () => {
    if (missing === undefined) client = await open(serve);
  }, 300_000);
  afterAll(async () => {
    await client?.close();
    if (missing === undefined) await app.close();
    await leaks.settled();
  });

  async function call(
    method: keyof typeof KINDS,
    requests: readonly EchoRequest[],
    options: Partial<ForeignCall> = {},
    signal?: AbortSignal,
  ): Promise<Omit<Outcome, 'messages'> & { readonly messages: readonly Echo[] }> {
    const encoded = requests.map((request) => service[method]!.requestSerialize(request));
    const asked = { path: service[method]!.path, kind: KINDS[method], requests: encoded, ...options };
    const outcome = await client!.call(asked, signal);
    return {
      ...outcome,
      messages: outcome.messages.map((message) => service[method]!.responseDeserialize(message) as Echo),
    };
  }

  it('completes all kinds of calls, many at the same time', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    expect(await call('Unary', [{ text: 'é' }])).toMatchObject({ code: 0, messages: [{ text: 'é' }] });
    expect(await call('ClientStream', upTo(100))).toMatchObject({ code: 0, messages: [{ number: 100 }] });
    expect(await call('ServerStream', [{ number: 1_000 }])).toMatchObject({ code: 0, messages: upTo(1_000) });
    expect(await call('Bidi', upTo(100))).toMatchObject({ code: 0, messages: upTo(100) });
    const many = await Promise.all(upTo(CALLS).map((request) => call('Unary', [request])));
    expect(many.map(({ code, messages }) => [code, messages[0]?.number])).toEqual(
      upTo(CALLS).map(({ number }) => [0, number]),
    );
  });

  it('passes messages of 3 MiB, as they are and compressed', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const payload = Buffer.alloc(3 * 1_048_576, 'abc');
    for (const gzip of [false, true]) {
      const { code, messages } = await call('Unary', [{ payload }], { gzip });
      expect([code, messages[0]?.payload.equals(payload)]).toEqual([0, true]);
      expect(await call('Bidi', upTo(3), { gzip })).toMatchObject({ code: 0, messages: upTo(3) });
    }
  });

  it('passes metadata and the details of errors, also binary ones', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const echoed = { 'x-echo': 'a, b', 'x-echo-bin': Buffer.from([0, 255, 44]).toString('base64') };
    const trailers = Object.entries(TRAILERS).map(([key, value]) => [key, base64(value)]);
    const answer = await call('Unary', [{}], { metadata: echoed });
    expect(answer).toMatchObject({ code: 0, headers: echoed, trailers: Object.fromEntries(trailers) });
    for (const method of ['Unary', 'ServerStream'] as const) {
      const failed = await call(method, [{}], { metadata: { ...echoed, 'x-status': '5' } });
      expect(failed).toMatchObject({ code: 5, details: 'no such é', messages: [], trailers: echoed });
      const details = Buffer.from(failed.trailers['grpc-status-details-bin'] ?? '', 'base64');
      expect(details.includes('type.googleapis.com/google.rpc.ErrorInfo')).toBe(true);
    }
    expect(await call('Unary', [{}], { path: '/testing.v1.Echo/None' })).toMatchObject({ code: 12 });
  });

  it.for(['v1', 'v1alpha'])(
    'lets the client call a method that it knows only from reflection %s, as grpcurl does',
    async (version, { skip }) => {
      skip(missing !== undefined, `not run: ${missing}`);
      const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
      const ask = async (request: object): Promise<any> => {
        const { code, messages } = await client!.call({
          path,
          kind: 'bidi',
          requests: [reflect.requestSerialize(request)],
        });
        expect([code, messages.length]).toEqual([0, 1]);
        return reflect.responseDeserialize(messages[0]!);
      };
      const { listServicesResponse } = await ask({ listServices: '*' });
      const services: string[] = listServicesResponse.service.map((one: { name: string }) => one.name);
      expect(services.sort()).toEqual(['grpc.health.v1.Health', 'testing.v1.Echo']);
      const { fileDescriptorResponse } = await ask({ fileContainingSymbol: 'testing.v1.Echo' });
      const [file] = fileDescriptorResponse.fileDescriptorProto as Buffer[];
      const found = createFileRegistry(fromBinary(FileDescriptorProtoSchema, file!), () => undefined);
      const method = found.getService('testing.v1.Echo')!.method['unary']!;
      const requests = [Buffer.from(toBinary(method.input, create(method.input, { text: 'é' })))];
      const answer = await client!.call({ path: `/${method.parent.typeName}/${method.name}`, kind: 'unary', requests });
      expect(fromBinary(method.output, answer.messages[0]!)).toMatchObject({ text: 'é' });
      expect(await ask({ fileContainingSymbol: 'testing.v1.None' })).toMatchObject({ errorResponse: { errorCode: 5 } });
    },
  );

  it('stops handlers when a deadline passes and when calls are cancelled, beside a stream that goes on', async ({
    skip,
  }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const stream = call('ServerStream', [{ number: 5 }], WAIT);
    await waitFor(() => app.waiting === 1);
    await repeatUntil('the server receives the call before its deadline', async () => {
      const before = app.arrived;
      expect(await call('Unary', [{}], { ...WAIT, timeoutMs: 500 })).toMatchObject({ code: 4 });
      return app.arrived > before;
    });
    await waitFor(() => app.waiting === 1);
    const aborts = Array.from({ length: CANCELLED_ON[name] ?? CANCELLED }, () => new AbortController());
    const calls = aborts.map(({ signal }) => call('Unary', [{}], WAIT, signal));
    await waitFor(() => app.waiting > 50, { timeoutMs: 20_000 });
    for (const abort of aborts) abort.abort();
    for (const { code } of await Promise.all(calls)) expect(code).toBe(1);
    await waitFor(() => app.waiting === 1, { timeoutMs: 20_000 });
    app.release();
    expect(await stream).toMatchObject({ code: 0, messages: upTo(5) });
  });

  it('finishes a stream during a shutdown, refuses other calls, and goes on after a restart', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const stream = call('ServerStream', [{ number: 5 }], WAIT);
    await waitFor(() => app.waiting === 1);
    const closing = app.close();
    const refused = await repeatUntil('the client learns of the shutdown', async () => {
      const answer = await call('Unary', [{}]);
      return answer.code !== 0 && answer;
    });
    expect(refused.code, refused.details).toBe(14);
    app.release();
    const finished = await stream;
    expect(finished, finished.details).toMatchObject({ code: 0, messages: upTo(5) });
    await closing;
    await serve(url);
    await waitFor(async () => (await call('Unary', [{}])).code === 0, { timeoutMs: 30_000 });
  });
});

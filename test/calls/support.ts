import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import {
  GrpcCallError,
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcCallOptions,
  type GrpcClientSettings,
  type GrpcClientOptions,
  type GrpcObservable,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import {
  FaultProxy,
  ScriptedGrpcServer,
  captureLeaks,
  waitFor,
  type ScriptedCall,
} from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, toArray, type Observable } from 'rxjs';
import { onTestFinished } from 'vitest';
import { repeatUntil } from '../support/repeat-until.js';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';

/** The interface of the Echo service, as ts-proto would generate it. */
export interface EchoService {
  unary(request: EchoRequest): Observable<Echo>;
  unsafeUnary(request: EchoRequest): Observable<Echo>;
  clientStream(requests: Observable<EchoRequest>): Observable<Echo>;
  serverStream(request: EchoRequest): Observable<Echo>;
  bidi(requests: Observable<EchoRequest>): Observable<Echo>;
}
export type EchoStub = Resilient<EchoService> & EchoService;

/** The methods of the Echo service, which cover all kinds of calls. */
export const EACH_METHOD = ['unary', 'unsafeUnary', 'clientStream', 'serverStream', 'bidi'] as const;
export type MethodName = (typeof EACH_METHOD)[number];

export function callOnce(echo: EchoStub, method: MethodName, options: GrpcCallOptions = {}): GrpcObservable<Echo> {
  const request = { text: 'x' };
  return method === 'clientStream' || method === 'bidi'
    ? echo[method]([request], options)
    : echo[method](request, options);
}

/**
 * Default scripts of the server. Unary and bidi methods echo their requests, `ClientStream` returns the number of its requests, and
 * `ServerStream` sends as many numbered messages as the `number` in its request.
 */
export const ECHOES: NonNullable<ServerSettings['scripts']> = {
  Unary: ({ request }) => ({ message: request }),
  UnsafeUnary: ({ request }) => ({ message: request }),
  ClientStream: async ({ requests }) => ({ message: { number: (await toList(requests)).length } }),
  ServerStream: (call) => ({ messages: upTo((call as ScriptedCall<Echo>).request.number) }),
  Bidi: { messages: (call) => call.requests },
};

export type ServerSettings = Partial<Parameters<typeof ScriptedGrpcServer.start>[0]>;
export type ClientSettings = Partial<GrpcClientSettings & GrpcClientOptions>;

/** Starts an echo server and its client. Both are closed at the end of the test, which fails if resources leak. */
export async function scene(
  settings: ClientSettings | ((server: ScriptedGrpcServer) => ClientSettings) = {},
  options: ServerSettings = {},
): Promise<{ readonly server: ScriptedGrpcServer; readonly client: ResilientGrpcClient; readonly echo: EchoStub }> {
  const server = await startServer(options);
  const client = await startClient({
    url: server.url,
    ...(typeof settings === 'function' ? settings(server) : settings),
  });
  return { server, client, echo: client.getService<EchoService>('Echo') };
}

/** Starts an echo server, a proxy that can break connections, and a client that connects through the proxy. */
export async function startBehindProxy(settings: ClientSettings = {}, options: ServerSettings = {}) {
  const server = await startServer(options);
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  const client = await startClient({ url: proxy.url, ...settings });
  return { server, proxy, client, echo: client.getService<EchoService>('Echo') };
}

/** Starts an echo server. It is closed at the end of the test, which fails if a call stays open or a resource leaks. */
export async function startServer(options: ServerSettings = {}): Promise<ScriptedGrpcServer> {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, scripts: ECHOES, ...options });
  onTestFinished(() => server.close());
  onTestFinished(async () => {
    await waitFor(() => server.counts().open === 0, { describe: () => `${server.counts().open} calls to end` });
  });
  return server;
}

/** Starts the client 'echo' of a separate application, which is closed at the end of the test. */
export async function startClient(settings: ClientSettings & { readonly url: string }): Promise<ResilientGrpcClient> {
  // The cast is safe because a contract without `packageDefinition` has a `protoPath`.
  const options = { name: 'echo', protoPath: ECHO_PROTO, ...settings } as GrpcClientOptions &
    GrpcClientSettings & { name: string };
  class AppModule {}
  const app = await NestFactory.createApplicationContext(
    {
      module: AppModule,
      imports: [
        ResilientGrpcModule.forRoot({ drain: { timeoutMs: 1_000 } }),
        ResilientGrpcModule.forFeature([options]),
      ],
    },
    { logger: false, abortOnError: false },
  );
  onTestFinished(() => app.close());
  return app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
}

/** Returns the error with which `call` fails. */
export async function failureOf(call: Observable<unknown> | Promise<unknown>): Promise<GrpcCallError> {
  const error = await rejection(call);
  if (!(error instanceof GrpcCallError))
    throw new Error(`expected a GrpcCallError, got ${String(error)}`, { cause: error });
  return error;
}

/** Returns the value, of any type, with which `call` rejects. If `call` succeeds, returns an Error that contains its value. */
export async function rejection(call: Observable<unknown> | Promise<unknown>): Promise<unknown> {
  try {
    const value = await ('subscribe' in call ? lastValueFrom(call.pipe(toArray())) : call);
    throw new Error(`expected the call to fail, got ${JSON.stringify(value)}`);
  } catch (error) {
    return error;
  }
}

export async function toList<T>(source: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of source) list.push(value);
  return list;
}

/** Returns messages numbered from 1 to `count`. */
export function upTo(count: number): Pick<Echo, 'number'>[] {
  return Array.from({ length: count }, (_, index) => ({ number: index + 1 }));
}

/** Number of round trips over which a value must stay unchanged to count as settled. */
const SETTLED_ROUND_TRIPS = 40;

/**
 * Resolves to the value of `read` after it has stayed unchanged over 40 round trips on a TCP connection within this process. In these
 * tests, the client, the proxy, and the server share this process, so by the end of a round trip they have handled all bytes that arrived
 * before it. A busy machine also delays the round trips, so its delays are not mistaken for a stall.
 */
export async function settled(read: () => number): Promise<number> {
  const echo = createServer((socket) => socket.pipe(socket));
  await once(echo.listen(0, '127.0.0.1'), 'listening');
  // The cast is safe because the server listens on TCP.
  const socket = connect((echo.address() as AddressInfo).port, '127.0.0.1');
  let last = read();
  for (let unchanged = 0; unchanged < SETTLED_ROUND_TRIPS;) {
    socket.write('x');
    await once(socket, 'data');
    await turns();
    unchanged = read() === last ? unchanged + 1 : 0;
    last = read();
  }
  socket.end();
  await once(socket, 'close');
  await new Promise((resolve) => echo.close(resolve));
  return last;
}

/** A failure and the number of calls made to observe it. */
export interface SeenFailure {
  readonly error: GrpcCallError;
  readonly calls: number;
}

/** Repeats `call` until the server receives it, because on a busy machine a short deadline can pass before the call is sent. */
export async function failureOnceSeen(
  server: ScriptedGrpcServer,
  call: () => Observable<unknown> | Promise<unknown>,
): Promise<SeenFailure> {
  const before = server.counts().calls;
  let calls = 0;
  const error = await repeatUntil('the server receives the call before its deadline', async () => {
    calls += 1;
    const failure = await failureOf(call());
    return server.counts().calls > before && failure;
  });
  return { error, calls };
}

/** Waits long enough for an unwanted event, such as a retry after a backoff of 50 ms, to happen. */
export async function quietTime(ms = 150): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Returns the name of `method` in the server's scripts: 'Unary' for 'unary'. */
export function protoName(method: MethodName): string {
  return method.charAt(0).toUpperCase() + method.slice(1);
}

/**
 * Waits until everything started in this event-loop turn has been written to the socket. That takes up to six turns if the
 * client reads pending data of an idle connection first.
 */
export async function turns(): Promise<void> {
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve));
}

import type { INestApplicationContext, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  GrpcCallError,
  ResilientGrpcModule,
  getGrpcClientToken,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { NEVER, concat, firstValueFrom, from, type Observable } from 'rxjs';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import type { FuzzTarget } from './fuzz-run.js';
import { HostileServer, turns } from './hostile-server.js';
import { serverSequence, type ServerSequence } from './server-frames.js';

/** Deadline of the calls during a sequence. */
const CALL_TIMEOUT_MS = 250;
/** Long deadline of the call after the sequence. */
const PROBE_TIMEOUT_MS = 60_000;
/** Event-loop turns within which a call settles after its deadline timer has run. */
const TURNS_TO_SETTLE = 20;
const LARGE = Buffer.alloc(100_000);

interface EchoService {
  unary(request: EchoRequest): Observable<Echo>;
  unsafeUnary(request: EchoRequest): Observable<Echo>;
  clientStream(requests: Observable<EchoRequest>): Observable<Echo>;
  serverStream(request: EchoRequest): Observable<Echo>;
  bidi(requests: Observable<EchoRequest>): Observable<Echo>;
}
type EchoStub = Resilient<EchoService> & EchoService;

interface Lane {
  readonly server: HostileServer;
  readonly client: ResilientGrpcClient;
  readonly echo: EchoStub;
}

/** Clients, each connected to a separate hostile server. */
export class ClientTarget implements FuzzTarget {
  private constructor(
    private readonly app: INestApplicationContext,
    private readonly lanes: readonly Lane[],
  ) {}

  static async start(count: number, logger: LoggerService): Promise<ClientTarget> {
    const servers = await Promise.all(Array.from({ length: count }, () => HostileServer.start()));
    class AppModule {}
    const clients = servers.map(({ url }, index) => ({
      name: `lane${index}`,
      url,
      protoPath: ECHO_PROTO,
      // Prevents call failures if the operating system delays the server.
      outageGraceMs: PROBE_TIMEOUT_MS,
      // This retry budget allows every retry.
      serviceConfig: { methodConfig: [], retryThrottling: { maxTokens: 1_000, tokenRatio: 1 } },
    }));
    const imports = [ResilientGrpcModule.forRoot(), ResilientGrpcModule.forFeature(clients)];
    const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger });
    const lanes = servers.map((server, index) => {
      const client = app.get<ResilientGrpcClient>(getGrpcClientToken(`lane${index}`));
      return { server, client, echo: client.getService<EchoService>('Echo') };
    });
    return new ClientTarget(app, lanes);
  }

  async runSequence(index: number, seed: number, without: ReadonlySet<number>): Promise<string | undefined> {
    const lane = this.lanes[index];
    if (lane === undefined) throw new Error(`no lane ${index}`);
    const { server, client, echo } = lane;
    const { calls, steps, isGreeting, ending } = serverSequence(seed);
    const kept = steps.filter((_, at) => !without.has(at));
    const begun = server.hold(calls.length);
    if (isGreeting) await server.greetWith(kept);
    const observed = calls.map((call) => observe(echo, call));
    const settled = Promise.all(observed.map((call) => call.settled));
    const overdue = afterDeadline();
    await Promise.race([begun, settled, overdue]);
    if (!isGreeting) await server.run(kept);
    await turns();
    await server.behave(ending);
    await Promise.race([settled, overdue]);
    const broken = observed.flatMap((call) => call.broken());
    await turns();
    const open = client.activeCalls().length;
    if (open > 0) broken.push(`${open} calls are still registered`);
    if (broken.length > 0) return broken.join('; ');
    try {
      // Calls wait only briefly in a client whose connections end again and again, as this one's do.
      await firstValueFrom(echo.unary({}, { timeoutMs: PROBE_TIMEOUT_MS, waitForReady: true }));
      return undefined;
    } catch (error) {
      return `the next call fails: ${String(error)}`;
    }
  }

  describe(seed: number): readonly string[] {
    const { calls, isGreeting, steps, ending } = serverSequence(seed);
    const kinds = calls.map(({ kind, requests }) => `${kind} (${requests})`).join(', ');
    return [`${isGreeting ? 'while connecting: ' : ''}${kinds}`, ...steps.map(({ what }) => what), `then: ${ending}`];
  }

  async close(): Promise<string | undefined> {
    await this.app.close();
    await Promise.all(this.lanes.map(({ server }) => server.close()));
    return undefined;
  }
}

/** Waits for the deadline of calls that start now, then for 50 ms, and then for `TURNS_TO_SETTLE` event-loop turns. */
async function afterDeadline(): Promise<void> {
  // The deadline timers run before this timer, even if timers run late, because timers run in the order of their due times.
  await new Promise((resolve) => setTimeout(resolve, CALL_TIMEOUT_MS + 50));
  await turns(TURNS_TO_SETTLE);
}

interface ObservedCall {
  readonly settled: Promise<void>;
  /** Guarantees that were broken for the call. */
  broken(): readonly string[];
}

function observe(echo: EchoStub, { kind, requests }: ServerSequence['calls'][number]): ObservedCall {
  const [request, options] = [{ text: 'x' }, { timeoutMs: CALL_TIMEOUT_MS }];
  const all: Observable<EchoRequest> = {
    few: from([request, request]),
    large: from([{ payload: LARGE }, { payload: LARGE }]),
    endless: concat(from([request]), NEVER),
  }[requests];
  const call = kind === 'clientStream' || kind === 'bidi' ? echo[kind](all, options) : echo[kind](request, options);
  const broken: string[] = [];
  let isSettled = false;
  const settled = new Promise<void>((resolve) => {
    const settle = (): void => {
      if (isSettled) broken.push(`${kind} settled twice`);
      isSettled = true;
      resolve();
    };
    call.subscribe({
      next: () => {
        if (isSettled) broken.push(`${kind} received a message after its end`);
      },
      complete: settle,
      error: (error: unknown) => {
        if (!(error instanceof GrpcCallError)) broken.push(`${kind} failed with ${String(error)}`);
        else if (!(error.code > 0 && error.code <= 16)) broken.push(`${kind} failed with code ${error.code}`);
        settle();
      },
    });
  });
  return { settled, broken: () => (isSettled ? broken : [...broken, `${kind} did not settle by its deadline`]) };
}

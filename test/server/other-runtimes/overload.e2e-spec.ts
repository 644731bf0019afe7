import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { status, type ServiceError } from '@grpc/grpc-js';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { goProgram } from '../../support/go-program.js';
import { PYTHON, skipWithout, type OptionalProgram } from '../../support/programs.js';
import { NestServer } from '../support/nest-server.js';
import { PlainClient } from '../support/plain-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/**
 * Time in milliseconds for which each call blocks the event loop of the server. Each call is expensive, so that a small number of calls overloads the server, even on a busy
 * machine.
 */
const BUSY_MS = 100;
/** Number of calls in the burst. They take 20 s in total. */
const CALLS = 200;
/** Timeout of each call in milliseconds, long enough for calls to succeed on a busy machine. */
const TIMEOUT_MS = 4_000;
/** Number of sequential calls before the burst. The server measures the duration of the method from these calls. */
const WARM_UP = 12;
/** Service config that makes a client retry each refused call unless the server forbids the retry. */
const SERVICE_CONFIG = JSON.stringify({
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: '0.01s',
        maxBackoff: '0.1s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['RESOURCE_EXHAUSTED', 'UNAVAILABLE'],
      },
    },
  ],
});

type Counts = Readonly<Record<string, number>>;

async function runProgram(program: string, ...args: readonly string[]): Promise<Counts> {
  const { stdout } = await promisify(execFile)(program, args, {
    timeout: 55_000,
    // Versions of grpc-go before 1.40 retry only if this variable is set.
    env: { ...process.env, GRPC_GO_RETRY: 'on' },
  });
  // The cast is safe because the programs print these counts.
  return JSON.parse(stdout) as Counts;
}

async function runGrpcJs(url: string): Promise<Counts> {
  const client = new PlainClient(url, { 'grpc.service_config': SERVICE_CONFIG });
  const counts: Record<string, number> = {};
  const call = async (): Promise<void> => {
    const code = await client.get('1', TIMEOUT_MS).then(
      () => status.OK,
      (error: unknown) => (error as ServiceError).code,
    );
    const name = status[code];
    counts[name] = (counts[name] ?? 0) + 1;
  };
  for (let one = 0; one < WARM_UP; one++) await call();
  await Promise.all(Array.from({ length: CALLS }, call));
  return counts;
}

const RUN_ARGS = [String(CALLS), String(TIMEOUT_MS / 1_000), SERVICE_CONFIG];
const runGrpcio = (url: string) =>
  runProgram(PYTHON, join(import.meta.dirname, 'overload_grpcio.py'), url, ...RUN_ARGS);
const runGrpcGo = async (url: string) =>
  runProgram(await goProgram(join(import.meta.dirname, 'overload-grpc-go.go')), url, ...RUN_ARGS);

interface Runtime {
  readonly name: string;
  readonly run: (url: string) => Promise<Counts>;
  readonly needs: readonly OptionalProgram[];
}

const RUNTIMES: readonly Runtime[] = [
  { name: 'grpc-js', run: runGrpcJs, needs: [] },
  { name: 'grpcio', run: runGrpcio, needs: ['grpcio'] },
  { name: 'grpc-go', run: runGrpcGo, needs: ['grpc-go'] },
];

// The timeout includes the time to build the Go program, which is built once per test run.
describe('an overloaded server', { timeout: 360_000 }, () => {
  it.for(RUNTIMES)(
    'keeps $name from retrying calls that an overloaded server refused, and keeps the connection open',
    async ({ run, needs }, { skip }) => {
      skip(...skipWithout(...needs));
      const server = await NestServer.start({}, [`--busy=${BUSY_MS}`]);
      onTestFinished(() => server.close());
      const counts = await run(server.url);
      const { OK: ok = 0, RESOURCE_EXHAUSTED: refused = 0, DEADLINE_EXCEEDED: expired = 0, ...others } = counts;
      const { attempts } = await server.counts();
      const seen = JSON.stringify({ ...counts, attempts });
      expect(others).toEqual({});
      // Only the warm-up calls must succeed: on a busy machine, the deadlines of all calls accepted later may pass.
      expect(ok).toBeGreaterThanOrEqual(WARM_UP);
      expect(refused, seen).toBeGreaterThan(CALLS / 4);
      expect(ok + refused + expired).toBe(WARM_UP + CALLS);
      expect(attempts).toBeLessThanOrEqual(1.1 * (WARM_UP + CALLS));
      expect(server.connectionEnds.filter((reason) => reason !== 'client')).toEqual([]);
      expect(server.connectionEnds.length).toBeLessThanOrEqual(1);
    },
  );
});

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { count, firstValueFrom, type Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClient, type EchoService, type EchoStub } from '../calls/support.js';
import { goProgram } from '../support/go-program.js';
import { recordTiming } from '../support/timing.js';
import { grpcGoFarAway, Peer } from './peers.js';

const DELAY_MS = 50;
const SIZE = 65_536;
const COUNT = 512;
/** The windows of a connection grow during its first round. How fast is chance: grpc-go's estimates of the same line differ by a tenth. */
const CONNECTIONS = 5;
const ROUNDS = 3;

const kind = grpcGoFarAway(DELAY_MS);
const missing = kind.missing();

const METHODS: readonly [name: string, transfer: (echo: EchoStub) => Observable<unknown>][] = [
  [
    'ServerStream',
    (echo) => echo.serverStream({ number: COUNT }, { metadata: { 'x-size': String(SIZE) } }).pipe(count()),
  ],
  ['ClientStream', (echo) => echo.clientStream(messages())],
];

/** The same bytes again and again, as the client of grpc-go sends them: on a few cores, what clients allocate slows the line down. */
function* messages(): Generator<{ payload: Buffer }> {
  const message = { payload: Buffer.alloc(SIZE) };
  for (let sent = 0; sent < COUNT; sent++) yield message;
}

function add(times: { first: number; fastest: number }, seconds: readonly number[]): void {
  expect(seconds).toHaveLength(ROUNDS);
  times.first += seconds[0]!;
  times.fastest = Math.min(times.fastest, ...seconds);
}

describe('a line with 100 ms for a round trip', () => {
  let peer: Peer;
  beforeAll(async () => {
    if (missing === undefined) peer = await Peer.start(kind);
  }, 300_000);
  afterAll(async () => {
    if (missing === undefined) await peer.close();
  });

  it.for(METHODS)(
    '%s transfers 32 MiB about as fast as with grpc-go',
    { tags: ['timed'], timeout: 300_000 },
    async ([name, transfer], { skip, task }) => {
      skip(missing !== undefined, `not run: ${missing}`);
      const client = await goProgram(new URL('servers/rate-grpc-go.go', import.meta.url).pathname);
      const args = [peer.url, name, ...[COUNT, SIZE, ROUNDS].map(String)];
      const theirs = { first: 0, fastest: Infinity };
      const ours = { first: 0, fastest: Infinity };
      for (let connection = 0; connection < CONNECTIONS; connection++) {
        const { stdout } = await promisify(execFile)(client, args);
        add(theirs, stdout.trim().split('\n').map(Number));
        const echo = (await startClient({ url: peer.url })).getService<EchoService>('Echo');
        const seconds: number[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          const begunAt = performance.now();
          await firstValueFrom(transfer(echo));
          seconds.push((performance.now() - begunAt) / 1_000);
        }
        add(ours, seconds);
      }
      recordTiming(task, 'rate in the fastest round relative to grpc-go', theirs.fastest / ours.fastest, {
        atLeast: 0.9,
      });
      recordTiming(task, 'rate in the first rounds of 5 connections relative to grpc-go', theirs.first / ours.first, {
        atLeast: 0.9,
      });
    },
  );
});

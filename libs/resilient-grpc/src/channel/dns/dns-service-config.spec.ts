import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { hostname } from 'node:os';
import type { AddressInfo } from 'node:net';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { turn, VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import {
  FOR_TARGET,
  LocatedServiceConfig,
  UnreadableServiceConfig,
  dnsServiceConfig,
  needsTarget,
  type DnsServiceConfigOptions,
} from './dns-service-config.js';

type Answer = readonly (readonly string[])[] | 'no such name' | 'failure' | 'silence';
const RCODE = { 'no such name': 3, failure: 2 } as const;

/** A name server on loopback that responds to every TXT query with `answer`; for 'silence', it sends no response. */
class TxtServer {
  answer: Answer = [];
  /** Queried names. */
  readonly queried: string[] = [];

  private constructor(private readonly socket: Socket) {
    socket.on('message', (query, { port, address }) => {
      this.queried.push(nameIn(query));
      const reply = this.reply(query);
      if (reply !== undefined) socket.send(reply, port, address);
    });
  }

  static async start(): Promise<TxtServer> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    onTestFinished(async () => {
      socket.close();
      await once(socket, 'close');
    });
    await once(socket, 'listening');
    return new TxtServer(socket);
  }

  get address(): string {
    const { address, port }: AddressInfo = this.socket.address();
    return `${address}:${port}`;
  }

  private reply(query: Buffer): Buffer | undefined {
    const { answer } = this;
    if (answer === 'silence') return undefined;
    const question = query.subarray(12, endOfName(query) + 4);
    const records = typeof answer === 'string' ? [] : answer.map(txtRecord);
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (typeof answer === 'string' ? RCODE[answer] : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, question, ...records]);
  }
}

/** Returns the offset after the queried name, which follows the header. */
function endOfName(query: Buffer): number {
  let at = 12;
  while (query[at] !== 0) at += 1 + query[at]!;
  return at + 1;
}

function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; query[at] !== 0; at += 1 + query[at]!)
    labels.push(query.toString('ascii', at + 1, at + 1 + query[at]!));
  return labels.join('.');
}

function txtRecord(strings: readonly string[]): Buffer {
  const data = Buffer.concat(strings.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])));
  const head = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 0]);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function record(choices: unknown): string[] {
  const text = `grpc_config=${typeof choices === 'string' ? choices : JSON.stringify(choices)}`;
  return text.match(/.{1,250}/g) ?? [];
}

const timeout = (seconds: string) => ({ methodConfig: [{ name: [{}], timeout: seconds }] });

/** Starts to read the TXT record of `target` as a client does, in virtual time. `random` returns 0.5. */
function startReading(server: TxtServer, options: DnsServiceConfigOptions = {}) {
  const leaks = captureLeaks();
  const clock = new VirtualClock();
  const reports: string[] = [];
  const found: unknown[] = [];
  const source = dnsServiceConfig(options);
  if (!needsTarget(source)) throw new Error('expected a source that needs a target');
  const subscription = source[FOR_TARGET]({
    target: `dns://${server.address}/orders.shop:50051`,
    path: 'clients.orders.serviceConfig',
    clock,
    random: () => 0.5,
    report: (message) => reports.push(message),
  }).subscribe((value) =>
    found.push(
      value instanceof LocatedServiceConfig ? value.value : (value as UnreadableServiceConfig).problems.map(String),
    ),
  );
  onTestFinished(async () => {
    subscription.unsubscribe();
    expect(clock.pending).toBe(0);
    await leaks.settled();
  });
  return { clock, reports, found, subscription };
}

/** Advances to the next read, and waits until this read has ended and the following read is scheduled. */
async function nextRead({ clock }: { readonly clock: VirtualClock }): Promise<void> {
  await waitFor(() => clock.pending === 1);
  clock.advance(clock.nextTimerInMs!);
  await waitFor(() => clock.pending === 1);
}

describe('dnsServiceConfig', () => {
  it('emits the service config from the TXT record _grpc_config.<host> of a target', async () => {
    const server = await TxtServer.start();
    server.answer = [['v=spf1 -all'], record([{ serviceConfig: timeout('1s') }])];
    const { found } = startReading(server);
    await waitFor(() => found.length === 1);
    expect(server.queried).toEqual(['_grpc_config.orders.shop']);
    expect(found).toEqual([timeout('1s')]);
  });

  it('joins the strings of a long TXT record', async () => {
    const server = await TxtServer.start();
    const long = { methodConfig: [{ name: [{ service: 'a'.repeat(300) }], timeout: '1s' }] };
    server.answer = [record([{ serviceConfig: long }])];
    const { found } = startReading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([long]);
  });

  it('selects the service config choice by language, host name, and percentage', async () => {
    const server = await TxtServer.start();
    server.answer = [
      record([
        { clientLanguage: ['go'], serviceConfig: timeout('1s') },
        { percentage: 50, serviceConfig: timeout('2s') },
        { percentage: 51, clientHostname: [hostname()], serviceConfig: timeout('3s') },
      ]),
    ];
    const { found } = startReading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([timeout('3s')]);
  });

  it.each<[condition: string, answer: Answer]>([
    ['no such name', 'no such name'],
    ['no TXT record', []],
    ['no grpc_config record', [['v=spf1 -all']]],
    ['no choice for this client', [record([{ percentage: 0, serviceConfig: timeout('1s') }])]],
  ])('emits an empty service config if there is %s', async (_condition, answer) => {
    const server = await TxtServer.start();
    server.answer = answer;
    const { found, reports } = startReading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([{}]);
    expect(reports).toEqual([]);
  });

  it('reads the TXT record every minute and emits only changes', async () => {
    const server = await TxtServer.start();
    server.answer = [record([{ serviceConfig: timeout('1s') }])];
    const reading = startReading(server);
    await waitFor(() => reading.clock.pending === 1);
    expect(reading.clock.nextTimerInMs).toBe(60_000);
    await nextRead(reading);
    expect(reading.found).toHaveLength(1);
    server.answer = [record([{ serviceConfig: timeout('2s') }])];
    await nextRead(reading);
    server.answer = 'no such name';
    await nextRead(reading);
    await nextRead(reading);
    expect(reading.found).toEqual([timeout('1s'), timeout('2s'), {}]);
    expect(server.queried).toHaveLength(5);
  });

  it('reads the TXT record every refreshMs milliseconds', async () => {
    const server = await TxtServer.start();
    const { clock } = startReading(server, { refreshMs: 5_000 });
    await waitFor(() => clock.pending === 1);
    expect(clock.nextTimerInMs).toBe(5_000);
  });

  it('reports an invalid service config choice with its path', async () => {
    const server = await TxtServer.start();
    server.answer = [record([{ percentage: 200, serviceConfig: {} }])];
    const clock = new VirtualClock();
    const source = dnsServiceConfig();
    if (!needsTarget(source)) throw new Error('expected a source that needs a target');
    const target = {
      target: `dns://${server.address}/orders:1`,
      path: 'here',
      clock,
      random: () => 0,
      report: () => undefined,
    };
    const value = await firstValueFrom(source[FOR_TARGET](target));
    expect(value).toBeInstanceOf(UnreadableServiceConfig);
    expect((value as UnreadableServiceConfig).problems).toEqual([
      {
        path: 'here (TXT of _grpc_config.orders)[0].percentage',
        message: 'expected <=100, got 200',
      },
    ]);
    expect(clock.pending).toBe(0);
  });
});

describe('failed TXT lookup', () => {
  it.each<Answer>(['failure', 'silence'])(
    'reports a failed TXT lookup once, and retries with backoff until a lookup succeeds (name server: %s)',
    async (answer) => {
      const server = await TxtServer.start();
      server.answer = answer;
      const reading = startReading(server);
      const waits: number[] = [];
      await waitFor(() => reading.clock.pending === 1, { timeoutMs: 10_000 });
      for (let i = 0; i < (answer === 'silence' ? 1 : 3); i++) {
        waits.push(reading.clock.nextTimerInMs!);
        if (answer === 'failure') await nextRead(reading);
      }
      expect(waits).toEqual([1_000, 1_600, 2_560].slice(0, waits.length).map((ms) => expect.closeTo(ms, 3)));
      expect(reading.found).toEqual([]);
      expect(reading.reports).toEqual([
        expect.stringMatching(
          /^_grpc_config\.orders\.shop: DNS lookup failed \(.+\); the current service config stays in effect, and the lookup/,
        ),
      ]);
      server.answer = [record([{ serviceConfig: timeout('1s') }])];
      await nextRead(reading);
      expect(reading.found).toEqual([timeout('1s')]);
      expect(reading.clock.nextTimerInMs).toBe(60_000);
    },
  );

  it('reports a failed TXT lookup again after a successful one', async () => {
    const server = await TxtServer.start();
    const reading = startReading(server);
    for (const answer of ['failure', 'failure', [], 'failure'] as const) {
      server.answer = answer;
      await nextRead(reading);
    }
    expect(reading.reports).toHaveLength(2);
  });

  it('reports no failure and schedules no further TXT query if the subscriber unsubscribes during a query', async () => {
    const server = await TxtServer.start();
    server.answer = 'silence';
    const reading = startReading(server);
    await waitFor(() => server.queried.length > 0);
    reading.subscription.unsubscribe();
    // The cancelled query fails in the next turn.
    await turn();
    expect([reading.clock.pending, reading.reports]).toEqual([0, []]);
  });
});

describe('invalid source', () => {
  /** Returns the problems that are found before the first query. */
  async function problemsOf(options: DnsServiceConfigOptions, target: string): Promise<string> {
    const source = dnsServiceConfig(options);
    if (!needsTarget(source)) throw new Error('expected a source that needs a target');
    const dependencies = { target, path: 'here', clock: new VirtualClock(), random: () => 0, report: () => undefined };
    const value = await firstValueFrom(source[FOR_TARGET](dependencies));
    return (value as UnreadableServiceConfig).problems.map(({ path, message }) => `${path}: ${message}`).join('\n');
  }

  it.each(['unix:/run/orders.sock', '127.0.0.1:50051', '[::1]:50051', 'xds:///orders'])(
    'rejects a target without a DNS name for dnsServiceConfig(): %s',
    async (target) => {
      expect(await problemsOf({}, target)).toBe(
        `here: expected a target with a DNS name for dnsServiceConfig(), got '${target}'; write the service config directly`,
      );
    },
  );

  it('rejects an invalid refreshMs of dnsServiceConfig()', async () => {
    for (const refreshMs of [0, 999, NaN, Infinity, -1]) {
      expect(await problemsOf({ refreshMs }, 'orders')).toContain(
        `expected a finite refreshMs of 1000 or more for dnsServiceConfig(), got ${refreshMs}`,
      );
    }
  });

  it('emits an error if a subscriber of dnsServiceConfig() is not a client', async () => {
    await expect(firstValueFrom(dnsServiceConfig())).rejects.toThrow(
      'pass the Observable as `serviceConfig` of a client',
    );
  });
});

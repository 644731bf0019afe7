import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { hostname } from 'node:os';
import type { AddressInfo } from 'node:net';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
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

/** A name server on loopback that answers every question for TXT with what `answer` says. */
class TxtServer {
  answer: Answer = [];
  /** Names that were asked for. */
  readonly asked: string[] = [];

  private constructor(private readonly socket: Socket) {
    socket.on('message', (query, { port, address }) => {
      this.asked.push(nameIn(query));
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

/** The byte after the name that begins behind the header. */
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

/** What a client of `target` is given, in virtual time and with chance in its middle. */
function reading(server: TxtServer, options: DnsServiceConfigOptions = {}, target = 'dns:///orders.shop:50051') {
  const leaks = captureLeaks();
  const clock = new VirtualClock();
  const reports: string[] = [];
  const found: unknown[] = [];
  const source = dnsServiceConfig({ servers: [server.address], ...options });
  if (!needsTarget(source)) throw new Error('it has no target to be told');
  const subscription = source[FOR_TARGET]({
    target,
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

/** Lets the time to the next look pass, and waits until it was answered and the one after it is due. */
async function nextLook({ clock }: { readonly clock: VirtualClock }): Promise<void> {
  await waitFor(() => clock.pending === 1);
  clock.advance(clock.nextTimerInMs!);
  await waitFor(() => clock.pending === 1);
}

describe('the service config of a target in DNS', () => {
  it('stands in the TXT record _grpc_config of its name', async () => {
    const server = await TxtServer.start();
    server.answer = [['v=spf1 -all'], record([{ serviceConfig: timeout('1s') }])];
    const { found } = reading(server);
    await waitFor(() => found.length === 1);
    expect(server.asked).toEqual(['_grpc_config.orders.shop']);
    expect(found).toEqual([timeout('1s')]);
  });

  it('may be longer than one string', async () => {
    const server = await TxtServer.start();
    const long = { methodConfig: [{ name: [{ service: 'a'.repeat(300) }], timeout: '1s' }] };
    server.answer = [record([{ serviceConfig: long }])];
    const { found } = reading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([long]);
  });

  it('is chosen by language, host name and percentage', async () => {
    const server = await TxtServer.start();
    server.answer = [
      record([
        { clientLanguage: ['go'], serviceConfig: timeout('1s') },
        { percentage: 50, serviceConfig: timeout('2s') },
        { percentage: 51, clientHostname: [hostname()], serviceConfig: timeout('3s') },
      ]),
    ];
    const { found } = reading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([timeout('3s')]);
  });

  it.each<[sentence: string, answer: Answer]>([
    ['no such name', 'no such name'],
    ['no TXT record', []],
    ['no grpc_config among them', [['v=spf1 -all']]],
    ['no choice for this client', [record([{ percentage: 0, serviceConfig: timeout('1s') }])]],
  ])('is empty where there is %s', async (_sentence, answer) => {
    const server = await TxtServer.start();
    server.answer = answer;
    const { found, reports } = reading(server);
    await waitFor(() => found.length === 1);
    expect(found).toEqual([{}]);
    expect(reports).toEqual([]);
  });

  it('is read again each minute, and told when it changed', async () => {
    const server = await TxtServer.start();
    server.answer = [record([{ serviceConfig: timeout('1s') }])];
    const look = reading(server);
    await waitFor(() => look.clock.pending === 1);
    expect(look.clock.nextTimerInMs).toBe(60_000);
    await nextLook(look);
    expect(look.found).toHaveLength(1);
    server.answer = [record([{ serviceConfig: timeout('2s') }])];
    await nextLook(look);
    server.answer = 'no such name';
    await nextLook(look);
    await nextLook(look);
    expect(look.found).toEqual([timeout('1s'), timeout('2s'), {}]);
    expect(server.asked).toHaveLength(5);
  });

  it('is read as often as it is told to', async () => {
    const server = await TxtServer.start();
    const { clock } = reading(server, { refreshMs: 5_000 });
    await waitFor(() => clock.pending === 1);
    expect(clock.nextTimerInMs).toBe(5_000);
  });

  it('is told as unreadable, with the place, when a choice is wrong', async () => {
    const server = await TxtServer.start();
    server.answer = [record([{ percentage: 200, serviceConfig: {} }])];
    const clock = new VirtualClock();
    const source = dnsServiceConfig({ servers: [server.address] });
    if (!needsTarget(source)) throw new Error('it has no target to be told');
    const target = { target: 'orders:1', path: 'here', clock, random: () => 0, report: () => undefined };
    const value = await firstValueFrom(source[FOR_TARGET](target));
    expect(value).toBeInstanceOf(UnreadableServiceConfig);
    expect((value as UnreadableServiceConfig).problems).toEqual([
      {
        path: 'here (TXT of _grpc_config.orders)[0].percentage',
        message: 'expected an integer from 0 to 100, got 200',
      },
    ]);
    expect(clock.pending).toBe(0);
  });
});

describe('a name server that does not answer', () => {
  it.each<Answer>(['failure', 'silence'])(
    '(%s) leaves things as they are, and is asked again with a backoff',
    async (answer) => {
      const server = await TxtServer.start();
      server.answer = answer;
      const look = reading(server);
      const waits: number[] = [];
      await waitFor(() => look.clock.pending === 1, { timeoutMs: 10_000 });
      for (let i = 0; i < (answer === 'silence' ? 1 : 3); i++) {
        waits.push(look.clock.nextTimerInMs!);
        if (answer === 'failure') await nextLook(look);
      }
      expect(waits).toEqual([1_000, 1_600, 2_560].slice(0, waits.length).map((ms) => expect.closeTo(ms, 3)));
      expect(look.found).toEqual([]);
      expect(look.reports).toEqual([
        expect.stringMatching(/^_grpc_config\.orders\.shop: .+ stays in force, and it is asked/),
      ]);
      server.answer = [record([{ serviceConfig: timeout('1s') }])];
      await nextLook(look);
      expect(look.found).toEqual([timeout('1s')]);
      expect(look.clock.nextTimerInMs).toBe(60_000);
    },
  );

  it('is reported again after it had answered', async () => {
    const server = await TxtServer.start();
    const look = reading(server);
    for (const answer of ['failure', 'failure', [], 'failure'] as const) {
      server.answer = answer;
      await nextLook(look);
    }
    expect(look.reports).toHaveLength(2);
  });

  it('is not asked any more when nobody listens', async () => {
    const server = await TxtServer.start();
    server.answer = 'silence';
    const look = reading(server);
    await waitFor(() => server.asked.length > 0);
    look.subscription.unsubscribe();
    server.answer = [];
    await waitFor(() => look.clock.pending === 0);
    expect(look.reports).toEqual([]);
  });
});

describe('a source that cannot be read', () => {
  /** What is wrong with it, before anything is asked. */
  async function problemsOf(options: DnsServiceConfigOptions, target: string): Promise<string> {
    const source = dnsServiceConfig(options);
    if (!needsTarget(source)) throw new Error('it has no target to be told');
    const dependencies = { target, path: 'here', clock: new VirtualClock(), random: () => 0, report: () => undefined };
    const value = await firstValueFrom(source[FOR_TARGET](dependencies));
    return (value as UnreadableServiceConfig).problems.map(({ path, message }) => `${path}: ${message}`).join('\n');
  }

  it.each(['unix:/run/orders.sock', '127.0.0.1:50051', '[::1]:50051', 'xds:///orders'])(
    'has a target without a name: %s',
    async (target) => {
      expect(await problemsOf({}, target)).toBe(
        `here: expected a target with a name in DNS for dnsServiceConfig(), got '${target}'; write the service config itself`,
      );
    },
  );

  it('has a refresh that is no length', async () => {
    for (const refreshMs of [0, 999, NaN, Infinity, -1]) {
      expect(await problemsOf({ refreshMs }, 'orders')).toContain(`of 1000 or more, got ${refreshMs}`);
    }
  });

  it('has servers that are none', async () => {
    expect(await problemsOf({ servers: ['ns.example'] }, 'orders')).toContain(
      `as 'ip' or 'ip:port', got ["ns.example"]`,
    );
    expect(await problemsOf({}, 'dns://ns.example/orders')).toContain(`as 'ip' or 'ip:port', got ["ns.example"]`);
  });

  it('has nobody who tells it a target', async () => {
    await expect(firstValueFrom(dnsServiceConfig())).rejects.toThrow('give it as `serviceConfig` of a client');
  });
});

it('asks the authority of the target where no server is named', async () => {
  const server = await TxtServer.start();
  const source = dnsServiceConfig();
  if (!needsTarget(source)) throw new Error('it has no target to be told');
  const target = `dns://${server.address}/orders:1`;
  const dependencies = { target, path: 'here', clock: new VirtualClock(), random: () => 0, report: () => undefined };
  expect(await firstValueFrom(source[FOR_TARGET](dependencies))).toMatchObject({ value: {} });
  expect(server.asked).toEqual(['_grpc_config.orders']);
});

import { join } from 'node:path';
import { BehaviorSubject, EMPTY, NEVER, Observable, Subject, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { FOR_TARGET, LocatedServiceConfig, UnreadableServiceConfig } from '../../channel/dns/dns-service-config.js';
import type { ConfigurationProblem, GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { loadContract } from './contract.js';
import { LiveServiceConfig, type LiveServiceConfigInput } from './live-service-config.js';
import { resolveMethodPolicies } from './resolve-method-policies.js';

const loaded = loadContract({ protoPath: join(import.meta.dirname, 'fixtures/shop.proto') }, 'clients.shop');
if (!loaded.ok) throw new Error('the fixture does not load');
const { services } = loaded;

const GET = '/shop.v1.Orders/Get';
const config = (timeout: string, rest: object = {}) => ({ methodConfig: [{ name: [{}], timeout }], ...rest });
const WRONG = { methodConfig: [{ name: [{}], timeout: 5 }] };

function live(source: Observable<unknown>, input: Partial<LiveServiceConfigInput> = {}) {
  const clock = new BusyClock();
  const warnings: string[] = [];
  const subject = new LiveServiceConfig({
    source,
    path: 'clients.shop.serviceConfig',
    target: 'shop:50051',
    check: () => [],
    policies: (serviceConfig) =>
      resolveMethodPolicies({
        services,
        methods: undefined,
        client: { timeoutMs: 9_000 },
        serviceConfig,
      }),
    balancing: (serviceConfig) => ({
      loadBalancing: serviceConfig?.loadBalancingConfig ?? [{ pick_first: {} }],
      maxConnectionsPerEndpoint: 1,
    }),
    clock,
    random: () => 0.5,
    warn: (message) => warnings.push(message),
    ...input,
  });
  return { live: subject, clock, warnings, timeoutMs: () => subject.policyOf(GET)?.timeoutMs };
}

/** Returns the problems that made startup fail, 'began' if startup succeeded, or 'pending' if startup is still waiting. */
async function outcomeOf(subject: LiveServiceConfig): Promise<unknown> {
  let outcome: unknown = 'pending';
  subject.first.then(
    () => (outcome = 'began'),
    (error: unknown) => (outcome = (error as GrpcConfigurationError).problems),
  );
  await Promise.resolve();
  await Promise.resolve();
  return outcome;
}

describe('start', () => {
  it('throws the problem on start() if an invalid first service config has already arrived', () => {
    const { live: subject } = live(of(WRONG));
    expect(() => subject.start()).toThrow('clients.shop.serviceConfig.methodConfig[0].timeout: ');
  });

  it('logs an invalid first service config that arrives after start(), and applies a valid one that follows', async () => {
    const source = new Subject<unknown>();
    const { live: subject, warnings, timeoutMs, clock } = live(source);
    subject.start();
    expect(await outcomeOf(subject)).toBe('began');
    source.next(WRONG);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^clients\.shop\.serviceConfig\.methodConfig\[0\]\.timeout: .+; the client has no service config$/,
      ),
    ]);
    source.next(config('2s'));
    expect(timeoutMs()).toBe(2_000);
    clock.advance(10_000);
    expect(warnings).toHaveLength(1);
    subject.close();
    expect(clock.pending).toBe(0);
  });

  it('logs that the service config source failed after start(), and warns if no service config arrives within 5 s', () => {
    const source = new Subject<unknown>();
    const failing = live(source);
    failing.live.start();
    source.error(new Error('no such key'));
    expect(failing.warnings).toEqual([
      'clients.shop.serviceConfig: the Observable failed: no such key; the client has no service config',
    ]);
    const silent = live(NEVER);
    silent.live.start();
    silent.clock.advance(10_000);
    expect(silent.warnings).toEqual([expect.stringContaining('no service config arrived within 5000 ms')]);
  });
});

describe('first service config', () => {
  it('applies a service config immediately if the source emits it synchronously', async () => {
    const { live: subject, timeoutMs, clock } = live(of(config('2s')));
    expect(timeoutMs()).toBe(2_000);
    expect(await outcomeOf(subject)).toBe('began');
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it('makes startup fail with the path of the problem, and unsubscribes, if the first service config is invalid', async () => {
    for (const source of [new Subject<unknown>(), new BehaviorSubject<unknown>(WRONG)]) {
      const { live: subject, warnings, clock } = live(source);
      source.next(WRONG);
      expect(await outcomeOf(subject)).toEqual([
        expect.objectContaining({ path: 'clients.shop.serviceConfig.methodConfig[0].timeout' }),
      ]);
      expect(source.observed).toBe(false);
      expect(warnings).toEqual([]);
      clock.advance(0);
      expect(clock.pending).toBe(0);
    }
  });

  it.each<[sentence: string, source: Observable<unknown>, message: string]>([
    [
      'the service config source fails',
      throwError(() => new Error('no such key')),
      'the Observable failed: no such key',
    ],
    ['the service config source completes without a value', EMPTY, 'the Observable completed without a service config'],
    ['the first value of the service config source is undefined', of(undefined), 'expected an object, got nothing'],
  ])('makes startup fail if %s', async (_sentence, source, message) => {
    const { live: subject } = live(source);
    expect(await outcomeOf(subject)).toEqual([
      { path: 'clients.shop.serviceConfig', message: expect.stringContaining(message) },
    ]);
  });

  it('makes startup fail with the problems that the additional check of the service config returns', async () => {
    const problem = { path: 'clients.shop.serviceConfig.loadBalancingConfig', message: 'no' };
    const { live: subject } = live(of(config('1s')), { check: () => [problem] });
    expect(await outcomeOf(subject)).toEqual([problem]);
  });

  it('excludes blocked event-loop time from the 5 s wait for the first service config', async () => {
    const source = new Subject<unknown>();
    const { live: subject, clock, warnings, timeoutMs } = live(source);
    clock.setTimer(() => source.next(config('2s')), 5_500);
    clock.block(8_000);
    clock.advance(8_000);
    expect(await outcomeOf(subject)).toBe('began');
    expect([warnings, timeoutMs()]).toEqual([[], 2_000]);
  });

  it('starts without a service config after 5 s, and applies the first valid service config when it arrives', async () => {
    const source = new Subject<unknown>();
    const { live: subject, clock, warnings, timeoutMs } = live(source);
    clock.advance(4_999);
    expect(await outcomeOf(subject)).toBe('pending');
    clock.advance(1);
    expect(await outcomeOf(subject)).toBe('began');
    expect(warnings).toEqual([expect.stringContaining('no service config arrived within 5000 ms')]);
    source.next(WRONG);
    expect(timeoutMs()).toBe(9_000);
    source.next(config('2s'));
    expect(timeoutMs()).toBe(2_000);
  });

  it('causes no unhandled rejection if the source of the service config fails', async () => {
    const { live: subject } = live(throwError(() => new Error('x')));
    await new Promise((resolve) => setImmediate(resolve));
    await expect(subject.first).rejects.toThrow('x');
  });
});

describe('service config update', () => {
  it('rejects and logs a service config update that cannot be serialized', () => {
    const source = new BehaviorSubject<unknown>(config('2s'));
    const { warnings, timeoutMs } = live(source);
    source.next({ loadBalancingConfig: [{ round_robin: { size: 1n } }] });
    expect(warnings).toEqual([
      expect.stringMatching(
        /^clients\.shop\.serviceConfig: cannot be read: .*; write plain values; the current service config stays/,
      ),
    ]);
    expect(timeoutMs()).toBe(2_000);
    source.next(config('3s'));
    expect(timeoutMs()).toBe(3_000);
  });

  it('logs the problem of a service config update on one line', () => {
    const source = new BehaviorSubject<unknown>(config('2s'));
    const problems: ConfigurationProblem[] = [];
    const { warnings } = live(source, { check: () => problems });
    problems.push({ path: 'a', message: 'b\n\u001b[31mc' });
    source.next(config('3s'));
    expect(warnings.at(-1)).toBe('a: b\\u000a\\u001b[31mc; the current service config stays in effect');
  });

  it('logs an invalid service config update once while its source repeats it, and again after a valid one', () => {
    const source = new BehaviorSubject<unknown>(config('1s'));
    const { warnings } = live(source);
    for (let i = 0; i < 100; i++) source.next({ retries: 1 });
    expect(warnings).toHaveLength(1);
    source.next(config('2s'));
    source.next({ retries: 1 });
    expect(warnings).toHaveLength(2);
  });

  it('logs one line of fewer than 500 characters for a service config update with 1,999 problems', () => {
    const source = new BehaviorSubject<unknown>(config('1s'));
    const { warnings } = live(source);
    source.next({ methodConfig: Array.from({ length: 1_000 }, () => ({ name: [{}], timeout: 1 })) });
    expect(warnings).toEqual([
      expect.stringMatching(/methodConfig\[0\]\.timeout: .+ \(1998 more\); the current service config stays/),
    ]);
    expect(warnings[0]?.length).toBeLessThan(500);
  });

  it('notifies the client after a service config update takes effect, until the client is closed', () => {
    const source = new BehaviorSubject<unknown>(config('1s'));
    const { live: subject, timeoutMs } = live(source);
    const notified: [ParsedServiceConfig, number | undefined][] = [];
    subject.onChange = (one) => notified.push([one, timeoutMs()]);
    const retryThrottling = { maxTokens: 10, tokenRatio: 0.1 };
    source.next(config('2s', { retryThrottling }));
    expect(notified).toMatchObject([[{ retryThrottling }, 2_000]]);
    subject.close();
    source.next(config('3s'));
    expect(notified).toHaveLength(1);
  });

  it('provides the load balancing of the current service config, or that of the options if the service config has none', () => {
    const balanced = (name: string) => config('1s', { loadBalancingConfig: [{ [name]: {} }] });
    const source = new BehaviorSubject<unknown>(balanced('round_robin'));
    const { live: subject, warnings } = live(source);
    expect(subject.balancing).toMatchObject({ loadBalancing: [{ round_robin: {} }] });
    source.next(config('1s'));
    expect(subject.balancing).toMatchObject({ loadBalancing: [{ pick_first: {} }] });
    expect(warnings).toMatchObject([]);
  });

  it('logs the failure of the service config source, but not its completion', () => {
    const failing = new BehaviorSubject<unknown>(config('1s'));
    const one = live(failing);
    failing.error(new Error('broken'));
    expect(one.warnings).toEqual([
      expect.stringContaining('the Observable failed: broken; the current service config stays in effect'),
    ]);
    expect(one.timeoutMs()).toBe(1_000);
    const two = live(of(config('1s')));
    expect(two.warnings).toEqual([]);
  });
});

describe('source that depends on the target', () => {
  it('passes the target and the path to a service config source, and reports problems at the location that the source names', async () => {
    const received: unknown[] = [];
    const found = new Subject<unknown>();
    const source = Object.assign(new Observable<never>(), {
      [FOR_TARGET]: (dependencies: { target: string; path: string; report: (message: string) => void }) => {
        received.push([dependencies.target, dependencies.path]);
        dependencies.report('a message');
        return found;
      },
    });
    const { live: subject, clock, timeoutMs, warnings } = live(source);
    expect(received).toEqual([['shop:50051', 'clients.shop.serviceConfig']]);
    expect(warnings).toEqual(['a message']);
    found.next(new LocatedServiceConfig(config('2s'), 'TXT[0]'));
    expect(timeoutMs()).toBe(2_000);
    found.next(new LocatedServiceConfig({ retries: 1 }, 'TXT[1]'));
    expect(warnings[1]).toMatch(/^TXT\[1\]\.retries: unknown option; /);
    found.next(new UnreadableServiceConfig([{ path: 'TXT', message: 'no JSON' }], true));
    clock.advance(60_000);
    expect(warnings[2]).toMatch(/^TXT: no JSON/);
    expect(await outcomeOf(subject)).toBe('began');
  });
});

describe('DNS record', () => {
  const BAD = [
    { path: 'TXT', message: 'no JSON' },
    { path: 'TXT', message: 'no list' },
  ];
  function recordOf(first: unknown) {
    const found = new BehaviorSubject<unknown>(first);
    const source = Object.assign(new Observable<never>(), { [FOR_TARGET]: () => found });
    return { found, ...live(source) };
  }

  it.each([
    ['cannot be read', new UnreadableServiceConfig(BAD, true), /^TXT: no JSON \(1 more\); the client starts without a/],
    [
      'contains an invalid service config',
      new LocatedServiceConfig(WRONG, 'TXT'),
      /^TXT\.methodConfig\[0\]\.timeout: expected/,
    ],
  ])(
    'starts even if the DNS record %s, warns once, and applies the record when it is corrected',
    async (_why, bad, line) => {
      const { live: subject, found, warnings, timeoutMs } = recordOf(bad);
      expect(await outcomeOf(subject)).toBe('began');
      expect(warnings).toEqual([expect.stringMatching(line)]);
      expect(timeoutMs()).toBe(9_000);
      expect(found.observed).toBe(true);
      found.next(new LocatedServiceConfig(config('2s'), 'TXT'));
      expect(timeoutMs()).toBe(2_000);
      expect(warnings).toHaveLength(1);
      // A record that becomes invalid while the client runs changes nothing.
      found.next(bad);
      expect(timeoutMs()).toBe(2_000);
    },
  );

  it('makes startup fail if the options of the DNS source are invalid', async () => {
    const { live: subject, found } = recordOf(new UnreadableServiceConfig(BAD, false));
    expect(await outcomeOf(subject)).toEqual(BAD);
    expect(found.observed).toBe(false);
  });
});

describe('close()', () => {
  it('ends the wait for the first service config on close(), unsubscribes, and clears the timer', async () => {
    const source = new Subject<unknown>();
    const { live: subject, clock } = live(source);
    subject.close();
    expect(await outcomeOf(subject)).toBe('began');
    expect(source.observed).toBe(false);
    clock.advance(0);
    expect(clock.pending).toBe(0);
    const never = live(NEVER);
    never.live.close();
    never.live.close();
    never.clock.advance(0);
    expect(never.clock.pending).toBe(0);
  });

  it('keeps the current service config on close() and ignores later updates', () => {
    const source = new BehaviorSubject<unknown>(config('1s'));
    const { live: subject, timeoutMs } = live(source);
    subject.close();
    source.next(config('2s'));
    expect(timeoutMs()).toBe(1_000);
  });
});

import { describe, expect, it } from 'vitest';
import { DEFAULT_EJECTION, slowStartWeight, type EjectionPolicy } from './ejection-policy.js';
import { EndpointRecord } from './endpoint-record.js';
import {
  decideEjections,
  NEVER_EJECTED,
  type EjectionDecision,
  type EjectionState,
  type EndpointView,
} from './next-ejection.js';
import { readOutlierDetection } from './outlier-detection.js';

const NOW = 1_000_000;
const HALF = () => 0.5;

interface History {
  readonly successes?: number;
  readonly failures?: number;
  /** Number of consecutive failures at the end of the history. */
  readonly consecutive?: number;
  readonly latencyMs?: number;
  readonly state?: EjectionState;
  readonly isUsable?: boolean;
  readonly unanswered?: { readonly count: number; readonly forMs: number };
  readonly respondedAgoMs?: number;
}

/** Creates an endpoint with the given history: failures first, then successes, then consecutive failures. */
function endpoint(address: string, history: History = {}): EndpointView {
  const record = new EndpointRecord();
  const { successes = 0, failures = 0, consecutive = 0, latencyMs, unanswered } = history;
  for (let index = 0; index < failures; index++) record.count('failure');
  for (let index = 0; index < successes; index++) record.count('success');
  for (let index = 0; index < consecutive; index++) record.count('failure');
  if (latencyMs !== undefined)
    for (let at = 32; at > 0; at--) record.addLatency(latencyMs * (1 + at / 1_000), NOW - at * 40);
  record.respondedAt = NOW - (history.respondedAgoMs ?? 10);
  return {
    address,
    record,
    state: history.state ?? NEVER_EJECTED,
    isUsable: history.isUsable ?? true,
    unanswered: { count: unanswered?.count ?? 0, oldestAt: NOW - (unanswered?.forMs ?? 0) },
  };
}

function fleet(first: History, others: History = { successes: 50 }, size = 3): EndpointView[] {
  return Array.from({ length: size }, (_, index) => endpoint(String(index), index === 0 ? first : others));
}

const ejectedUntil = (until: number): EjectionState => ({
  kind: 'ejected',
  since: NOW - 30_000,
  until,
  ejections: 1,
  evidence: { reason: 'consecutive-failures', failures: 5 },
});

function decide(endpoints: readonly EndpointView[], policy: EjectionPolicy = DEFAULT_EJECTION, random = HALF) {
  return decideEjections(endpoints, NOW, true, policy, random);
}

/** Formats decisions: 'eject 0 latency', 'return 1 panic', 'spare 2 panic-threshold'. */
function formatDecisions(decisions: readonly EjectionDecision[]): string[] {
  return decisions.map((decision) => {
    if (decision.kind === 'eject') return `eject ${decision.address} ${decision.state.evidence.reason}`;
    return `${decision.kind} ${decision.address} ${decision.reason}`;
  });
}

function parsePolicy(config: object): EjectionPolicy {
  const entry = readOutlierDetection({
    outlier_detection_experimental: { childPolicy: [{ round_robin: {} }], ...config },
  });
  if (entry?.ok !== true) throw new Error(entry?.problem);
  return entry.ejection;
}

describe('decideEjections', () => {
  it.each<[string, readonly EndpointView[], readonly string[]]>([
    ['keeps endpoints that succeed', fleet({ successes: 50 }), []],
    ['keeps an endpoint with four consecutive failures', fleet({ successes: 50, consecutive: 4 }), []],
    [
      'ejects an endpoint with five consecutive failures',
      fleet({ successes: 50, consecutive: 5 }),
      ['eject 0 consecutive-failures'],
    ],
    ['keeps all endpoints if all of them fail', fleet({ consecutive: 9 }, { failures: 50 }), []],
    [
      'ejects an endpoint that fails more than half of its attempts',
      fleet({ failures: 30, successes: 20 }),
      ['eject 0 failure-percentage'],
    ],
    ['keeps an endpoint that fails half of its attempts', fleet({ failures: 25, successes: 25 }), []],
    ['keeps a failing endpoint with fewer than 20 attempts', fleet({ failures: 15, successes: 4 }), []],
    [
      'keeps a failing endpoint if the others fail more than half as often',
      fleet({ failures: 60, successes: 40 }, { failures: 40, successes: 60 }),
      [],
    ],
    [
      'ejects an endpoint with five times the latency of the others',
      fleet({ latencyMs: 100 }, { latencyMs: 20 }),
      ['eject 0 latency'],
    ],
    ['keeps an endpoint with four times the latency of the others', fleet({ latencyMs: 80 }, { latencyMs: 20 }), []],
    ['keeps an endpoint that is slower by less than 10 ms', fleet({ latencyMs: 9 }, { latencyMs: 1 }), []],
    ['ejects the slower of two endpoints', fleet({ latencyMs: 500 }, { latencyMs: 20 }, 2), ['eject 0 latency']],
    [
      'ejects an endpoint that does not respond for 1 s',
      fleet({ unanswered: { count: 5, forMs: 1_100 }, respondedAgoMs: 1_000 }, { latencyMs: 20 }),
      ['eject 0 no-response'],
    ],
    [
      'keeps a silent endpoint with only four waiting attempts',
      fleet({ unanswered: { count: 4, forMs: 1_100 }, respondedAgoMs: 1_000 }),
      [],
    ],
    [
      'keeps a silent endpoint if the others do not respond either',
      fleet({ unanswered: { count: 9, forMs: 1_100 }, respondedAgoMs: 1_000 }, { respondedAgoMs: 1_050 }),
      [],
    ],
    [
      'keeps a silent endpoint if a response from the others took more than half as long as the silence',
      fleet({ unanswered: { count: 9, forMs: 1_100 }, respondedAgoMs: 1_000 }, { latencyMs: 501 }),
      [],
    ],
    ['never ejects the only endpoint', fleet({ consecutive: 9 }, {}, 1), []],
    [
      'ejects only the first of two failing endpoints among three',
      [endpoint('0', { consecutive: 5 }), endpoint('1', { consecutive: 5 }), endpoint('2', { successes: 50 })],
      ['eject 0 consecutive-failures', 'spare 1 panic-threshold'],
    ],
    [
      'ejects half of four endpoints, and spares the third failing one',
      [
        ...['0', '1', '2'].map((name) => endpoint(name, { failures: 30, successes: 20 })),
        endpoint('3', { successes: 5_000 }),
      ],
      ['eject 0 failure-percentage', 'eject 1 failure-percentage', 'spare 2 panic-threshold'],
    ],
    [
      'ejects the slow endpoint of three',
      [endpoint('0', { latencyMs: 500 }), endpoint('1', { latencyMs: 20 }), endpoint('2', { latencyMs: 20 })],
      ['eject 0 latency'],
    ],
    [
      'spares a failing endpoint of three while another one is ejected',
      [
        endpoint('0', { consecutive: 5 }),
        endpoint('1', { state: ejectedUntil(NOW + 1) }),
        endpoint('2', { successes: 9 }),
      ],
      ['spare 0 panic-threshold'],
    ],
    [
      'spares a failing endpoint of three while another one is disconnected',
      [endpoint('0', { consecutive: 5 }), endpoint('1', { isUsable: false }), endpoint('2', { successes: 9 })],
      ['spare 0 panic-threshold'],
    ],
    ['returns an endpoint at the end of its ejection', fleet({ state: ejectedUntil(NOW) }), ['return 0 expired']],
    ['keeps an endpoint ejected until the end of its ejection', fleet({ state: ejectedUntil(NOW + 1) }), []],
    [
      'returns an endpoint early if the others become unusable',
      fleet({ state: ejectedUntil(NOW + 1) }, { isUsable: false }),
      ['return 0 panic'],
    ],
    [
      'does not return an unusable endpoint early',
      fleet({ state: ejectedUntil(NOW + 1), isUsable: false }, { isUsable: false }),
      [],
    ],
    [
      'returns only the needed endpoints early, starting with the one whose ejection ends first',
      [
        endpoint('0', { state: ejectedUntil(NOW + 9) }),
        endpoint('1', { state: ejectedUntil(NOW + 5) }),
        endpoint('2', { isUsable: false }),
        endpoint('3'),
      ],
      ['return 1 panic'],
    ],
  ])('%s', (_, endpoints, expected) => {
    expect(formatDecisions(decide(endpoints))).toEqual(expected);
  });

  it.each([
    ['first ejection', NEVER_EJECTED, 30_000],
    ['second ejection', { kind: 'included', since: NOW - 1_000, ejections: 1 }, 60_000],
    ['eleventh ejection', { kind: 'included', since: NOW - 1_000, ejections: 10 }, 300_000],
    [
      'third ejection, two minutes after the end of the second one',
      { kind: 'included', since: NOW - 120_000, ejections: 2 },
      30_000,
    ],
  ] as const)('sets the duration of an ejection according to the number of recent ejections: %s', (_, state, ms) => {
    const [decision] = decide(fleet({ consecutive: 5, state }));
    expect(decision).toMatchObject({ kind: 'eject', state: { since: NOW, until: NOW + ms } });
  });

  it('extends the ejections of an endpoint that flaps, and shortens them by 30 s for each minute without an ejection', () => {
    let state: EjectionState = NEVER_EJECTED;
    let now = NOW;
    const next = (waitMs: number): number => {
      now += waitMs;
      const rules = (endpoints: readonly EndpointView[]) =>
        decideEjections(endpoints, now, true, DEFAULT_EJECTION, HALF).find(({ kind }) => kind !== 'spare');
      const ejected = rules(fleet({ consecutive: 5, state }));
      if (ejected?.kind !== 'eject') throw new Error('the endpoint was not ejected');
      const { since, until } = ejected.state;
      now = until;
      const returned = rules(fleet({ state: ejected.state }));
      if (returned?.kind !== 'return') throw new Error('the endpoint did not return');
      ({ state } = returned);
      return (until - since) / 1_000;
    };
    expect([next(0), next(1_000), next(59_000), next(61_000), next(121_000), next(600_000)]).toEqual([
      30, 60, 90, 90, 60, 30,
    ]);
  });

  it('jitters the duration of an ejection by ±10%', () => {
    const untilAt = (random: number) => decide(fleet({ consecutive: 5 }), undefined, () => random)[0];
    expect(untilAt(0)).toMatchObject({ state: { until: NOW + 27_000 } });
    expect(untilAt(1)).toMatchObject({ state: { until: NOW + 33_000 } });
  });
});

describe('standard outlier detection (gRFC A50)', () => {
  const failing = (size: number) => fleet({ failures: 100 }, { successes: 100 }, size);

  it.each<[string, object, readonly EndpointView[], readonly string[]]>([
    ['ejects no endpoint if outlier detection has no rule', {}, failing(5), []],
    [
      'ejects an endpoint by its failure percentage',
      { failurePercentageEjection: {} },
      failing(5),
      ['eject 0 failure-percentage'],
    ],
    [
      'requires five endpoints for an ejection if minimumHosts is not set',
      { failurePercentageEjection: {} },
      failing(4),
      [],
    ],
    [
      'ejects an endpoint if there are at least minimumHosts endpoints',
      { failurePercentageEjection: { minimumHosts: 2 } },
      failing(3),
      ['eject 0 failure-percentage'],
    ],
    [
      'keeps endpoints with fewer attempts than the request volume',
      { failurePercentageEjection: { requestVolume: 101 } },
      failing(5),
      [],
    ],
    [
      'keeps endpoints whose failure percentage equals the threshold',
      { failurePercentageEjection: { threshold: 100 } },
      failing(5),
      [],
    ],
    [
      'ejects an endpoint by its success rate',
      { successRateEjection: {} },
      fleet({ successes: 50, failures: 50 }, { successes: 100 }, 6),
      ['eject 0 success-rate'],
    ],
    [
      'keeps endpoints whose success rate is within stdevFactor / 1000 standard deviations of the mean',
      { successRateEjection: { stdevFactor: 3_000 } },
      fleet({ successes: 50, failures: 50 }, { successes: 100 }, 6),
      [],
    ],
    [
      'spares the second failing endpoint if the share of ejected endpoints has reached maxEjectionPercent',
      { failurePercentageEjection: {}, maxEjectionPercent: 10 },
      [...failing(5), endpoint('5', { failures: 100 })],
      ['eject 0 failure-percentage', 'spare 5 max-ejection-percent'],
    ],
    [
      'reports outliers whose ejection is not enforced',
      { failurePercentageEjection: { enforcementPercentage: 0 } },
      failing(5),
      ['spare 0 enforcement'],
    ],
    [
      'ejects no endpoint without attempts, even if requestVolume is 0',
      { failurePercentageEjection: { minimumHosts: 1, requestVolume: 0 } },
      fleet({}, { successes: 60 }, 5),
      [],
    ],
    [
      'does not compare the success rate of an endpoint without attempts, even if requestVolume is 0',
      { successRateEjection: { minimumHosts: 1, requestVolume: 0, stdevFactor: 100 } },
      [endpoint('idle'), ...fleet({ failures: 50 }, { successes: 60 }, 5)],
      ['eject 0 success-rate'],
    ],
    [
      'ignores consecutive failures in standard outlier detection',
      { successRateEjection: {} },
      fleet({ consecutive: 50 }, { successes: 1 }, 5),
      [],
    ],
  ])('%s', (_, config, endpoints, expected) => {
    expect(formatDecisions(decide(endpoints, parsePolicy(config)))).toEqual(expected);
  });

  it.each([
    [{ interval: '1s', baseEjectionTime: '0.5s' }],
    [{ interval: { seconds: 1, nanos: 0 }, base_ejection_time: { seconds: 0, nanos: 500_000_000 } }],
  ])('accepts the field names and durations of proto3 JSON and of grpc-js in outlier detection: %j', (config) => {
    expect(parsePolicy(config)).toMatchObject({ intervalMs: 1_000, baseEjectionMs: 500, maxEjectionMs: 300_000 });
  });

  it('reports the path of an invalid outlierDetection value', () => {
    const entry = readOutlierDetection({ outlierDetection: { interval: '1 min', childPolicy: [{ round_robin: {} }] } });
    expect(entry).toEqual({
      ok: false,
      problem: expect.stringMatching(/^outlierDetection\.interval: expected a duration .*, got "1 min"/),
    });
    const misspelled = readOutlierDetection({
      outlierDetection: { intervall: '1s', childPolicy: [{ round_robin: {} }] },
    });
    expect(misspelled).toEqual({
      ok: false,
      problem: "outlierDetection.intervall: unknown option; did you mean 'interval'?",
    });
  });
});

describe('decideEjections with many endpoints', () => {
  it('reads the latencies of each endpoint twice per decision about ejections', () => {
    let reads = 0;
    const endpoints = fleet({ latencyMs: 20 }, { latencyMs: 20 }, 100);
    for (const { record } of endpoints) {
      const latenciesAt = record.latenciesAt.bind(record);
      record.latenciesAt = (now) => {
        reads += 1;
        return latenciesAt(now);
      };
    }
    decide(endpoints);
    expect(reads).toBe(200);
  });

  it('reads no latencies of endpoints with fewer than 16 recorded latencies', () => {
    const endpoints = fleet({}, {}, 100);
    for (const { record } of endpoints) {
      for (let call = 15; call > 0; call--) record.addLatency(20, NOW - 32 * call);
      record.latenciesAt = () => expect.fail('latencies are read');
    }
    expect(decide(endpoints)).toEqual([]);
  });

  it('reads no latencies for a decision after a failed attempt, and applies the consecutive-failures rule only to the endpoint of the attempt', () => {
    const endpoints = fleet({ consecutive: 5 }, { successes: 50 }, 100);
    for (const { record } of endpoints) record.latenciesAt = () => expect.fail('latencies are read');
    const decideAfter = (failing: string) => decideEjections(endpoints, NOW, false, DEFAULT_EJECTION, HALF, failing);
    expect(formatDecisions(decideAfter('0'))).toEqual(['eject 0 consecutive-failures']);
    expect(formatDecisions(decideAfter('1'))).toEqual([]);
  });
});

describe('slowStartWeight', () => {
  it.each([
    [0, 0.1],
    [500, 0.1],
    [5_000, 0.5],
    [10_000, 1],
    [Infinity, 1],
  ])('maps %d ms of a slow start of 10 s to an endpoint weight of %d', (elapsedMs, weight) => {
    expect(slowStartWeight(elapsedMs, 10_000)).toBe(weight);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type EndpointSlice,
  type SliceEndpoint,
  selectEndpoints,
  type EndpointSelection,
  watchDelayMs,
} from './select-endpoints.js';

const GRPC = [{ name: 'grpc', port: 50_051 }];

interface PodState {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
  readonly uid?: string;
}

const pod = (address: string, { uid, ...conditions }: PodState = {}): SliceEndpoint => ({
  addresses: [address],
  conditions,
  ...(uid !== undefined && { targetRef: { uid } }),
});

const slice = (endpoints: readonly SliceEndpoint[], rest: Partial<EndpointSlice> = {}): EndpointSlice => ({
  addressType: 'IPv4',
  ports: GRPC,
  endpoints,
  ...rest,
});

function hosts(selection: EndpointSelection): readonly string[] | string {
  if (!selection.found) return selection.reason;
  return selection.endpoints.map(({ addresses }) =>
    addresses.map(({ host, port }) => `${host}:${String(port)}`).join('+'),
  );
}

const SERVING = { ready: false, serving: true, terminating: true };

describe('selectEndpoints', () => {
  it.each<[string, readonly SliceEndpoint[], readonly string[] | string]>([
    ['a ready pod', [pod('10.0.0.1', { ready: true })], ['10.0.0.1:50051']],
    ['a pod without conditions', [pod('10.0.0.1')], ['10.0.0.1:50051']],
    ['a pod whose readiness is null', [pod('10.0.0.1', { ready: null })], ['10.0.0.1:50051']],
    ['only the ready pod of two', [pod('10.0.0.1', { ready: false }), pod('10.0.0.2')], ['10.0.0.2:50051']],
    ['no terminating pod while another pod is ready', [pod('10.0.0.1', SERVING), pod('10.0.0.2')], ['10.0.0.2:50051']],
    [
      'a terminating pod that is published as ready',
      [pod('10.0.0.1', { ready: true, terminating: true })],
      ['10.0.0.1:50051'],
    ],
    ['a terminating pod that serves, if no pod is ready', [pod('10.0.0.1', SERVING)], ['10.0.0.1:50051']],
    ['no terminating pod that has stopped serving', [pod('10.0.0.1', { ...SERVING, serving: false })], 'not-ready'],
    ['no unready pod', [pod('10.0.0.1', { ready: false })], 'not-ready'],
    ['no pod if the service has no pods', [], 'no-endpoints'],
    ['no pod without an address', [{ addresses: [] }], 'no-endpoints'],
  ])('selects %s', (_, endpoints, expected) => {
    expect(hosts(selectEndpoints([slice(endpoints)], 'grpc'))).toEqual(expected);
  });

  it('reports no-slices if a service has no EndpointSlices, or only EndpointSlices with DNS names', () => {
    expect(hosts(selectEndpoints([], 'grpc'))).toBe('no-slices');
    const names = slice([pod('orders.example')], { addressType: 'FQDN' });
    expect(hosts(selectEndpoints([names], 'grpc'))).toBe('no-slices');
  });

  it.each<
    [string, NonNullable<EndpointSlice['ports']> | null, number | string | undefined, readonly string[] | string]
  >([
    ['resolves a port number that the EndpointSlice has', GRPC, 50_051, ['10.0.0.1:50051']],
    ['rejects a port number that the EndpointSlice lacks', GRPC, 80, 'port'],
    ['resolves a port number if the port list of the EndpointSlice is empty', [], 80, ['10.0.0.1:80']],
    ['resolves a port number if the port list of the EndpointSlice is null', null, 80, ['10.0.0.1:80']],
    ['resolves a port number if the EndpointSlice has a port without a number', [{ port: null }], 80, ['10.0.0.1:80']],
    [
      'resolves a port name that the EndpointSlice has',
      [{ name: 'http', port: 80 }, ...GRPC],
      'grpc',
      ['10.0.0.1:50051'],
    ],
    ['rejects a port name that the EndpointSlice lacks', GRPC, 'http', 'port'],
    ['rejects a port name whose number is null', [{ name: 'grpc', port: null }], 'grpc', 'port'],
    [
      'resolves a target without a port if the EndpointSlice has one port',
      [{ name: 'web', port: 80 }],
      undefined,
      ['10.0.0.1:80'],
    ],
    [
      "resolves a target without a port if the EndpointSlice has a port named 'grpc'",
      [{ name: 'http', port: 80 }, ...GRPC],
      undefined,
      ['10.0.0.1:50051'],
    ],
    ['rejects a target without a port if the EndpointSlice has no port', [], undefined, 'port'],
    ['rejects a port number that the EndpointSlice has only for UDP', [{ protocol: 'UDP', port: 80 }], 80, 'port'],
    [
      'rejects a port number if the EndpointSlice has only a UDP port without a number',
      [{ protocol: 'UDP', port: null }],
      80,
      'port',
    ],
    [
      'resolves a target without a port if the EndpointSlice has one TCP port',
      [{ protocol: 'UDP', port: 53 }, { port: 80 }],
      undefined,
      ['10.0.0.1:80'],
    ],
    [
      'rejects a target without a port if the EndpointSlice has only a UDP port',
      [{ protocol: 'UDP', port: 53 }],
      undefined,
      'port',
    ],
    ['rejects a port name whose number is 0', [{ name: 'grpc', port: 0 }], 'grpc', 'port'],
    [
      'rejects a target without a port if the EndpointSlice has only a port above 65535',
      [{ port: 70_000 }],
      undefined,
      'port',
    ],
  ])('%s', (_, ports, port, expected) => {
    expect(hosts(selectEndpoints([slice([pod('10.0.0.1')], { ports })], port))).toEqual(expected);
  });

  it('lists the ports of a service if the requested port is invalid', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: '', port: null },
      { name: 'grpc', port: 70_000 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ];
    expect(selectEndpoints([slice([pod('10.0.0.1')], { ports })], 81)).toMatchObject({ found: true });
    expect(selectEndpoints([slice([pod('10.0.0.1')], { ports })], 'grpc')).toEqual({
      found: false,
      reason: 'port',
      counts: { ready: 1, notReady: 0, terminating: 0 },
      ports: ['80 (http)', 'any', 'the invalid port 70000 (grpc)', '53/UDP (dns)'],
    });
  });

  it('counts each pod once, even if two EndpointSlices contain it', () => {
    const endpoints = [pod('10.0.0.1'), pod('10.0.0.2', { ready: false }), pod('10.0.0.3', SERVING)];
    expect(selectEndpoints([slice(endpoints), slice(endpoints)], 'grpc').counts).toEqual({
      ready: 1,
      notReady: 1,
      terminating: 1,
    });
  });

  it('merges the IPv4 and IPv6 addresses of a pod into one endpoint', () => {
    const slices = [
      slice([pod('10.0.0.1', { uid: 'a' }), pod('10.0.0.2', { uid: 'b' })]),
      slice([pod('fd00::2', { uid: 'b' }), pod('fd00::1', { uid: 'a' })], { addressType: 'IPv6' }),
    ];
    expect(hosts(selectEndpoints(slices, 'grpc'))).toEqual([
      '10.0.0.1:50051+fd00::1:50051',
      '10.0.0.2:50051+fd00::2:50051',
    ]);
  });

  it('selects each port of a host whose endpoints are not pods', () => {
    const slices = [1, 2].map((number) =>
      slice([pod('10.0.0.1')], { ports: [{ name: 'grpc', port: 50_050 + number }] }),
    );
    expect(hosts(selectEndpoints(slices, 'grpc'))).toEqual(['10.0.0.1:50051', '10.0.0.1:50052']);
    expect(selectEndpoints(slices.reverse(), 'grpc')).toEqual(selectEndpoints(slices.reverse(), 'grpc'));
    expect(selectEndpoints(slices, 'grpc').counts.ready).toBe(2);
  });

  it('treats a pod as terminating if one of its EndpointSlices marks it as terminating', () => {
    const copies = [slice([pod('10.0.0.1', SERVING)]), slice([pod('10.0.0.1')]), slice([pod('10.0.0.2')])];
    expect(hosts(selectEndpoints(copies, 'grpc'))).toEqual(['10.0.0.2:50051']);
  });

  it('selects the same endpoints in the same order, whatever the order of the EndpointSlices and of their endpoints', () => {
    const anyPod = fc.record({
      address: fc.integer({ min: 1, max: 20 }).map((last) => `10.0.0.${String(last)}`),
      ready: fc.boolean(),
      terminating: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(anyPod), fc.array(anyPod), (first, second) => {
        const slices = [first, second].map((pods) => slice(pods.map(({ address, ...state }) => pod(address, state))));
        const reversed = slices
          .map((original) => ({ ...original, endpoints: [...(original.endpoints ?? [])].reverse() }))
          .reverse();
        expect(selectEndpoints(reversed, 'grpc')).toEqual(selectEndpoints(slices, 'grpc'));
      }),
    );
  });
});

describe('watchDelayMs', () => {
  it('spreads the next watches of clients over one second after a stable Kubernetes watch', () => {
    expect([0, 0.5, 0.999].map((chance) => watchDelayMs(0, () => chance))).toEqual([0, 500, 999]);
  });

  it('doubles the delay of a Kubernetes watch with each consecutive failure, up to 30 s', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 1_000].map((failures) => watchDelayMs(failures, () => 0.999_999));
    expect(delays.map(Math.round)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('waits at least half of the backoff after a failed Kubernetes watch', () => {
    expect([1, 2, 10].map((failures) => watchDelayMs(failures, () => 0))).toEqual([500, 1_000, 15_000]);
  });
});

import { experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { lacksPort, loadBalancingProblem, policyNameOf, targetProblem } from './channel-checks.js';

describe.each(['', 'dns:', 'dns:///', 'dns://8.8.8.8/', 'dns://8.8.8.8:5353/'])(
  "target that starts with '%s' and names a host",
  (prefix) => {
    it.each(['orders', '127.0.0.1', '[::1]'])(`accepts the target '${prefix}%s' with and without a port`, (host) => {
      expect(targetProblem(`${prefix}${host}:50051`)).toBeUndefined();
      expect(targetProblem(`${prefix}${host}`)).toBeUndefined();
    });

    it.each(['orders', '127.0.0.1', '[::1]'])(`reports the missing port of the target '${prefix}%s'`, (host) => {
      expect(lacksPort(`${prefix}${host}`)).toBe(true);
      expect(lacksPort(`${prefix}${host}:50051`)).toBe(false);
    });

    it.each(['0', '65536', 'http', ''])(`rejects the port of the target '${prefix}orders:%s'`, (port) => {
      const target = `${prefix}orders:${port}`;
      expect(targetProblem(target)).toBe(`expected a port from 1 to 65535, got '${port}' in '${target}'`);
    });
  },
);

describe('target that grpc-js accepts but cannot use', () => {
  it.each(['localhost:41001/', 'dns:///orders:50051/v1', '[::1]:50051/'])(
    'rejects the path of the target %s',
    (target) => {
      expect(targetProblem(target)).toBe(`expected a target without a path, got '${target}'`);
    },
  );

  it.each([':41001', 'dns:///:41001'])('rejects the target %s, which has a port and no host', (target) => {
    expect(targetProblem(target)).toBe(`expected a host before the port, got '${target}'`);
    expect(targetProblem(target, 0)).toBe(`expected a host before the port, got '${target}'`);
  });
});

describe('syntax of a target', () => {
  it.each([
    '10.0.0.1:50051,10.0.0.2:50051',
    '[::1]:50051,[::2]:50051',
    'orders-1:50051,orders-2:50051',
    'dns:///orders-1:50051,orders-2:50051',
    'localhost:50051,10.0.0.2',
  ])('rejects the list of addresses %s', (target) => {
    const problem = `expected one address or name, or a list of IP addresses after 'ipv4:' or 'ipv6:', got '${target}'`;
    expect(targetProblem(target)).toBe(problem);
    expect(targetProblem(target, 0)).toBe(problem);
  });

  it.each([
    ['ipv4:localhost:50051', '4', 'localhost:50051'],
    ['ipv4:10.0.0.1:50051,[::1]:50051', '4', '[::1]:50051'],
    ['ipv6:10.0.0.1', '6', '10.0.0.1'],
  ])('rejects the target %s, which contains a name or an address of the other IP version', (target, version, found) => {
    expect(targetProblem(target)).toBe(
      `expected IPv${version} addresses after 'ipv${version}:', got '${found}' in '${target}'`,
    );
  });

  it.each(['ipv4:10.0.0.1', 'ipv4:10.0.0.1:50051,10.0.0.2', 'ipv6:::1', 'ipv6:[::1]:50051,fe80::7'])(
    'accepts the IP addresses of the target %s',
    (target) => {
      expect(targetProblem(target)).toBeUndefined();
    },
  );

  it.each([
    'ipv4://127.0.0.1:42301',
    'ipv4://127.0.0.1:42301/',
    'ipv4:/127.0.0.1:42301',
    'ipv6://[::1]:42301',
    'ipv4:10.0.0.1/',
    'ipv4:10.0.0.1:50051,/10.0.0.2:50051',
  ])('rejects the target %s, in which a slash precedes or follows an IP address', (target) => {
    const scheme = target.slice(0, 4);
    expect(targetProblem(target)).toContain(`expected IPv${scheme.slice(3)} addresses after '${scheme}:', got '`);
    expect(targetProblem(target, 0)).toBe(targetProblem(target));
  });

  it('accepts an authority, which grpc-js ignores, before an IP address, and checks the address', () => {
    for (const target of ['ipv4:///10.0.0.1:50051', 'ipv4://any/10.0.0.1:50051', 'ipv6:///[::1]:50051'])
      expect(targetProblem(target)).toBeUndefined();
    expect(targetProblem('ipv4:///orders:50051')).toContain(
      "expected IPv4 addresses after 'ipv4:', got 'orders:50051'",
    );
    expect(lacksPort('ipv4:///10.0.0.1')).toBe(true);
  });

  it.each(['dns://orders:50051', 'dns:/orders:50051', 'dns://orders'])(
    'rejects the target %s, which needs three slashes',
    (target) => {
      expect(targetProblem(target)).toBe(`expected three slashes after 'dns:', got '${target}'`);
    },
  );

  it.each(['::1:50051', 'dns:///fe80::7:50051'])(
    'rejects the IPv6 address of the target %s, which has a port and no brackets',
    (target) => {
      expect(targetProblem(target)).toBe(`expected brackets around an IPv6 address with a port, got '${target}'`);
    },
  );

  it('reports the missing port of an IPv6 address without brackets', () => {
    expect(targetProblem('2001:db8::7')).toBeUndefined();
    expect(lacksPort('2001:db8::7')).toBe(true);
  });
});

it.each(['unix-abstract', 'vsock'])('rejects a target with the scheme %s, which has no resolver', (scheme) => {
  const target = `${scheme}:orders`;
  expect(targetProblem(target)).toBe(
    `expected a scheme that has a resolver (dns, ipv4, ipv6, unix, kubernetes, or a registered one), got '${scheme}' in '${target}'`,
  );
});

describe('target with credentials', () => {
  it.each(['redis://me:hush@cache:1/0', 'dns:///me:hush@orders:1', 'hush:hush@orders:1'])(
    'rejects credentials in the target %s, and masks them in the message',
    (target) => {
      expect(targetProblem(target)).toMatch(/^expected a target without credentials, got '[^']*\*\*\*@/);
      expect(targetProblem(target)).not.toContain('hush');
    },
  );

  it("accepts '@' in a target only if the application registered the resolver of its scheme, and then requires no port", () => {
    class Resolver {
      updateResolution = () => undefined;
      destroy = () => undefined;
      static getDefaultAuthority = () => 'orders';
    }
    experimental.registerResolver('consul-with-token', Resolver);
    expect(targetProblem('consul-with-token://hush@agent:8500/orders')).toBeUndefined();
    expect(targetProblem('consul-with-token:///orders:8500@group')).toBeUndefined();
    expect(targetProblem('consul-with-token:orders:8500@group')).toBeUndefined();
    for (const target of ['consul-with-token:hush@agent', 'consul-with-token:orders']) {
      expect(targetProblem(target)).toBeUndefined();
      expect(lacksPort(target)).toBe(false);
    }
    expect(targetProblem('ipv4://me:hush@agent/10.0.0.1:50051')).toContain('without credentials');
  });
});

it.each([
  ['ipv4:10.0.0.1:50051,10.0.0.2', undefined],
  ['ipv4:10.0.0.1', undefined],
  ['ipv6:[::1]:50051,[::2]', undefined],
  ['ipv6:::1', undefined],
  ['ipv4:10.0.0.1:50051,10.0.0.2:0', "expected a port from 1 to 65535, got '0' in 'ipv4:10.0.0.1:50051,10.0.0.2:0'"],
])('reports the missing or invalid port of an address in the target %s', (target, problem) => {
  expect(targetProblem(target)).toBe(problem);
  expect(lacksPort(target)).toBe(problem === undefined);
});

it.each([
  'unix:/run/orders:99999',
  'unix:///run/orders:99999',
  'ipv4:10.0.0.1:50051,10.0.0.2:50051',
  'ipv6:[::1]:50051',
  'xds:///orders:99999',
  // Schemes for which an application may register a resolver with grpc-js.
  'consul:///orders:99999',
  'consul://agent:8500/orders',
  'consul:///orders.shop:grpc',
])('leaves the target %s to the resolver of its scheme', (target) => {
  expect(targetProblem(target)).toBeUndefined();
  expect(lacksPort(target)).toBe(false);
});

describe('policyNameOf', () => {
  const within = (...childPolicy: readonly object[]) => ({ outlier_detection_experimental: { childPolicy } });

  it.each<[string | undefined, readonly Record<string, unknown>[]]>([
    ['round_robin', [{ round_robin: {} }]],
    ['round_robin', [{ unknown: {} }, { round_robin: {} }, { pick_first: {} }]],
    ['round_robin', [{ outlier_detection: { child_policy: [{ round_robin: {} }] } }]],
    ['round_robin', [within({ unknown: {} }, { round_robin: {} })]],
    ['round_robin', [within(within({ round_robin: {} }))]],
    ['least_request_experimental', [within({ least_request_experimental: {} })]],
    [undefined, [{ unknown: {} }]],
  ])('returns %s as the load-balancing policy that selects the endpoints under %j', (name, config) => {
    expect(policyNameOf(config)).toBe(name);
  });

  it.each([[within({ pick_first: {} })], [within({ unknown: {} }, { pick_first: {} })]])(
    'reports outlier detection of pick_first (%j) as a problem if it is the only load-balancing policy, and otherwise uses the next policy of the list',
    (policy) => {
      expect(loadBalancingProblem([policy])).toContain(
        'got outlier_detection_experimental (has no effect on pick_first, which uses one endpoint);',
      );
      expect(policyNameOf([policy, { round_robin: {} }])).toBe('round_robin');
    },
  );
});

describe('loadBalancingProblem', () => {
  const outliers = 'outlier_detection_experimental';

  it.each<[string, readonly Record<string, unknown>[]]>([
    ['an array of length 0', []],
    ['an empty object (expected one key)', [{}]],
    ['an object with round_robin, pick_first (expected one key)', [{ round_robin: {}, pick_first: {} }]],
    [
      `an object with ${outliers}, round_robin (expected one key)`,
      [{ [outliers]: { childPolicy: [{ round_robin: {} }] }, round_robin: {} }],
    ],
    ['a, b', [{ a: {} }, { b: {} }]],
    ["'', a", [{ '': {} }, { a: {} }]],
    ['toString, constructor', [{ toString: {} }, { constructor: {} }]],
    ['__proto__', [JSON.parse('{ "__proto__": {} }') as Record<string, unknown>]],
    [`${outliers} (childPolicy: '', toString)`, [{ [outliers]: { childPolicy: [{ '': {} }, { toString: {} }] } }]],
    ['a, b, c, and 2 more', ['a', 'b', 'c', 'd', 'e'].map((name) => ({ [name]: {} }))],
    [`${'p'.repeat(60)}…`, [{ ['p'.repeat(61)]: {} }]],
    [String.raw`a\u000ab\u202e`, [{ 'a\nb\u202e': {} }]],
    [
      'a, pick_first (pick_first config field shuffleAddressList must be a boolean if provided)',
      [{ a: {} }, { pick_first: { shuffleAddressList: 5 } }],
    ],
    [
      'least_request_experimental (choiceCount: expected an integer of 2 or more, got 1)',
      [{ least_request_experimental: { choiceCount: 1 } }],
    ],
    [
      String.raw`least_request_experimental (choiceCount: expected an integer of 2 or more, got "\u202e")`,
      [{ least_request_experimental: { choiceCount: '\u202e' } }],
    ],
    [`${outliers} (childPolicy: a, b)`, [{ [outliers]: { childPolicy: [{ a: {} }, { b: {} }] } }]],
    [
      `a, ${outliers} (childPolicy: ${outliers} (childPolicy: b))`,
      [{ a: {} }, { [outliers]: { childPolicy: [{ [outliers]: { childPolicy: [{ b: {} }] } }] } }],
    ],
    [
      `${outliers} (maxEjectionPercent: expected <=100, got 500)`,
      [{ [outliers]: { maxEjectionPercent: 500, childPolicy: [{ round_robin: {} }] } }],
    ],
    [
      'nestjs_resilient_grpc (internal to this library)',
      [{ a: {} }, { nestjs_resilient_grpc: {} }, { round_robin: {} }],
    ],
  ])('names the received load-balancing policies if grpc-js can use none of them: %s', (received, config) => {
    expect(loadBalancingProblem(config)).toBe(
      `expected a policy that grpc-js supports, got ${received}; write [{ "round_robin": {} }]`,
    );
  });

  it('truncates the reason why a load-balancing policy cannot be used', () => {
    const nested = (depth: number): Record<string, unknown> =>
      depth === 0 ? { a: {} } : { [outliers]: { childPolicy: [nested(depth - 1), nested(depth - 1)] } };
    expect(loadBalancingProblem([nested(6)])?.length).toBeLessThan(400);
  });

  it('reads nested outlier detection once per level', () => {
    let reads = 0;
    const nested = (depth: number): Record<string, unknown> => {
      if (depth === 0) return { round_robin: {} };
      const childPolicy = [nested(depth - 1)];
      return Object.defineProperty({}, outliers, {
        enumerable: true,
        get: () => {
          reads += 1;
          return { childPolicy };
        },
      });
    };
    expect(loadBalancingProblem([nested(14)])).toBeUndefined();
    expect(reads).toBe(14);
    expect(policyNameOf([nested(14)])).toBe('round_robin');
    expect(reads).toBe(28);
  });

  it('accepts a list in which one load-balancing policy is usable', () => {
    expect(loadBalancingProblem([{ a: {} }, {}, { round_robin: {} }])).toBeUndefined();
  });
});

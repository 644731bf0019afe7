import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { UnreachableEndpoints } from './unreachable-endpoints.js';

const ADDRESS = '10.0.0.8:50051';
const CAUSE = 'connect ECONNREFUSED 10.0.0.8:50051';
const WARNING = `warn endpoint ${ADDRESS} unreachable for 60 s: ${CAUSE}; calls use the other endpoints; check the server`;

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const endpoints = new UnreachableEndpoints(
    (level, text) => lines.push(`${level} ${text}`),
    'check the server',
    clock,
  );
  /** Fails one attempt to connect every 5 s. */
  const failFor = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 5_000) {
      endpoints.failed(ADDRESS, CAUSE);
      clock.advance(5_000);
    }
    endpoints.failed(ADDRESS, CAUSE);
  };
  return { clock, lines, endpoints, failFor };
}

describe('UnreachableEndpoints', () => {
  it('logs an endpoint once, after its attempts to connect have failed for a minute', () => {
    const { lines, failFor } = make();
    failFor(55_000);
    expect(lines).toEqual([]);
    failFor(600_000);
    expect(lines).toEqual([WARNING]);
  });

  it('logs that a logged endpoint is connected again', () => {
    const { clock, lines, endpoints, failFor } = make();
    failFor(60_000);
    clock.advance(30_000);
    endpoints.connected(ADDRESS);
    expect(lines).toEqual([WARNING, `log endpoint ${ADDRESS} is connected again after 90 s`]);
  });

  it('logs nothing if the endpoint is connected within a minute', () => {
    const { lines, endpoints, failFor } = make();
    failFor(55_000);
    endpoints.connected(ADDRESS);
    endpoints.disconnected(ADDRESS);
    failFor(55_000);
    expect(lines).toEqual([]);
  });

  it('logs nothing if only further connections to a connected endpoint fail', () => {
    const { lines, endpoints, failFor } = make();
    endpoints.connected(ADDRESS);
    failFor(120_000);
    expect(lines).toEqual([]);
  });

  it('counts an endpoint as connected until its last connection has closed', () => {
    const { lines, endpoints, failFor } = make();
    endpoints.connected(ADDRESS);
    endpoints.connected(ADDRESS);
    endpoints.disconnected(ADDRESS);
    failFor(120_000);
    expect(lines).toEqual([]);
    endpoints.disconnected(ADDRESS);
    failFor(60_000);
    expect(lines).toEqual([WARNING]);
  });

  it.each([
    ['when its address is removed', (endpoints: UnreachableEndpoints) => endpoints.removed([ADDRESS, '10.0.0.9:1'])],
    ['when the channel stops being READY', (endpoints: UnreachableEndpoints) => endpoints.forgetFailures()],
  ])('forgets the failures of an endpoint %s', (_when, forget) => {
    const { lines, endpoints, failFor } = make();
    failFor(55_000);
    forget(endpoints);
    failFor(55_000);
    expect(lines).toEqual([]);
    endpoints.connected(ADDRESS);
    expect(lines).toEqual([]);
  });

  it('masks secrets in the cause and keeps it on one line', () => {
    const { clock, lines, endpoints } = make();
    const cause = 'refused\nAuthorization: Bearer abcdefghijklmnop';
    endpoints.failed(ADDRESS, cause);
    clock.advance(60_000);
    endpoints.failed(ADDRESS, cause);
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toMatch(/\n|abcdefghijklmnop/);
  });
});

import { describe, expect, it } from 'vitest';
import { endpointsHealth, servingHealth, type ServingAnswer } from './serving-check.js';

const channel = { status: 'up', details: { state: 'READY' } } as const;

describe('servingHealth', () => {
  it.each<[ServingAnswer, string, object]>([
    [{ kind: 'status', status: 'SERVING' }, 'up', { serving: 'SERVING' }],
    [
      { kind: 'status', status: 'NOT_SERVING' },
      'down',
      { serving: 'NOT_SERVING', message: 'the server is not serving' },
    ],
    [{ kind: 'status', status: 'UNKNOWN' }, 'down', { serving: 'UNKNOWN', message: 'the server is not serving' }],
    [
      { kind: 'status', status: 'SERVICE_UNKNOWN' },
      'down',
      {
        serving: 'SERVICE_UNKNOWN',
        message: "the server has no service 'Orders'; write a full name such as 'orders.v1.Orders'",
      },
    ],
    [{ kind: 'unimplemented' }, 'up', { message: 'the server does not implement grpc.health.v1.Health' }],
    [{ kind: 'unanswered', afterMs: 1_500 }, 'down', { message: 'no response within 1.5 s' }],
    [{ kind: 'failed', code: 7 }, 'down', { message: 'Check failed: PERMISSION_DENIED' }],
    [{ kind: 'failed', code: 99 }, 'down', { message: 'Check failed: 99' }],
    [{ kind: 'refused' }, 'down', { message: 'the server rejects calls (REFUSED_STREAM)' }],
    [{ kind: 'connection-lost' }, 'down', { message: 'the connection was lost during the check; another is READY' }],
  ])('maps the health check answer %j to the health status %s', (answer, status, details) => {
    expect(servingHealth(channel, 'Orders', answer)).toEqual({
      status,
      details: { state: 'READY', service: 'Orders', ...details },
    });
  });

  it('names a remedy if the server does not report its overall health', () => {
    const answer = { kind: 'status', status: 'SERVICE_UNKNOWN' } as const;
    expect(servingHealth(channel, '', answer)).toMatchObject({
      status: 'down',
      details: {
        message:
          "the server does not report its overall health (service ''); write a full name such as 'orders.v1.Orders'",
      },
    });
  });

  it.each(['refused', 'connection-lost'] as const)(
    'reports an idle channel as degraded after the health check answer %s',
    (kind) => {
      expect(servingHealth({ status: 'up', details: { state: 'IDLE' } }, 'Orders', { kind })).toMatchObject({
        status: 'degraded',
        details: { message: 'the connection was lost during the check; calls wait' },
      });
    },
  );
});

describe('endpointsHealth', () => {
  const READY = { status: 'up', details: { state: 'READY' } } as const;
  const CONNECTING = { status: 'up', details: { state: 'CONNECTING' } } as const;
  const OUTAGE = {
    status: 'degraded',
    details: { state: 'TRANSIENT_FAILURE', message: 'outage; calls wait' },
  } as const;
  const of = (serving: number, known: number) =>
    `${String(serving)} of ${String(known)} endpoints with known health are serving`;

  it.each([
    ['serving', 'up', 2, READY, ['serving', 'unimplemented'], undefined],
    ['connecting without an outage', 'up', 0, CONNECTING, ['disconnected'], undefined],
    ['connecting and unresponsive', 'up', 0, CONNECTING, ['unanswered', 'pending'], undefined],
    ['unresponsive in an outage', 'degraded', 0, OUTAGE, ['unanswered', 'unanswered'], 'outage; calls wait'],
    ['serving and pending', 'up', 1, READY, ['serving', 'pending', 'pending'], undefined],
    ['serving and disconnected', 'up', 1, READY, ['serving', 'disconnected', 'disconnected'], undefined],
    ['pending on a READY channel', 'up', 0, READY, ['pending'], undefined],
    ['mostly not serving', 'degraded', 1, READY, ['serving', 'failed', 'unanswered', 'pending'], of(1, 3)],
    ['not serving', 'down', 0, READY, ['not-serving', 'disconnected'], of(0, 1)],
  ] as const)(
    'maps endpoints that are %s to the health status %s',
    (_, status, serving, channelHealth, healths, message) => {
      const endpoints = new Map(healths.map((health, index) => [`10.0.0.${String(index)}:50051`, health]));
      const health = endpointsHealth(channelHealth, 'Orders', endpoints);
      expect(health).toMatchObject({ status, details: { serving } });
      expect(health.details['message']).toBe(message);
    },
  );
});

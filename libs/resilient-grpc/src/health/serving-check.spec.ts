import { describe, expect, it } from 'vitest';
import { servingHealth, type ServingAnswer } from './serving-check.js';

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
    [{ kind: 'failed', method: 'Watch', code: 7 }, 'down', { message: 'Watch failed: PERMISSION_DENIED' }],
    [{ kind: 'failed', method: 'Check', code: 99 }, 'down', { message: 'Check failed: 99' }],
    [{ kind: 'refused' }, 'down', { message: 'the server rejects calls (REFUSED_STREAM)' }],
    [{ kind: 'connection-lost' }, 'down', { message: 'the connection was lost during the check; another is READY' }],
  ])('maps the health check answer %j to the health status %s', (answer, status, details) => {
    expect(servingHealth(channel, 'Orders', answer, undefined)).toEqual({
      status,
      details: { state: 'READY', service: 'Orders', ...details },
    });
  });

  it('names a remedy if the server does not report its overall health', () => {
    const answer = { kind: 'status', status: 'SERVICE_UNKNOWN' } as const;
    expect(servingHealth(channel, '', answer, undefined)).toMatchObject({
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
      expect(servingHealth({ status: 'up', details: { state: 'IDLE' } }, 'Orders', { kind }, undefined)).toMatchObject({
        status: 'degraded',
        details: { message: 'the connection was lost during the check; calls wait' },
      });
    },
  );
});

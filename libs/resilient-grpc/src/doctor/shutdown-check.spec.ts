import { describe, expect, it } from 'vitest';
import { shutdownCheck, type ShutdownTimes } from './shutdown-check.js';

const VALID_TIMES: ShutdownTimes = { drainMs: 20_000, readinessDelayMs: 5_000, gracePeriodMs: 30_000, preStopMs: 0 };

describe('shutdownCheck', () => {
  it('passes the shutdown check if preStop and the drain, which includes the readiness delay, end before SIGKILL', () => {
    expect(shutdownCheck(VALID_TIMES)).toMatchObject({
      status: 'ok',
      message: 'drain 20 s (including a readiness delay of 5 s); SIGKILL after 30 s',
      facts: { totalMs: 20_000, spareMs: 10_000 },
    });
  });

  it('fails the shutdown check if the drain does not end before SIGKILL, and suggests a grace period', () => {
    expect(shutdownCheck({ ...VALID_TIMES, preStopMs: 10_000 })).toMatchObject({
      status: 'failed',
      message:
        'the drain does not end before SIGKILL: preStop 10 s + drain 20 s (including a readiness delay of 5 s) = 30 s; SIGKILL after 30 s',
      remedy: 'set terminationGracePeriodSeconds to 32 or more, or reduce drain.timeoutMs',
    });
    expect(shutdownCheck({ ...VALID_TIMES, preStopMs: 5_000 }).status).toBe('ok');
  });

  it('fails the shutdown check if the readiness delay is as long as the whole drain', () => {
    const noTime = { status: 'failed', message: expect.stringContaining('the drain leaves no time') as string };
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 20_000 })).toMatchObject(noTime);
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0, drainMs: 0 })).toMatchObject(noTime);
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 19_999 })).toMatchObject({ status: 'ok' });
  });

  it('warns if neither a preStop hook nor a readiness delay waits until the pod is removed from its service', () => {
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0, preStopMs: 5_000 })).toMatchObject({ status: 'ok' });
  });

  it('warns if less than 2 s remain between the drain and SIGKILL for the shutdown hooks of the application', () => {
    expect(shutdownCheck({ ...VALID_TIMES, drainMs: 28_001 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...VALID_TIMES, drainMs: 28_000 })).toMatchObject({ status: 'ok' });
  });
});

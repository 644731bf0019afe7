import { describe, expect, it } from 'vitest';
import { shutdownCheck, type ShutdownTimes } from './shutdown-check.js';

const FITS: ShutdownTimes = { drainMs: 20_000, readinessDelayMs: 5_000, gracePeriodMs: 30_000, preStopMs: 0 };

describe('the times of a shutdown', () => {
  it('fit where preStop and drain are over before SIGKILL, and the readiness delay is a part of the drain', () => {
    expect(shutdownCheck(FITS)).toMatchObject({
      status: 'ok',
      says: 'drain 20 s (5 s of it readiness delay) of 30 s until SIGKILL',
      facts: { totalMs: 20_000, spareMs: 10_000 },
    });
  });

  it('do not fit where SIGKILL comes first, and say by how much', () => {
    expect(shutdownCheck({ ...FITS, preStopMs: 10_000 })).toMatchObject({
      status: 'failed',
      says: 'SIGKILL comes first: preStop 10 s + drain 20 s (5 s of it readiness delay) = 30 s of 30 s until SIGKILL',
      remedy: 'terminationGracePeriodSeconds: 32 or more, or a shorter drain.timeoutMs',
    });
    expect(shutdownCheck({ ...FITS, preStopMs: 5_000 }).status).toBe('ok');
  });

  it('do not fit where the readiness delay takes all of the drain', () => {
    expect(shutdownCheck({ ...FITS, readinessDelayMs: 20_000 })).toMatchObject({ status: 'failed' });
    expect(shutdownCheck({ ...FITS, readinessDelayMs: 19_999 })).toMatchObject({ status: 'ok' });
  });

  it('are told where nothing waits for the pod to be out of its service', () => {
    expect(shutdownCheck({ ...FITS, readinessDelayMs: 0 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...FITS, readinessDelayMs: 0, preStopMs: 5_000 })).toMatchObject({ status: 'ok' });
  });

  it('are told where hooks of the application have hardly any', () => {
    expect(shutdownCheck({ ...FITS, drainMs: 28_001 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...FITS, drainMs: 28_000 })).toMatchObject({ status: 'ok' });
  });
});

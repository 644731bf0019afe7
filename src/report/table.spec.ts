import { describe, expect, it } from 'vitest';
import type { ContenderResult } from '../load/comparison.js';
import { callFigures, OUTAGE_FIGURES } from './call-figures.js';
import { table } from './table.js';

const result = (name: ContenderResult['name'], figures: Partial<ContenderResult> = {}): ContenderResult => ({
  name,
  calls: 1_000,
  succeeded: 1_000,
  failed: 0,
  failedReads: 0,
  failedWrites: 0,
  failedByCode: {},
  unsafeInFlightFailed: 0,
  inFlight: 0,
  longestWaitMs: 12.4,
  latencyMs: { p50: 5.2, p90: 6, p99: 11 },
  recoveryMs: 0,
  lastFailureMs: 0,
  duplicatedWrites: 0,
  lostWrites: 0,
  attempts: 1_000,
  connectionsReplaced: 0,
  waiting: undefined,
  connectionLosses: undefined,
  ...figures,
});

const OUTAGE = { figures: callFigures(OUTAGE_FIGURES), tunedTitle: '+ retryPolicy, keepalive' };

describe('table', () => {
  it('prints the figures of the contenders side by side', () => {
    const text = table(
      [
        result('plain', { failedReads: 480, failedWrites: 119, unsafeInFlightFailed: 1, recoveryMs: 1_300.2 }),
        result('tuned', { failedReads: 200, failedWrites: 120, recoveryMs: 400 }),
        result('resilient', { recoveryMs: 81, longestWaitMs: 3_120 }),
      ],
      OUTAGE,
    );
    expect(text.split('\n')).toEqual([
      '                          Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc',
      'reads   failed                  480                   200                        0',
      'writes  failed                  120                   120                        0',
      'writes  executed twice           0                     0                         0',
      'recovery time                 1300 ms                400 ms                    81 ms',
      'longest wait of a call         12 ms                 12 ms                    3120 ms',
    ]);
  });

  it('prints "cut off in flight" without a number if all failed writes were cut off in flight', () => {
    const text = table([result('plain'), result('resilient', { unsafeInFlightFailed: 2 })], OUTAGE);
    expect(text).toMatch(/^writes {2}failed .* 2 {2}cut off in flight$/m);
  });

  it('prints "cut off in flight" with a number if only some failed writes were cut off in flight', () => {
    const text = table([result('plain'), result('resilient', { failedWrites: 3, unsafeInFlightFailed: 2 })], OUTAGE);
    expect(text).toMatch(/^writes {2}failed .* 5 {2}2 cut off in flight$/m);
  });

  it('prints lost writes only if there are any', () => {
    expect(table([result('plain')], OUTAGE)).not.toContain('lost');
    expect(table([result('plain', { lostWrites: 1 })], OUTAGE)).toMatch(/^writes {2}lost +1$/m);
  });

  it("prints only the scenario's figures, below the scenario's title for the tuned client", () => {
    const text = table([result('tuned', { recoveryMs: 50.2, connectionsReplaced: 1 })], {
      figures: callFigures(['recovery', 'connectionsReplaced']),
      tunedTitle: '+ keepalive',
    });
    expect(text.split('\n')).toEqual([
      '                          + keepalive',
      'recovery time                50 ms',
      'connections replaced           1',
    ]);
  });
});
